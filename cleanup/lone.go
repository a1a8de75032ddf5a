package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// deleteLone deletes the metrics of exports that never had a row, as those of
// the others went with theirs. It reports whether it came to the end.
func (r *logRun) deleteLone(ctx context.Context) (bool, error) {
	sel := exportops.LogSelection{Cut: r.sel.Cut, UserID: r.sel.UserID}
	if r.sel.Policy != nil {
		// No row says which rule they fall under: the longest holds.
		if sel.Cut = r.sel.LoneCut; sel.Cut.IsZero() {
			return true, nil
		}
	}
	if sel.UserID != "" && !r.rolled {
		// No row has asked for it, and there may be none. Of a user all has to go.
		r.rolled = true
		if err := r.sel.Roll(ctx); err != nil {
			return false, fmt.Errorf("roll up the hours before: %w", err)
		}
	}
	var next exportops.Cursor
	for {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		var err error
		if next, err = r.deleteLonePage(ctx, sel, next); err != nil {
			return false, err
		}
		if next == "" {
			return true, nil
		}
	}
}

func (r *logRun) deleteLonePage(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (
	exportops.Cursor, error,
) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return "", err
	}
	began := time.Now()
	n, next, err := r.Store.DeleteLoneMetrics(ctx, cp, sel, after, r.pace.size, func(n int64) (json.RawMessage, error) {
		counted := *r.res
		counted.LoneMetrics += n
		return r.work.record(counted)
	})
	if err != nil {
		return "", fmt.Errorf("delete metrics without a row: %w", err)
	}
	r.pace.took(time.Since(began))
	r.res.LoneMetrics += n
	r.work.report(*r.res)
	return next, nil
}
