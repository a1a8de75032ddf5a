package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// What operators ask for beside the jobs.

// CancelRun implements exportops.RunStore.
func (s *Store) CancelRun(ctx context.Context, id, by string, now exportops.Time) (exportops.Run, error) {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.runs SET cancelled_at = $1::timestamptz, cancelled_by = $2
			WHERE id = $3 AND state = 'running' AND cancelled_at IS NULL`, now.String(), by, id)
		return err
	})
	if err != nil {
		return exportops.Run{}, fmt.Errorf("cancel run %s: %w", id, err)
	}
	run, err := s.Run(ctx, id)
	if err == nil && run.Finished() && run.CancelledAt == nil {
		err = exportops.AlreadyEnded(run)
	}
	return run, err
}

// RetryDeletions implements exportops.DeletionStore. Interrupted attempts stay
// counted: after too many of them a file is tried alone.
func (s *Store) RetryDeletions(ctx context.Context, ids []int64, by string, now exportops.Time) (done []int64, err error) {
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				WITH old AS MATERIALIZED (`+oldLinks+` WHERE o.id = ANY($1::bigint[]) ORDER BY o.id FOR NO KEY UPDATE),
				changed AS (UPDATE exportops.deletions AS d SET state = 'failed', attempts = d.attempts - d.failures, failures = 0,
						next_try_at = $2::timestamptz, retried_at = $2::timestamptz, retried_by = $3, `+noLink+`
					FROM old WHERE d.id = old.id AND d.state IN ('failed', 'quarantined') RETURNING `+oldLink+`),
				kept AS (`+keepLinks+`)
				SELECT c.id FROM changed c`, ids, now.String(), by)
			if err != nil {
				return err
			}
			done, err = pgx.CollectRows(rows, pgx.RowTo[int64])
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("have deletions tried again: %w", err)
	}
	return done, nil
}
