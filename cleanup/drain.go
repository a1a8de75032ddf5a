package cleanup

import (
	"context"

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
		if err := r.noteHelped(ctx); err != nil {
			return false, reading(ctx, "look for open claims", err)
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
