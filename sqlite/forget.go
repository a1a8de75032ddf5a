package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/exportops/exportops"
)

// loneMetric says of an outcome m that it finished, that no row stands for its
// export, and that the rollup of its hour holds it.
var loneMetric = `m.outcome = 1 AND m.status IN ` + finished + `
	AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id)
	AND EXISTS (SELECT 1 FROM exportops_rollup_hours h WHERE h.start = m.counted_hour AND (h.clean = 1 OR h.sealed = 1))
	AND NOT (` + heldBy("m.export_id", "m.user_id") + `)`

// DeleteLoneMetrics implements exportops.LogStore. It looks without the write
// lock, and judges again under it.
func (s *Store) DeleteLoneMetrics(ctx context.Context, c exportops.Checkpoint, sel exportops.LogSelection,
	after exportops.Cursor, limit int, progress exportops.TraceProgress,
) (deleted int64, next exportops.Cursor, err error) {
	exports, next, err := s.lonePage(ctx, sel, after, limit)
	if err != nil || len(exports) == 0 {
		return 0, "", s.explain(err)
	}
	list, err := jsonList(exports)
	if err != nil {
		return 0, "", err
	}
	err = s.bulkFenced(ctx, c, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, s.sql(`SELECT m.export_id FROM json_each(?) j
			CROSS JOIN exportops_export_metrics m ON m.export_id = j.value WHERE `+loneMetric), list)
		if err != nil {
			return fmt.Errorf("read lone metrics: %w", err)
		}
		var still []string
		if err := scanAll(rows, func() error {
			still = append(still, "")
			return rows.Scan(&still[len(still)-1])
		}); err != nil {
			return fmt.Errorf("read lone metrics: %w", err)
		}
		deleted = int64(len(still))
		if err := sealHoursOf(ctx, tx, still); err != nil {
			return err
		}
		if err := deleteMetrics(ctx, tx, still); err != nil || progress == nil {
			return err
		}
		result, err := progress(deleted)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	return deleted, next, err
}

// lonePage goes through the metrics by their ids: one pass over all of them.
func (s *Store) lonePage(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	exports []string, next exportops.Cursor, err error,
) {
	var from int64
	if after != "" {
		if from, err = strconv.ParseInt(string(after), 10, 64); err != nil {
			return nil, "", fmt.Errorf("cursor %q: %w", after, err)
		}
	}
	rows, err := s.read.QueryContext(ctx, s.sql(`SELECT m.id, m.export_id FROM exportops_export_metrics m
		WHERE m.id > ?1 AND (?2 = '' OR lower(m.user_id) = lower(?2)) AND (?3 = '' OR m.timestamp < ?3) AND `+loneMetric+`
		ORDER BY m.id LIMIT ?4`), from, sel.UserID, cutText(sel.Cut), limit)
	if err != nil {
		return nil, "", fmt.Errorf("look for lone metrics: %w", err)
	}
	err = scanAll(rows, func() error {
		exports = append(exports, "")
		return rows.Scan(&from, &exports[len(exports)-1])
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for lone metrics: %w", err)
	}
	if len(exports) == limit {
		next = exportops.Cursor(strconv.FormatInt(from, 10))
	}
	return exports, next, nil
}

// cutText is "" for the zero time, which cuts nothing.
func cutText(t exportops.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.String()
}

// ForgetRuns implements exportops.RunStore. The last slot of a job stays: it is
// the schedule's watermark.
func (s *Store) ForgetRuns(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM exportops_runs WHERE seq IN (
			SELECT r.seq FROM (SELECT DISTINCT job FROM exportops_runs) j CROSS JOIN exportops_runs r
				ON r.job = j.job AND r.finished_at < ?1
			WHERE r.state <> 'running'
				AND (r.slot IS NULL
					OR r.slot < (SELECT max(x.slot) FROM exportops_runs x WHERE x.job = r.job AND x.slot IS NOT NULL))
			LIMIT ?2)`, before.String(), limit)
		if err != nil {
			return fmt.Errorf("forget runs: %w", err)
		}
		if n, err = res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM exportops_workers AS w
			WHERE NOT EXISTS (SELECT 1 FROM exportops_runs r WHERE r.id = w.run_id)`)
		return err
	})
	return n, err
}
