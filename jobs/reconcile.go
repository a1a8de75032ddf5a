package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

const (
	defaultRate   = 10_000
	minStuckAfter = time.Minute
	// goOnWithin is how long ago a reconciliation may have ended before its end and
	// still be gone on with.
	goOnWithin = 24 * time.Hour
)

func reconcileWork(req Request) cleanup.ReconcileWork {
	w := cleanup.ReconcileWork{StuckAfter: req.StuckAfter, Rate: req.Rate}
	if w.StuckAfter == 0 {
		w.StuckAfter = exportops.DefaultStuckAfter
	}
	if w.Rate == 0 {
		w.Rate = defaultRate
	}
	return w
}

// reconcile compares files and rows, going on where an earlier run stopped.
func (r *Runner) reconcile(ctx context.Context, req Request, run exportops.Run, work cleanup.Work, result *Result) (ending, error) {
	if result.Recon == nil {
		res, err := r.earlier(ctx, work.Fence.RunID)
		if result.Recon = &res; err != nil {
			return reconEnding(result.Recon), err
		}
	}
	guards, err := r.guardComparison(ctx, run)
	if result.Recon.Guards = guards; err == nil && guards != nil && !guards.LetThrough() {
		err = guards.Refusal(exportops.Reconcile)
	}
	if err != nil {
		return reconEnding(result.Recon), unlessDone(ctx, err)
	}
	err = r.cleaner.Reconcile(ctx, work, reconcileWork(req), result.Recon)
	if err == nil && result.Recon.Complete {
		err = r.forgetUnknown(ctx, work)
	}
	return reconEnding(result.Recon), err
}

// guardComparison asks the guard of the clock about a comparison: by a clock that is
// ahead, exports at work are stuck, and the grace of unknown files is over. It returns
// nil where nothing is wrong.
func (r *Runner) guardComparison(ctx context.Context, run exportops.Run) (*exportops.Guards, error) {
	clock, err := r.clock(ctx, run.ID)
	if err != nil || clock == nil {
		return nil, err
	}
	g := &exportops.Guards{Clock: clock, RefusedBy: []exportops.Guard{exportops.GuardClock}}
	if run.Forced {
		g.OverriddenBy = exportops.ByForce
	}
	return g, nil
}

// earlier returns what the last run before this one says about where to go on; of
// one that came to its end, or is too long ago, nothing.
func (r *Runner) earlier(ctx context.Context, runID string) (res exportops.ReconcileResult, err error) {
	page, _, err := r.Store.Runs(ctx, exportops.RunFilter{Job: exportops.Reconcile, Limit: 2})
	if err != nil {
		return res, fmt.Errorf("look for the run before: %w", err)
	}
	for _, run := range page {
		if run.ID == runID || run.FinishedAt == nil || run.FinishedAt.Before(r.Now().Add(-goOnWithin)) {
			continue
		}
		was, err := resultOf(run)
		if err != nil || was.Recon == nil || was.Recon.Complete || was.Recon.Cursor == "" {
			return res, err
		}
		res.Cursor, res.After, res.BeganAt = was.Recon.Cursor, was.Recon.Cursor, was.Recon.BeganAt
		return res, nil
	}
	return res, nil
}

// forgetUnknown deletes records of files that are unknown no more.
func (r *Runner) forgetUnknown(ctx context.Context, w cleanup.Work) error {
	const page = 500
	before := exportops.At(r.Now().Add(-exportops.KeepRecords))
	for n := int64(page); n == page && ctx.Err() == nil; {
		var err error
		n, err = r.Store.ForgetUnknown(ctx, exportops.Checkpoint{Fence: w.Fence, Now: r.at(), Lease: exportops.LeaseLength}, before, page)
		if err != nil {
			return fmt.Errorf("delete old records of unknown files: %w", err)
		}
	}
	return nil
}

// announceReconcile emits the event of a reconciliation's end, and of files that
// are missing one that can be alerted on.
func (r *Runner) announceReconcile(e ending, res *exportops.ReconcileResult, failure string) {
	event := exportops.ReconcileEvent{
		ReconcileCounts: res.ReconcileCounts, Complete: res.Complete, RunID: res.RunID, DurationMS: res.DurationMS,
		Timestamp: res.Timestamp, Error: failure,
	}
	t := e.done
	if failure != "" {
		t = e.broken
	}
	r.Events.Emit(t, event)
	if res.MissingFiles == 0 {
		return
	}
	missing := exportops.MissingFilesEvent{RunID: res.RunID, MissingFiles: res.MissingFiles, Timestamp: res.Timestamp}
	for _, m := range res.Missing {
		missing.ExportIDs = append(missing.ExportIDs, m.ExportID)
	}
	r.Events.Emit(exportops.EventFilesMissing, missing)
}
