package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// drain claims and deletes page after page. It reports whether it came to the
// end.
func (r *fileRun) drain(ctx context.Context) (bool, error) { return r.overlapping(ctx, r.drainPages) }

func (r *fileRun) drainPages(ctx context.Context) (done bool, err error) {
	for {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		if err := r.plan.shared.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
			return false, reading(ctx, "look for shared files", err)
		}
		page, err := r.claimAhead(ctx, exportops.ClaimRequest{
			After: r.next, Limit: r.pace.size, HoldsSeen: r.plan.shared.holds, Decide: r.plan.decide,
		})
		if err != nil {
			return false, err
		}
		if page.Unseen {
			continue
		}
		if err := r.noteBusy(ctx, page.Busy); err != nil {
			return false, reading(ctx, "look at rows that others held", err)
		}
		if r.next = page.Next; r.next == "" {
			r.drained = true
			return true, nil
		}
		if done, err := r.postponedPart(ctx); err != nil || !done {
			return false, err
		}
	}
}

// overlapping runs a loop that claims ahead, and sees to its last page, whatever
// ended the loop. What went wrong with that page is the error then: the next claim
// that failed beside it will fail again.
func (r *fileRun) overlapping(ctx context.Context, loop func(context.Context) (bool, error)) (done bool, err error) {
	defer func() { r.under.wait() }() // where the loop panics, too: nothing goes on behind it
	done, err = loop(ctx)
	if late := r.finish(); late != nil {
		return false, late
	}
	return done, err
}

// claimAhead claims a page while storage is at work on the one before, hands it to
// storage as soon as that is done, and then records what became of the one before.
//
// Storage knows no fence. So that of a run that wakes up when it has been replaced no
// more than one page still reaches it, a page is handed over at once only where the
// run has just proved that it is the holder; otherwise the outcomes are recorded
// first, which proves it again.
func (r *fileRun) claimAhead(ctx context.Context, req exportops.ClaimRequest) (exportops.ClaimPage, error) {
	// From here the page is finished whatever happens to ctx.
	ctx, cancel := finishing(ctx)
	page, err := r.claimPage(ctx, req)
	if err != nil || page.Unseen {
		cancel()
		return page, err
	}
	before, err := r.answered()
	if err == nil && !r.sure() {
		err = r.settle(before)
		before = nil
	}
	if err != nil {
		cancel()
		return page, err
	}
	claims, batch := r.sort(page)
	r.begin(ctx, cancel, claims, nil, batch)
	return page, r.settle(before)
}

// sure reports whether nobody can have taken the place of this run: half of what its
// lease was renewed to is still to come, by whatever clock, as one may stand still
// while the machine does.
func (r *fileRun) sure() bool {
	now := r.Now()
	since := max(now.Sub(r.proved), now.Round(0).Sub(r.proved.Round(0)))
	return since >= 0 && since < r.Lease/2
}

// claim claims one page, deletes what was claimed and records the outcomes.
func (r *fileRun) claim(ctx context.Context, req exportops.ClaimRequest) (exportops.ClaimPage, error) {
	page, err := r.claimAhead(ctx, req)
	if err != nil {
		return page, err
	}
	return page, r.finish()
}

func (r *fileRun) claimPage(ctx context.Context, req exportops.ClaimRequest) (exportops.ClaimPage, error) {
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return exportops.ClaimPage{}, err
	}
	req.Selection, req.Store = r.plan.sel, r.Files.ID()
	began := r.Now()
	page, err := r.Store.ClaimFiles(ctx, cp, req)
	if err != nil {
		return page, fmt.Errorf("claim files: %w", err)
	}
	r.proved = began
	if !page.Unseen {
		r.pace.took(page.Took)
	}
	return page, nil
}

// sort counts what was decided about a page, and returns its claims and what is to be
// recorded beside them.
func (r *fileRun) sort(page exportops.ClaimPage) (claims []*exportops.Deletion, batch []exportops.Settlement) {
	for i, d := range page.Decisions {
		c, claim := page.Candidates[i], page.Claims[i]
		if r.counted(c, d) {
			continue
		}
		switch d.Verdict {
		case exportops.Claim:
			if claim == nil {
				r.lostKey(c, d.Location.Key)
				continue
			}
			claims = append(claims, claim)
			r.noteAge(c)
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
	return claims, batch
}
