package cleanup

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// deleteLone deletes the metrics of exports that never had a row, as those of
// the others went with theirs. It reports whether it came to the end.
func (r *logRun) deleteLone(ctx context.Context) (bool, error) {
	sel := exportops.LogSelection{Cut: r.sel.Cut, UserID: r.sel.UserID}
	var next exportops.Cursor
	for {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		cp, err := r.checkpoint(r.work, *r.res)
		if err != nil {
			return false, err
		}
		began := time.Now()
		var n int64
		if n, next, err = r.Store.DeleteLoneMetrics(ctx, cp, sel, next, r.pace.size); err != nil {
			return false, fmt.Errorf("delete metrics without a row: %w", err)
		}
		r.pace.took(time.Since(began))
		r.res.LoneMetrics += n
		r.work.report(*r.res)
		if next == "" {
			return true, nil
		}
	}
}
