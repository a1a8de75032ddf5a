package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// JoinRun implements exportops.RunStore.
func (s *Store) JoinRun(ctx context.Context, runID, holder string, now exportops.Time, lease time.Duration) (
	exportops.Fence, error,
) {
	f := exportops.Fence{RunID: runID}
	err := s.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
			INSERT INTO exportops_workers (run_id, token, holder, lease_until)
			SELECT r.id, (SELECT coalesce(min(w.token), 0) - 1 FROM exportops_workers w WHERE w.run_id = r.id), ?, ?
			FROM exportops_runs r
			WHERE r.id = ? AND r.state = 'running' AND r.closing = 0 AND r.lease_until > ?
			RETURNING token`,
			holder, exportops.At(now.Add(lease)).String(), runID, now.String())
		if err != nil {
			return fmt.Errorf("join run %s: %w", runID, err)
		}
		return scanAll(rows, func() error { return rows.Scan(&f.Token) })
	})
	if err == nil && f.Token == 0 {
		err = exportops.ErrFenced
	}
	return f, err
}

// LeaveRun implements exportops.RunStore.
func (s *Store) LeaveRun(ctx context.Context, c exportops.Checkpoint) error {
	return s.fenced(ctx, c, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_workers SET left_at = ? WHERE run_id = ? AND token = ?`,
			c.Now.String(), c.RunID, c.Token)
		return err
	})
}

// CloseRun implements exportops.RunStore.
func (s *Store) CloseRun(ctx context.Context, c exportops.Checkpoint) (all []exportops.Work, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE exportops_runs SET closing = 1 WHERE id = ?`, c.RunID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE exportops_workers SET left_at = ?1
			WHERE run_id = ?2 AND left_at IS NULL AND lease_until <= ?1`, c.Now.String(), c.RunID)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT result, left_at IS NOT NULL FROM exportops_workers
			WHERE run_id = ? ORDER BY token DESC`, c.RunID)
		if err != nil {
			return err
		}
		all = nil
		return scanAll(rows, func() error {
			var result sql.NullString
			var w exportops.Work
			err := rows.Scan(&result, &w.Left)
			if result.Valid {
				w.Result = json.RawMessage(result.String)
			}
			all = append(all, w)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("close run %s: %w", c.RunID, err)
	}
	return all, nil
}
