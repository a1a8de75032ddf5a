package cleanup

import (
	"context"
	"slices"

	"github.com/exportops/exportops"
)

// busyAtOnce bounds how many rows that others held are remembered before it is looked
// which of them are left. Where processes share a run, most have been claimed since.
const busyAtOnce = 5000

// noteBusy remembers rows that the drain has passed over because somebody else held
// them. It may have been another process of this run that left them as they were, just
// then: they are looked at again when the others are done.
func (r *fileRun) noteBusy(ctx context.Context, exports []string) error {
	r.busy = append(r.busy, exports...)
	if len(r.busy) < r.busyMost {
		return nil
	}
	return r.siftBusy(ctx)
}

// siftBusy forgets those that have been dealt with since.
func (r *fileRun) siftBusy(ctx context.Context) error {
	var left []string
	for part := range slices.Chunk(r.busy, 1000) {
		rows, err := r.Store.CandidatesByID(ctx, part)
		if err != nil {
			return err
		}
		for _, c := range rows {
			if d := r.plan.decideOne(c); d.Verdict != exportops.PassOver || !r.isDealtWith(d.Reason) {
				left = append(left, c.ExportID)
			}
		}
	}
	r.busy, r.busyMost = left, max(busyAtOnce, 2*len(left)) // each is looked at a few times, however many there are
	return nil
}

// isDealtWith reports whether a row that is passed over for a reason needs no look any
// more. What another process of the run has tried, and failed at, the ledger counts.
func (r *fileRun) isDealtWith(reason string) bool {
	return reason == becauseNotDue || reason == becauseHelped || reason == becauseFailed && r.work.Shared
}

// drainBusy deals with those that are left. Whoever still holds one is none of this
// run, and at work on the export: it is counted as in flight. It reports whether it
// came to the end.
func (r *fileRun) drainBusy(ctx context.Context) (bool, error) {
	for len(r.busy) > 0 {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		if err := r.plan.shared.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
			return false, reading(ctx, "look for shared files", err)
		}
		n := min(len(r.busy), r.pace.size)
		page, err := r.claim(ctx, exportops.ClaimRequest{
			ExportIDs: r.busy[:n], SkipBusy: true, HoldsSeen: r.plan.shared.holds, Decide: r.plan.decide,
		})
		if err != nil {
			return false, err
		}
		if page.Unseen {
			continue
		}
		r.res.InFlight += int64(len(page.Busy))
		r.busy = r.busy[n:]
	}
	return true, nil
}
