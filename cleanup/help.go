package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// RunReader reads a run.
type RunReader interface {
	Run(ctx context.Context, id string) (exportops.Run, error)
}

// HelpFiles takes part in a file cleanup that another process holds: it claims
// pages of its own, and deletes them. Only what has a key that nobody shares is
// claimed; everything else, and all that is passed over, is left to the holder,
// who counts it. It ends when no page is left, the run is closing, or ctx is
// done. res counts what became of its own claims.
func (c *Cleaner) HelpFiles(ctx context.Context, w Work, sel exportops.Selection, runs RunReader, res *exportops.FileCleanupResult) error {
	r := c.fileRun(w, sel, res)
	r.helps = true
	err := r.prepare(ctx) // its volume need not be mounted because the holder's is
	if err == nil {
		_, err = r.overlapping(ctx, func(ctx context.Context) (bool, error) { return r.helpPages(ctx, runs) })
	}
	if err = reading(ctx, "help with a file cleanup", err); errors.Is(err, errStopped) {
		return nil
	}
	return err
}

func (r *fileRun) helpPages(ctx context.Context, runs RunReader) (done bool, err error) {
	for {
		run, err := runs.Run(ctx, r.work.Fence.RunID)
		if err != nil || run.Finished() || run.Closing || r.ended(ctx, r.work) {
			return false, err
		}
		if err := r.plan.shared.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
			return false, err
		}
		page, err := r.claimAhead(ctx, exportops.ClaimRequest{
			After: r.next, Limit: r.pace.size, HoldsSeen: r.plan.shared.holds,
			Decide: func(page, others []exportops.Candidate) []exportops.Decision {
				return onlyClaims(r.plan.decide(page, others))
			},
		})
		if err != nil {
			return false, err
		}
		if page.Unseen {
			continue
		}
		if r.next = page.Next; r.next == "" {
			return true, nil
		}
	}
}

// onlyClaims leaves everything but claims to the holder.
func onlyClaims(all []exportops.Decision) []exportops.Decision {
	for i, d := range all {
		if d.Verdict != exportops.Claim {
			all[i] = exportops.Decision{Verdict: exportops.PassOver, Reason: becauseNotDue}
		}
	}
	return all
}

// awaitEvery is how often the holder of a run looks whether its workers are
// done.
const awaitEvery = 50 * time.Millisecond

// awaitWorkers closes the run, waits until its workers are done, and recovers
// what those left that died. It reports whether it came to the end.
func (r *fileRun) awaitWorkers(ctx context.Context) (done bool, err error) {
	every := time.NewTicker(awaitEvery)
	defer every.Stop()
	for {
		cp, err := r.checkpoint(r.work, *r.res)
		if err != nil {
			return false, err
		}
		all, err := r.Store.CloseRun(ctx, cp)
		switch {
		case err != nil:
			return false, reading(ctx, "wait for the workers of the run", err)
		case len(all) == 0:
			return true, nil
		case !working(all) && r.drained:
			// Whoever died has left claims; what they were for was passed over.
			return r.recover(ctx)
		case !working(all):
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-every.C:
		}
	}
}

func working(all []exportops.Work) bool {
	for _, w := range all {
		if !w.Left {
			return true
		}
	}
	return false
}

// noteHelped keeps few of the exports that workers had claimed: of those that are
// dealt with since, nothing need be remembered.
func (r *fileRun) noteHelped(ctx context.Context) error {
	if len(r.helped) < r.helpedMost {
		return nil
	}
	open := map[string]bool{}
	err := eachOpenClaim(ctx, r.Store, func(d exportops.Deletion) {
		if d.RunID == r.work.Fence.RunID && r.helped[d.ExportID] {
			open[d.ExportID] = true
		}
	})
	if err == nil {
		r.helped, r.helpedMost = open, max(busyAtOnce, 2*len(open))
	}
	return err
}

// leftByWorkers counts the claims that workers of the run left open, of rows that the
// drain has passed over.
func (r *fileRun) leftByWorkers(ctx context.Context) (n int64, err error) {
	if !r.work.Shared || !r.drained && len(r.helped) == 0 {
		return 0, nil
	}
	alone := make(map[int64]bool, len(r.alone)) // which are counted otherwise
	for _, d := range r.alone {
		alone[d.ID] = true
	}
	err = eachOpenClaim(ctx, r.Store, func(d exportops.Deletion) {
		if d.RunID == r.work.Fence.RunID && !alone[d.ID] && (r.drained || r.helped[d.ExportID]) {
			n++
		}
	})
	return n, err
}

// Tally counts the failures of a run in the ledger, whoever met them, into a
// result that counted its own alone.
func (c *Cleaner) Tally(ctx context.Context, runID string, res *exportops.FileCleanupResult) error {
	res.FailedCount, res.ErrorsTotal, res.Errors = 0, 0, []exportops.ExportError{}
	for _, state := range []exportops.DeletionState{exportops.DeletionFailed, exportops.DeletionQuarantined} {
		f := exportops.DeletionFilter{RunID: runID, State: state, Limit: exportops.MaxPage}
		for {
			page, err := c.Store.Deletions(ctx, f)
			if err != nil {
				return fmt.Errorf("count the failures of run %s: %w", runID, err)
			}
			for _, d := range page {
				res.FailedCount++
				addError(res, d.ExportID, d.Error)
				f.Before = d.ID
			}
			if len(page) < f.Limit {
				break
			}
		}
	}
	sumUp(res)
	return nil
}
