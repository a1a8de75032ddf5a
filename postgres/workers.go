package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// JoinRun implements exportops.RunStore. It waits for the holder's transaction,
// which may be about to close the run; two who join wait for each other, so that
// each gets a token of its own.
func (s *Store) JoinRun(ctx context.Context, runID, holder string, now exportops.Time, lease time.Duration) (
	exportops.Fence, error,
) {
	f := exportops.Fence{RunID: runID}
	err := s.tx(ctx, func(tx pgx.Tx) error {
		var one int
		err := tx.QueryRow(ctx, `SELECT 1 FROM exportops.runs r
			WHERE r.id = $1 AND r.state = 'running' AND NOT r.closing AND r.lease_until > $2::timestamptz
			FOR NO KEY UPDATE`, runID, now.String()).Scan(&one)
		if errors.Is(err, pgx.ErrNoRows) {
			return exportops.ErrFenced
		}
		if err != nil {
			return fmt.Errorf("join run %s: %w", runID, err)
		}
		err = tx.QueryRow(ctx, `
			INSERT INTO exportops.workers (run_id, token, holder, lease_until)
			SELECT $1, coalesce(min(w.token), 0) - 1, $2, $3::timestamptz FROM exportops.workers w WHERE w.run_id = $1
			RETURNING token`, runID, holder, exportops.At(now.Add(lease)).String()).Scan(&f.Token)
		if err != nil {
			return fmt.Errorf("join run %s: %w", runID, err)
		}
		return nil
	})
	return f, err
}

// LeaveRun implements exportops.RunStore.
func (s *Store) LeaveRun(ctx context.Context, c exportops.Checkpoint) error {
	return s.fenced(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.workers SET left_at = $3::timestamptz WHERE run_id = $1 AND token = $2`,
			c.RunID, c.Token, c.Now.String())
		if err != nil {
			return fmt.Errorf("leave run %s: %w", c.RunID, err)
		}
		return nil
	})
}

// CloseRun implements exportops.RunStore. A worker in the middle of a
// transaction is waited for: that renews its lease.
func (s *Store) CloseRun(ctx context.Context, c exportops.Checkpoint) (all []exportops.Work, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE exportops.runs SET closing = true WHERE id = $1`, c.RunID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE exportops.workers SET left_at = $2::timestamptz
			WHERE run_id = $1 AND left_at IS NULL AND lease_until <= $2::timestamptz`, c.RunID, c.Now.String())
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT result::text, left_at IS NOT NULL FROM exportops.workers
			WHERE run_id = $1 ORDER BY token DESC`, c.RunID)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (w exportops.Work, err error) {
			var result *string
			if err = row.Scan(&result, &w.Left); result != nil {
				w.Result = json.RawMessage(*result)
			}
			return w, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("close run %s: %w", c.RunID, err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// dismiss ends the part of every worker, in the transaction that ends the run.
// One in the middle of a transaction is waited for; a later one finds out that
// it is no longer wanted.
func dismiss(ctx context.Context, tx pgx.Tx, runID string, now exportops.Time) error {
	_, err := tx.Exec(ctx, `UPDATE exportops.workers SET left_at = $2::timestamptz WHERE run_id = $1 AND left_at IS NULL`,
		runID, now.String())
	if err != nil {
		return fmt.Errorf("dismiss the workers of run %s: %w", runID, err)
	}
	return nil
}
