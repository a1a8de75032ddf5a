package jobs

import (
	"context"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// rehearse reports what a run would do now. It is handed nothing that writes,
// emits no event and leaves no run.
func (r *Runner) rehearse(ctx context.Context, req Request, deadline time.Time) (a Answer, err error) {
	began := r.Now()
	run := exportops.Run{StartedAt: exportops.At(began)}
	dry := cleanup.DryRun{Store: r.Store, Files: r.Files, Locator: r.Locator, Now: r.Now, Deadline: deadline}
	switch req.Job {
	case exportops.FileCleanup:
		res, err := dry.CleanFiles(ctx, r.selection(req))
		filesEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Files: &res}}, err
	case exportops.LogCleanup, exportops.UserLogCleanup:
		if err := r.refuseUnarchived(); err != nil {
			return Answer{}, err
		}
		res, err := dry.CleanLogs(ctx, r.logWork(req, deadline), r.at())
		logsEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Logs: &res}}, err
	}
	if req.Job == exportops.Reconcile {
		res, err := dry.Reconcile(ctx, reconcileWork(req))
		reconEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Recon: &res}}, err
	}
	res := exportops.AggregateResult{DryRun: true, Complete: true}
	a.Result.Rolls = &res
	now := r.at()
	if res.Metrics, err = r.Metrics.Aggregate(ctx, exportops.At(now.Add(-time.Hour)), now, exportops.Hourly); err != nil {
		return a, err
	}
	res.FailureAlert, err = r.Metrics.FailureRate(ctx, lookbackMinutes)
	rollsEnding(&res).stamp(run, r.at())
	return a, err
}
