package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// countedHour is the hour whose rollup holds a row's outcome as it is now, when
// that is the row's own hour; null where none does. A row whose time cannot be
// read counts nowhere, and neither may what its metric says stand open in some
// hour: it gets an empty text.
// The joins and the plus keep SQLite on the metrics of the export: by their hour
// it would read all of the hour's for each row.
const countedHour = `CASE WHEN ` + exactTimestamp + ` THEN
	(SELECT m.counted_hour FROM exportops_export_metrics m CROSS JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND m.outcome = 1 AND m.status IN ` + finished + ` AND NOT (` + unfrozen + `)
			AND +m.counted_hour = substr(e.timestamp, 1, 13) || ':00:00.000Z' AND (h.clean = 1 OR h.sealed = 1))
	WHEN NOT EXISTS (SELECT 1 FROM exportops_export_metrics m CROSS JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND h.clean = 0 AND h.sealed = 0) THEN '' END`

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
	page, next, err := s.logPage(ctx, s.read, sel, after, limit)
	rows := make([]exportops.LogRow, len(page))
	for i, p := range page {
		rows[i] = p.LogRow
	}
	return rows, next, s.explain(err)
}

// CountLogRows implements exportops.LogStore.
func (s *Store) CountLogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (int64, error) {
	return s.countRows(ctx, logOrder(sel), `FROM {logs} e`, after)
}

// placedRow is a log row with the value that names its place, and the hour that
// counts it.
type placedRow struct {
	exportops.LogRow
	place any
	hour  string // "" where it is not known
}

func (s *Store) logPage(ctx context.Context, q queryer, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	page []placedRow, next exportops.Cursor, err error,
) {
	parts, err := logOrder(sel).parts(after)
	if err != nil {
		return nil, "", err
	}
	for _, p := range parts {
		query := `SELECT` + candidateColumns + `, ` + countedHour + candidateFrom + ` WHERE ` + p.where + p.by()
		rows, err := q.QueryContext(ctx, s.sql(query), append(p.args, limit-len(page))...)
		if err != nil {
			return nil, "", fmt.Errorf("read log rows: %w", err)
		}
		err = scanAll(rows, func() (err error) {
			var r placedRow
			var hour sql.NullString
			if r.Candidate, r.place, err = scanCandidate(rows, &hour); err != nil {
				return err
			}
			r.Counted, r.hour, r.Cursor = hour.Valid, hour.String, p.cursor(r.Candidate, r.place)
			page = append(page, r)
			return nil
		})
		if err != nil {
			return nil, "", fmt.Errorf("read log rows: %w", err)
		}
		if len(page) == limit {
			return page, page[limit-1].Cursor, nil
		}
	}
	return page, "", nil
}

// DeleteLogRows implements exportops.LogStore.
func (s *Store) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, sel exportops.LogSelection,
	after exportops.Cursor, limit int, decide func(exportops.LogRow) exportops.LogVerdict,
) (out exportops.LogPage, err error) {
	var began time.Time
	err = s.bulkFenced(ctx, c, func(tx *sql.Tx) error {
		began = time.Now()
		page, next, err := s.logPage(ctx, tx, sel, after, limit)
		if err != nil {
			return err
		}
		out = exportops.LogPage{
			Rows: make([]exportops.LogRow, len(page)), Verdicts: make([]exportops.LogVerdict, len(page)), Next: next,
		}
		var going []placedRow
		for i, r := range page {
			out.Rows[i], out.Verdicts[i] = r.LogRow, decide(r.LogRow)
			if out.Verdicts[i] == exportops.DeleteRow {
				going = append(going, r)
			}
		}
		return s.deleteRows(ctx, tx, going)
	})
	out.Took = time.Since(began)
	return out, err
}

func (s *Store) deleteRows(ctx context.Context, tx *sql.Tx, going []placedRow) error {
	if len(going) == 0 {
		return nil
	}
	var rows []any
	var exports, unplaced []string
	hours := map[string]bool{}
	for _, r := range going {
		rows, exports = append(rows, r.place), append(exports, r.ExportID)
		if r.hour == "" {
			unplaced = append(unplaced, r.ExportID)
		} else {
			hours[r.hour] = true
		}
	}
	if err := execList(ctx, tx, `UPDATE exportops_rollup_hours SET sealed = 1
		WHERE sealed = 0 AND start IN (SELECT value FROM json_each(?))`, slices.Collect(maps.Keys(hours))); err != nil {
		return fmt.Errorf("seal hours: %w", err)
	}
	if err := sealHoursOf(ctx, tx, unplaced); err != nil {
		return err
	}
	if err := execList(ctx, tx, s.sql(`DELETE FROM {logs} WHERE {row} IN (SELECT value FROM json_each(?))`), rows); err != nil {
		return fmt.Errorf("delete log rows: %w", err)
	}
	return deleteMetrics(ctx, tx, exports)
}

// sealHoursOf seals the hours that count exports.
func sealHoursOf(ctx context.Context, tx *sql.Tx, exports []string) error {
	err := execList(ctx, tx, `UPDATE exportops_rollup_hours SET sealed = 1 WHERE sealed = 0 AND start IN (
		SELECT m.counted_hour FROM json_each(?) j CROSS JOIN exportops_export_metrics m
			ON m.export_id = j.value AND m.counted_hour IS NOT NULL)`, exports)
	if err != nil {
		return fmt.Errorf("seal hours: %w", err)
	}
	return nil
}

func deleteMetrics(ctx context.Context, tx *sql.Tx, exports []string) error {
	err := execList(ctx, tx, `DELETE FROM exportops_export_metrics
		WHERE export_id IN (SELECT value FROM json_each(?))`, exports)
	if err != nil {
		return fmt.Errorf("delete metrics: %w", err)
	}
	return nil
}

func execList[T any](ctx context.Context, tx *sql.Tx, query string, values []T) error {
	if len(values) == 0 {
		return nil
	}
	list, err := jsonList(values)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, list)
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
