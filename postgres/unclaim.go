package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Unclaim implements exportops.DeletionStore. A claim that is no longer this run's was
// taken over: nothing is committed then.
func (s *Store) Unclaim(ctx context.Context, c exportops.Checkpoint, p exportops.ClaimPage) error {
	fresh, failed := p.Unsent()
	v := columnsOf(failed)
	runs, claimed := make([]string, len(failed)), make([]string, len(failed))
	for i, d := range failed {
		runs[i], claimed[i] = d.RunID, d.ClaimedAt.String()
	}
	// As where outcomes are recorded, CASE keeps the planner off the index of open claims.
	const ours = `CASE WHEN d.state = 'claimed' AND d.run_id = $1 AND d.token = $2 THEN true END`
	return s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			gone, err := tx.Exec(ctx, `DELETE FROM exportops.deletions d WHERE d.id = ANY($3::bigint[]) AND `+ours, c.RunID, c.Token, fresh)
			if err != nil {
				return fmt.Errorf("take back claims: %w", err)
			}
			back, err := tx.Exec(ctx, `
				UPDATE exportops.deletions AS d SET state = n.state, run_id = n.run_id, attempts = n.attempts, error = n.error,
					claimed_at = n.claimed_at, finished_at = n.finished_at,
					next_try_at = CASE n.state WHEN 'failed' THEN n.finished_at END
				FROM unnest($3::bigint[], $4::text[], $5::text[], $6::int[], $7::text[], $8::timestamptz[], $9::timestamptz[])
					AS n (id, state, run_id, attempts, error, claimed_at, finished_at)
				WHERE d.id = n.id AND d.id = ANY($3::bigint[]) AND `+ours,
				c.RunID, c.Token, v.ids, v.states, runs, v.attempts, v.errs, claimed, v.finished)
			if err != nil {
				return fmt.Errorf("take back claims: %w", err)
			}
			if n := len(fresh) + len(failed) - int(gone.RowsAffected()+back.RowsAffected()); n != 0 {
				return fmt.Errorf("take back claims: %d are not this run's: %w", n, exportops.ErrFenced)
			}
			return nil
		})
	})
}
