package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// Unclaim implements exportops.DeletionStore. A claim that is no longer this run's was
// taken over: nothing is committed then.
func (s *Store) Unclaim(ctx context.Context, c exportops.Checkpoint, p exportops.ClaimPage) error {
	fresh, failed := p.Unsent()
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		const ours = ` WHERE id = ? AND state = 'claimed' AND run_id = ? AND token = ?`
		one := func(id int64, query string, args ...any) error {
			res, err := tx.ExecContext(ctx, query+ours, append(args, id, c.RunID, c.Token)...)
			if err != nil {
				return fmt.Errorf("take back claim %d: %w", id, err)
			}
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				return fmt.Errorf("take back claim %d: %w", id, errorOr(err, exportops.ErrFenced))
			}
			return nil
		}
		for _, id := range fresh {
			if err := one(id, `DELETE FROM exportops_deletions`); err != nil {
				return err
			}
		}
		for _, d := range failed {
			var finished, next any
			if d.FinishedAt != nil {
				finished = d.FinishedAt.String()
			}
			if d.State == exportops.DeletionFailed {
				next = finished
			}
			err := one(d.ID, `UPDATE exportops_deletions SET state = ?, run_id = ?, attempts = ?, error = ?, claimed_at = ?,
				finished_at = ?, next_try_at = ?`, d.State, d.RunID, d.Attempts, d.Error, d.ClaimedAt.String(), finished, next)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
