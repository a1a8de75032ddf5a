package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// recover finishes the claims that dead runs left open. The row is looked at
// again, and the file must still be the one that was claimed: the application
// may have made the export again in between, under the same id and key.
func (r *fileRun) recover(ctx context.Context) error {
	limit := r.pace.size
	for !r.ended(ctx, r.work) {
		n, err := r.recoverBatch(ctx, limit)
		if err != nil {
			return fmt.Errorf("recover what a dead run left: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
	return nil
}

func (r *fileRun) recoverBatch(ctx context.Context, limit int) (int, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return 0, err
	}
	open, resumed, err := r.Store.Reclaim(ctx, cp, limit, r.resume)
	if err != nil {
		return 0, err
	}
	var claims, alone []*exportops.Deletion
	for i := range open {
		d := &open[i].Deletion
		r.res.Recovered++
		switch {
		case !resumed[i]:
			r.res.Changed++
		case d.Interrupted() > exportops.AloneAfter:
			alone = append(alone, d)
		default:
			claims = append(claims, d)
		}
	}
	if err := r.actGuarded(ctx, claims); err != nil {
		return 0, err
	}
	for _, d := range alone {
		if err := r.actGuarded(ctx, []*exportops.Deletion{d}); err != nil {
			return 0, err
		}
	}
	return len(open), nil
}

// actGuarded deletes files whose claim is not of this moment.
func (r *fileRun) actGuarded(ctx context.Context, claims []*exportops.Deletion) error {
	if len(claims) == 0 {
		return nil
	}
	guards := make([]*exportops.FileGuard, len(claims))
	for i, d := range claims {
		guards[i] = &exportops.FileGuard{Size: d.FileSize, NotAfter: d.ClaimedAt}
	}
	return r.actAndSettle(ctx, claims, guards, nil)
}

// resume reports whether an open claim may still be carried out.
func (r *fileRun) resume(o exportops.OpenClaim) bool {
	if o.Store != r.Files.ID() || o.Row == nil {
		return false
	}
	if o.Row.Status != o.RowStatus || !same(o.Row.FileURL, o.FileURL) || !same(o.Row.ExpiresAt, o.ExpiresAt) ||
		!same(o.Row.FileSize, o.FileSize) {
		return false
	}
	// The location is resolved again: the settings may have changed since. A
	// key that another row names now is left to that row.
	at := r.plan.locator.Resolve(o.Row.FileURL, o.Row.UserID)
	return at.Refused == "" && !at.NoFile && at.Key == o.Key && !r.plan.shared.has(o.Key)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
