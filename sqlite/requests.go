package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// What operators ask for beside the jobs.

// CancelRun implements exportops.RunStore.
func (s *Store) CancelRun(ctx context.Context, id, by string, now exportops.Time) (exportops.Run, error) {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_runs SET cancelled_at = ?, cancelled_by = ?
			WHERE id = ? AND state = 'running' AND cancelled_at IS NULL`, now.String(), by, id)
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
	if len(ids) == 0 {
		return nil, nil
	}
	const retryable = `d.state IN ('failed', 'quarantined') AND d.id IN (SELECT value FROM json_each(?))`
	list, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, leaveLink+retryable, list); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `UPDATE exportops_deletions AS d SET state = 'failed', attempts = attempts - failures,
			failures = 0, next_try_at = ?1, retried_at = ?1, retried_by = ?2, `+noLink+` WHERE `+retryable+` RETURNING id`,
			now.String(), by, list)
		if err != nil {
			return err
		}
		return scanAll(rows, func() error {
			done = append(done, 0)
			return rows.Scan(&done[len(done)-1])
		})
	})
	if err != nil {
		return nil, fmt.Errorf("have deletions tried again: %w", err)
	}
	return done, nil
}
