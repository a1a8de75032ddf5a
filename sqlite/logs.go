package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// counted says whether a row's outcome is frozen in a metric that a rollup of
// the row's own hour already holds. An observation of another end than the row
// has by now is not that. A row whose time cannot be read counts nowhere; what
// its metric says must be held by some hour's rollup.
const counted = `CASE WHEN ` + exactTimestamp + ` THEN
	EXISTS (SELECT 1 FROM exportops_export_metrics m JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND m.outcome = 1 AND m.status IN ` + finished + ` AND NOT (` + unfrozen + `)
			AND m.counted_hour = substr(e.timestamp, 1, 13) || ':00:00.000Z' AND (h.clean = 1 OR h.sealed = 1))
	ELSE NOT EXISTS (SELECT 1 FROM exportops_export_metrics m JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND h.clean = 0 AND h.sealed = 0) END`

func logOrder(s exportops.LogSelection) order {
	if s.UserID != "" {
		o := order{where: `e.user_id = ?`, args: []any{s.UserID}}
		if !s.Cut.IsZero() {
			o = o.and(` AND e.timestamp < ?`, s.Cut.String())
		}
		return o
	}
	return order{where: `e.timestamp >= '' AND e.timestamp < ?`, args: []any{s.Cut.String()}, sort: "timestamp", down: true}
}

// LogRows implements exportops.LogStore.
func (s *Store) LogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	[]exportops.LogRow, exportops.Cursor, error,
) {
	page, _, next, err := s.logPage(ctx, s.read, sel, after, limit)
	return page, next, s.explain(err)
}

// CountLogRows implements exportops.LogStore.
func (s *Store) CountLogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (int64, error) {
	return s.countRows(ctx, logOrder(sel), `FROM {logs} e`, after)
}

// logPage reads a page, and beside each row the value that names its place.
func (s *Store) logPage(ctx context.Context, q queryer, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	page []exportops.LogRow, places []any, next exportops.Cursor, err error,
) {
	parts, err := logOrder(sel).parts(after)
	if err != nil {
		return nil, nil, "", err
	}
	for _, p := range parts {
		query := `SELECT` + candidateColumns + `, ` + counted + candidateFrom + ` WHERE ` + p.where + p.by()
		rows, err := q.QueryContext(ctx, s.sql(query), append(p.args, limit-len(page))...)
		if err != nil {
			return nil, nil, "", fmt.Errorf("read log rows: %w", err)
		}
		page, places, err = scanLogRows(rows, p, page, places)
		if err != nil {
			return nil, nil, "", fmt.Errorf("read log rows: %w", err)
		}
		if len(page) == limit {
			return page, places, page[limit-1].Cursor, nil
		}
	}
	return page, places, "", nil
}

func scanLogRows(rows *sql.Rows, o order, page []exportops.LogRow, places []any) ([]exportops.LogRow, []any, error) {
	defer rows.Close()
	for rows.Next() {
		var r exportops.LogRow
		c, row, err := scanCandidate(rows, &r.Counted)
		if err != nil {
			return nil, nil, err
		}
		r.Candidate = c
		r.Cursor = o.cursor(c, row)
		page, places = append(page, r), append(places, row)
	}
	return page, places, rows.Err()
}

// DeleteLogRows implements exportops.LogStore.
func (s *Store) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, sel exportops.LogSelection,
	after exportops.Cursor, limit int, decide func(exportops.LogRow) exportops.LogVerdict,
) (out exportops.LogPage, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		page, places, next, err := s.logPage(ctx, tx, sel, after, limit)
		if err != nil {
			return err
		}
		out = exportops.LogPage{Rows: page, Next: next, Verdicts: make([]exportops.LogVerdict, len(page))}
		var rows []any
		var exports []string
		for i, r := range page {
			out.Verdicts[i] = decide(r)
			if out.Verdicts[i] == exportops.DeleteRow {
				rows, exports = append(rows, places[i]), append(exports, r.ExportID)
			}
		}
		return s.deleteRows(ctx, tx, rows, exports)
	})
	return out, err
}

func (s *Store) deleteRows(ctx context.Context, tx *sql.Tx, rows []any, exports []string) error {
	if len(rows) == 0 {
		return nil
	}
	rowList, err := jsonList(rows)
	if err != nil {
		return err
	}
	if err := execList(ctx, tx, s.sql(`DELETE FROM {logs} WHERE {row} IN (SELECT value FROM json_each(?))`), rowList); err != nil {
		return fmt.Errorf("delete log rows: %w", err)
	}
	return deleteMetrics(ctx, tx, exports)
}

// deleteMetrics deletes the metrics of exports and seals the hours that counted
// them.
func deleteMetrics(ctx context.Context, tx *sql.Tx, exports []string) error {
	list, err := jsonList(exports)
	if err != nil {
		return err
	}
	if err := execList(ctx, tx, `UPDATE exportops_rollup_hours SET sealed = 1 WHERE sealed = 0 AND start IN (
		SELECT m.counted_hour FROM json_each(?) j CROSS JOIN exportops_export_metrics m
			ON m.export_id = j.value AND m.counted_hour IS NOT NULL)`, list); err != nil {
		return fmt.Errorf("seal hours: %w", err)
	}
	if err := execList(ctx, tx, `DELETE FROM exportops_export_metrics
		WHERE export_id IN (SELECT value FROM json_each(?))`, list); err != nil {
		return fmt.Errorf("delete metrics: %w", err)
	}
	return nil
}

func execList(ctx context.Context, tx *sql.Tx, query, list string) error {
	_, err := tx.ExecContext(ctx, query, list)
	return err
}

// LogStatistics implements exportops.LogStore.
func (s *Store) LogStatistics(ctx context.Context, cut exportops.Time) (exportops.LogStatistics, error) {
	st := exportops.LogStatistics{CutoffDate: cut}
	var bytes int64
	err := s.read.QueryRowContext(ctx, s.sql(`
		SELECT count(*), coalesce(sum(`+rowOverhead+` + coalesce(length(config), 0) + coalesce(length(file_url), 0)
			+ coalesce(length(error_message), 0)), 0)
		FROM {logs} e
		WHERE timestamp < ? AND `+exactTimestamp+` AND (+status IN ('expired', 'failed') OR (+status = 'completed' AND coalesce(file_url, '') = ''))`),
		cut.String()).Scan(&st.EligibleForCleanup, &bytes)
	if err != nil {
		return st, s.explain(fmt.Errorf("count old log rows: %w", err))
	}
	st.TotalSizeEstimateMB = float64(bytes) / 1e6
	var oldest sql.NullString
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT (SELECT CAST(e.timestamp AS TEXT) FROM {logs} e
		WHERE `+exactTimestamp+` ORDER BY e.timestamp LIMIT 1)`)).Scan(&oldest)
	st.OldestLogDate = timePtr(oldest)
	return st, s.explain(err)
}

// rowOverhead is what a row takes beside its texts of any length: three ids,
// four times, numbers, and its entries in six indexes.
const rowOverhead = `500`
