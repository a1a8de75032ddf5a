package cleanup

import (
	"context"

	"github.com/exportops/exportops"
)

// postponed is an export whose key needs an exact look.
type postponed struct{ exportID, reason string }

// postponedAtOnce bounds how many exports one exact look is about, and so the
// memory it takes; each look reads the live rows once.
const postponedAtOnce = 5000

// drainPostponed deals with what needed an exact look. It reports whether it
// came to the end.
func (r *fileRun) drainPostponed(ctx context.Context) (bool, error) {
	for len(r.postponed) > 0 {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		part := r.postponed[:min(len(r.postponed), postponedAtOnce)]
		l, err := newLook(ctx, r.Store, r.Files, r.plan, part, exportops.At(r.Now()))
		if err != nil {
			return false, reading(ctx, "look for shared files", err)
		}
		for _, batch := range l.batches(part, r.pace.size) {
			if r.ended(ctx, r.work) {
				return false, nil
			}
			if err := r.claimExactly(ctx, l, batch); err != nil {
				return false, err
			}
			r.postponed = without(r.postponed, batch)
		}
	}
	return true, nil
}

// postponedPart deals with what was postponed where there is enough of it for a look,
// when storage is done with the page before: one of its keys may be that of a postponed
// export. It reports whether the run may go on.
func (r *fileRun) postponedPart(ctx context.Context) (bool, error) {
	if len(r.postponed) < postponedAtOnce {
		return true, nil
	}
	if err := r.finish(); err != nil {
		return false, err
	}
	return r.drainPostponed(ctx)
}

// claimExactly claims one batch of exports whose keys differ, with the rows
// that share them read again in the same transaction.
func (r *fileRun) claimExactly(ctx context.Context, l *look, batch []postponed) error {
	for {
		if err := l.topUp(ctx, r.Store, exportops.At(r.Now())); err != nil {
			return reading(ctx, "look for shared files", err)
		}
		ids, watch := l.names(batch)
		page, err := r.claim(ctx, exportops.ClaimRequest{ExportIDs: ids, Watch: watch, HoldsSeen: l.holds, Decide: l.decide})
		if err != nil || !page.Unseen {
			return err
		}
	}
}

func without(list, gone []postponed) []postponed {
	drop := make(map[string]bool, len(gone))
	for _, p := range gone {
		drop[p.exportID] = true
	}
	kept := make([]postponed, 0, len(list))
	for _, p := range list {
		if !drop[p.exportID] {
			kept = append(kept, p)
		}
	}
	return kept
}
