package jobs

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// cleanUnknown deletes the files that no row names, as a plan lists them.
func (r *Runner) cleanUnknown(ctx context.Context, req Request, run exportops.Run, work cleanup.Work, result *Result) (ending, error) {
	if result.Unknown == nil {
		result.Unknown = &exportops.UnknownCleanupResult{}
	}
	if err := r.guard(ctx, req, run, work, result); err != nil {
		return unknownEnding(result.Unknown), err
	}
	err := r.cleaner.CleanUnknown(ctx, work, req.Plan, result.Unknown)
	if err == nil {
		err = r.chain(ctx, work)
	}
	return unknownEnding(result.Unknown), err
}

// rehearseUnknown finds what a plan would list.
func (r *Runner) rehearseUnknown(ctx context.Context, req Request, dry cleanup.DryRun) (*exportops.UnknownCleanupResult, error) {
	if req.PlanOut != nil {
		dry.Plan = cleanup.NewPlanWriter(req.PlanOut, r.planHeader(exportops.Selection{Mode: exportops.ByReconcile, Now: r.at()}))
	}
	res, err := dry.CleanUnknown(ctx)
	if err == nil && dry.Plan != nil {
		res.Plan, err = dry.Plan.End(res.Complete)
	}
	return &res, err
}

func unknownEnding(res *exportops.UnknownCleanupResult) ending {
	res.SumUp()
	return ending{
		value: res, failed: res.FailedCount, complete: res.Complete,
		failure: fmt.Sprintf("%d of %d files could not be deleted", res.FailedCount, res.TotalFound),
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
		done: exportops.EventUnknownComplete, broken: exportops.EventUnknownFailed,
	}
}

// announceUnknown emits the event of the end of a cleanup of unknown files.
func (r *Runner) announceUnknown(e ending, res *exportops.UnknownCleanupResult, failure string) {
	t := e.done
	if failure != "" {
		t = e.broken
	}
	r.Events.Emit(t, exportops.UnknownCleanupEvent{UnknownCleanupResult: *res, Error: failure})
}
