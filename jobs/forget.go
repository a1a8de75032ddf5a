package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// maxLogCleanupGap is longer than two log cleanups are apart by default.
const maxLogCleanupGap = 40 * 24 * time.Hour

// forget deletes records of our own that are kept no longer: old runs, holds
// that were released, incidents that are over, and entries of the ledger whose log
// row has been gone for as long. When a row went is not recorded; it cannot have
// been later than the retention and the next log cleanup after its export ended.
func (r *Runner) forget(ctx context.Context, w cleanup.Work) error {
	const page = 500
	now := r.Now()
	runs := exportops.At(now.Add(-exportops.KeepRecords))
	retention := r.LogRetention
	if r.Policy != nil {
		retention = r.Policy.LongestFinite()
	}
	entries := exportops.At(now.Add(-exportops.KeepRecords - retention - maxLogCleanupGap))
	checkpoint := func() exportops.Checkpoint {
		return exportops.Checkpoint{Fence: w.Fence, Now: r.at(), Lease: exportops.LeaseLength}
	}
	ended := func() bool { return ctx.Err() != nil || (!w.Deadline.IsZero() && !r.Now().Before(w.Deadline)) }
	for n := int64(page); n == page && !ended(); {
		var err error
		if n, err = r.Store.ForgetRuns(ctx, checkpoint(), runs, page); err != nil {
			return fmt.Errorf("delete old runs: %w", err)
		}
	}
	for n := int64(page); n == page && !ended(); {
		var err error
		if n, err = r.Store.ForgetHolds(ctx, checkpoint(), runs, page); err != nil {
			return fmt.Errorf("delete holds released long ago: %w", err)
		}
	}
	for n := int64(1); n > 0 && !ended(); {
		var err error
		if n, err = r.Store.ForgetAlerts(ctx, checkpoint(), runs, page); err != nil {
			return fmt.Errorf("delete incidents that were over long ago: %w", err)
		}
	}
	for more := true; more && !ended(); {
		var err error
		if _, more, err = r.Store.ForgetDeletions(ctx, checkpoint(), entries, page); err != nil {
			return fmt.Errorf("delete old entries of the ledger: %w", err)
		}
	}
	return nil
}
