package jobs

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// linkAtOnce is how many entries one transaction links: few enough that it keeps
// nobody waiting for long.
const linkAtOnce = 500

// ledgerHead is what the event of a ledger that has grown says. Kept elsewhere, as
// logs are, it shows whether a chain was made anew from its beginning.
type ledgerHead struct {
	Day    string         `json:"day"`
	Links  int64          `json:"links"` // of that day so far
	Hash   string         `json:"hash"`  // of the last
	Linked int64          `json:"linked"`
	RunID  string         `json:"run_id"`
	At     exportops.Time `json:"timestamp"`
}

// chain links the entries of the ledger that have come to an outcome. What is left
// when the run's time is over is linked by the next run of any job.
func (r *Runner) chain(ctx context.Context, w cleanup.Work) error {
	var linked int64
	for last, more := int64(0), true; more && ctx.Err() == nil && (w.Deadline.IsZero() || r.Now().Before(w.Deadline)); more = last != 0 {
		cp := exportops.Checkpoint{Fence: w.Fence, Now: r.at(), Lease: exportops.LeaseLength}
		var n int
		var err error
		if n, last, err = r.Store.ChainDeletions(ctx, cp, last, linkAtOnce); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the run was told to stop
			}
			return fmt.Errorf("link the ledger: %w", err)
		}
		linked += int64(n)
	}
	if linked == 0 {
		return nil
	}
	days, err := r.Store.ChainDays(context.WithoutCancel(ctx))
	if err != nil || len(days) == 0 {
		return err
	}
	d := days[len(days)-1]
	r.Events.Emit(exportops.EventLedgerLinked, ledgerHead{
		Day: d.Day, Links: d.Links, Hash: hex.EncodeToString(d.Hash), Linked: linked, RunID: w.Fence.RunID, At: r.at(),
	})
	return nil
}
