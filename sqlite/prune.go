package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// ForgetDeletions implements exportops.DeletionStore. A day is first marked, so
// that the chain is known to begin after it, then emptied from its beginning, and
// stays as the place that the rest begins from.
func (s *Store) ForgetDeletions(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (
	n int64, more bool, err error,
) {
	// A day is judged without the write lock: log rows that are gone do not come
	// back.
	next, err := s.prunable(ctx, before)
	if err != nil {
		return 0, false, s.explain(err)
	}
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		var day string
		err := tx.QueryRowContext(ctx, `SELECT day FROM exportops_deletion_days WHERE pruned = 1 ORDER BY day DESC LIMIT 1`).Scan(&day)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("find the day to prune: %w", err)
		}
		if day != "" {
			if n, more, err = pruneDay(ctx, tx, day, limit); err != nil || more {
				return err
			}
		}
		if next == "" {
			return nil
		}
		more = true
		return execAll(ctx, tx,
			statement{`DELETE FROM exportops_deletion_days WHERE day < ?`, []any{next}},
			statement{`UPDATE exportops_deletion_days SET pruned = 1 WHERE day = ?`, []any{next}})
	})
	return n, more, err
}

// prunable returns the first day that is not pruned, where all of it may go.
func (s *Store) prunable(ctx context.Context, before exportops.Time) (day string, err error) {
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT k.day FROM exportops_deletion_days k
		WHERE k.day = (SELECT min(x.day) FROM exportops_deletion_days x WHERE x.pruned = 0)
			AND k.day < ?1 AND k.day < (SELECT max(x.day) FROM exportops_deletion_days x)
			AND NOT EXISTS (SELECT 1 FROM exportops_deletions d WHERE d.chain_day = k.day
				AND (d.finished_at >= ?2 OR EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = d.export_id)))`),
		before.Format("2006-01-02"), before.String()).Scan(&day)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for old deletions: %w", err)
	}
	return day, nil
}

// pruneDay deletes the first links of a day, and says whether there may be more.
func pruneDay(ctx context.Context, tx *sql.Tx, day string, limit int) (n int64, more bool, err error) {
	var first sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT min(seq) FROM (
		SELECT min(chain_seq) AS seq FROM exportops_deletions WHERE chain_day = ?1
		UNION ALL SELECT min(chain_seq) FROM exportops_deletion_links WHERE chain_day = ?1)`, day).Scan(&first)
	if err != nil || !first.Valid {
		return 0, false, err
	}
	for _, table := range []string{"exportops_deletions", "exportops_deletion_links"} {
		res, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE chain_day = ? AND chain_seq < ?`, day, first.Int64+int64(limit))
		if err != nil {
			return n, false, fmt.Errorf("forget deletions of %s: %w", day, err)
		}
		gone, err := res.RowsAffected()
		if err != nil {
			return n, false, err
		}
		n += gone
	}
	return n, true, nil
}

type statement struct {
	query string
	args  []any
}

func execAll(ctx context.Context, tx *sql.Tx, all ...statement) error {
	for _, st := range all {
		if _, err := tx.ExecContext(ctx, st.query, st.args...); err != nil {
			return fmt.Errorf("forget deletions: %w", err)
		}
	}
	return nil
}
