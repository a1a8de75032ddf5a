package cleanup

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// fileRun is one run of a file cleanup.
type fileRun struct {
	*Cleaner
	work Work
	plan *planner
	res  *exportops.FileCleanupResult
	// postponed are exports whose keys need an exact look, at the end.
	postponed []postponed
	pace      pace
}

// CleanFiles deletes the files a selection finds due, until none is left, the
// deadline is past, or ctx is done. It adds to res, which may hold what an
// earlier holder of the run did. What went wrong with single files is in res;
// the error is for what stopped the whole.
func (c *Cleaner) CleanFiles(ctx context.Context, w Work, sel exportops.Selection, res *exportops.FileCleanupResult) error {
	defer func() { sumUp(res) }()
	if err := checkRoot(ctx, c.Store, c.Files, c.Locator); err != nil {
		return err
	}
	shared, err := readSharedKeys(ctx, c.Store, c.Locator, exportops.At(c.Now()))
	if err != nil {
		return fmt.Errorf("look for shared files: %w", err)
	}
	size := c.Files.MaxBatch()
	r := &fileRun{
		Cleaner: c, work: w, res: res, pace: pace{size: min(size, 500), least: 20, most: size},
		plan: &planner{sel: sel, locator: c.Locator, shared: shared, run: w.Fence.RunID},
	}
	res.Complete = false
	if err := r.recover(ctx); err != nil {
		return err
	}
	next, done, err := r.drain(ctx)
	if err != nil {
		return err
	}
	if done {
		if done, err = r.drainPostponed(ctx); err != nil {
			return err
		}
	}
	res.Remaining = int64(len(r.postponed))
	if res.Complete = done; !done && next != "" {
		n, err := c.Store.CountCandidates(context.WithoutCancel(ctx), sel, next)
		if err != nil {
			return err
		}
		res.Remaining += n
	}
	return nil
}

// drain claims and deletes page after page. It returns where it stopped, and
// whether it came to the end.
func (r *fileRun) drain(ctx context.Context) (next exportops.Cursor, done bool, err error) {
	for {
		if r.ended(ctx, r.work) {
			return next, false, nil
		}
		if err := r.plan.shared.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
			return next, false, fmt.Errorf("look for shared files: %w", err)
		}
		page, err := r.claim(ctx, exportops.ClaimRequest{
			After: next, Limit: r.pace.size,
			Decide: func(page, _ []exportops.Candidate) []exportops.Decision { return r.plan.decide(page) },
		})
		if err != nil {
			return next, false, err
		}
		if next = page.Next; next == "" {
			return "", true, nil
		}
		if len(r.postponed) >= postponedAtOnce {
			if done, err := r.drainPostponed(ctx); err != nil || !done {
				return next, false, err
			}
		}
	}
}

// claim claims one page, deletes what was claimed and records the outcomes.
func (r *fileRun) claim(ctx context.Context, req exportops.ClaimRequest) (exportops.ClaimPage, error) {
	// From here the batch is finished whatever happens to ctx.
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return exportops.ClaimPage{}, err
	}
	req.Selection, req.Store = r.plan.sel, r.Files.ID()
	page, err := r.Store.ClaimFiles(ctx, cp, req)
	if err != nil {
		return page, fmt.Errorf("claim files: %w", err)
	}
	r.pace.took(page.Took)
	return page, r.carryOut(ctx, page)
}

// finishing returns a context that outlives ctx by just long enough to finish
// the batch at hand.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	free, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(settleWithin, cancel)
		context.AfterFunc(free, func() { timer.Stop() })
	})
	return free, func() { stop(); cancel() }
}

// carryOut counts what was decided about a page and acts on its claims.
func (r *fileRun) carryOut(ctx context.Context, page exportops.ClaimPage) error {
	var claims []*exportops.Deletion
	var batch []exportops.Settlement
	for i, d := range page.Decisions {
		c, claim := page.Candidates[i], page.Claims[i]
		switch d.Verdict {
		case exportops.Claim:
			if claim == nil {
				r.res.InFlight++
				continue
			}
			claims = append(claims, claim)
		case exportops.Expire:
			batch = append(batch, exportops.Settlement{Row: &page.Candidates[i]})
		case exportops.Refuse:
			r.fail(c.ExportID, d.Reason)
		case exportops.Postpone:
			r.postponed = append(r.postponed, postponed{exportID: c.ExportID, reason: d.Reason})
		case exportops.PassOver:
			countPassed(r.res, c, d.Reason)
		}
	}
	return r.actAndSettle(ctx, claims, nil, batch)
}

// countPassed counts a candidate that was passed over.
func countPassed(res *exportops.FileCleanupResult, c exportops.Candidate, reason string) {
	switch reason {
	case becauseFailed:
		res.FailedCount++
		addError(res, c.ExportID, c.Prior.Error)
	case becauseImplausible:
		res.Implausible++
	case becauseQuarantined:
		res.Quarantined++
	case becauseInFlight:
		res.InFlight++
	case becauseShared:
		res.Shared++
	case becauseChanged:
		res.Changed++
	}
}

// fail counts a failure, and lists it while the list has room.
func (r *fileRun) fail(exportID, reason string) {
	r.res.FailedCount++
	addError(r.res, exportID, reason)
}

func addError(res *exportops.FileCleanupResult, exportID, reason string) {
	res.ErrorsTotal++
	if len(res.Errors) < exportops.MaxErrors {
		res.Errors = append(res.Errors, exportops.ExportError{ExportID: exportID, Error: reason})
	}
}

// sumUp makes TotalFound what it says it is.
func sumUp(res *exportops.FileCleanupResult) {
	if res.Errors == nil {
		res.Errors = []exportops.ExportError{}
	}
	res.TotalFound = res.DeletedCount + res.FailedCount + res.AlreadyAbsent + res.NoFile + res.Changed +
		res.Shared + res.Implausible + res.Quarantined + res.InFlight + res.WouldDelete + res.Remaining
}
