package cleanup

import (
	"context"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// claimAhead claims a page while storage is at work on the one before, hands it to
// storage as soon as that is done, and then records what became of the one before.
// What it claimed for nothing, as the run is to stop by then or storage has failed, it
// gives back.
//
// Storage knows no fence. So that of a run that wakes up when it has been replaced no
// more than one page still reaches it, a page is handed over at once only where the
// run has just proved that it is the holder; otherwise the outcomes are recorded
// first, which proves it again.
func (r *fileRun) claimAhead(ctx context.Context, req exportops.ClaimRequest) (exportops.ClaimPage, error) {
	told := ctx
	// From here the page is finished whatever happens to ctx.
	ctx, cancel := finishing(ctx)
	page, err := r.claimPage(ctx, req)
	if err != nil || page.Unseen {
		cancel()
		return page, err
	}
	before, err := r.answered()
	unsent := err != nil || before != nil && !r.helps && r.ended(told, r.work)
	if err == nil && (unsent || !r.sure()) {
		err, before = r.settle(before), nil
	}
	if unsent {
		err = errors.Join(err, r.giveBack(ctx, page))
	}
	if err != nil {
		cancel()
		return page, err
	}
	claims, batch := r.sort(page)
	if unsent {
		// Whoever looks at them first may have them, another process of this run too.
		for _, d := range claims {
			r.busy = append(r.busy, d.ExportID)
		}
		claims = nil
	}
	r.begin(ctx, cancel, claims, nil, batch)
	return page, r.settle(before)
}

// giveBack takes back the claims of a page that storage has not seen. A helper's stay:
// the holder of the run has passed their rows over, and recovers them.
func (r *fileRun) giveBack(ctx context.Context, page exportops.ClaimPage) error {
	if r.helps {
		return nil
	}
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return err
	}
	if err := r.Store.Unclaim(ctx, cp, page); err != nil {
		return fmt.Errorf("give claims back: %w", err)
	}
	return nil
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
	return page, r.recallPage(ctx, page)
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
			r.noteAge(c, r.plan.sel.Mode)
		case exportops.Expire:
			batch = append(batch, exportops.Settlement{Row: &page.Candidates[i]})
		case exportops.Refuse:
			r.fail(c.ExportID, d.Reason)
		case exportops.Postpone:
			r.postponed = append(r.postponed, postponed{exportID: c.ExportID, reason: d.Reason})
		case exportops.PassOver:
			if d.Reason == becauseHelped {
				r.helped[c.ExportID] = true
			}
			countPassed(r.res, c, d.Reason)
		}
	}
	return claims, batch
}
