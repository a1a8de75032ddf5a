package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// countedHour is the hour whose rollup holds a row's outcome as it is now, when
// that is the row's own hour, and the hour's version; null where none does. A
// row whose time cannot be read counts nowhere, and neither may what its metric
// says stand open in some hour: it gets an empty text.
// The joins and the plus keep SQLite on the metrics of the export: by their hour
// it would read all of the hour's for each row.
const countedHour = `CASE WHEN ` + exactTimestamp + ` THEN
	(SELECT h.start || ' ' || h.version FROM exportops_export_metrics m CROSS JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND m.outcome = 1 AND m.status IN ` + finished + ` AND NOT (` + unfrozen + `)
			AND +m.counted_hour = substr(e.timestamp, 1, 13) || ':00:00.000Z' AND (h.clean = 1 OR h.sealed = 1))
	WHEN NOT EXISTS (SELECT 1 FROM exportops_export_metrics m CROSS JOIN exportops_rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND h.clean = 0 AND h.sealed = 0) THEN '' END`

// ofUser takes a user's id.
var ofUser = `e.user_id IN (` + spellings("{logs}", "user_id", "?") + `)`

func logOrder(s exportops.LogSelection) order {
	if s.UserID != "" {
		o := order{where: ofUser, args: []any{s.UserID}, sort: "user_id"}
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
	parts, err := logOrder(sel).parts(after)
	if err != nil {
		return nil, "", err
	}
	var page []exportops.LogRow
	for _, p := range parts {
		more, err := s.scanLogRows(ctx, s.read, p, candidateFrom+` WHERE `+p.where+p.by(), append(p.args, limit-len(page))...)
		if err != nil {
			return nil, "", s.explain(err)
		}
		if page = append(page, more...); len(page) == limit {
			return page, page[limit-1].Cursor, nil
		}
	}
	return page, "", nil
}

// LogRowsByID implements exportops.LogStore.
func (s *Store) LogRowsByID(ctx context.Context, ids []string) ([]exportops.LogRow, error) {
	list, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	rows, err := s.scanLogRows(ctx, s.read, order{}, withIDs, list)
	return rows, s.explain(err)
}

// withIDs takes a list of ids.
const withIDs = ` FROM json_each(?) j CROSS JOIN {logs} e ON e.id = j.value` + withLedger

// seenRow names a row's place, and the state of the hour that counted it when it
// was read: "" where none does, or it is not known.
type seenRow struct {
	place any
	hour  string
}

func (s *Store) scanLogRows(ctx context.Context, q queryer, o order, from string, args ...any) ([]exportops.LogRow, error) {
	rows, err := q.QueryContext(ctx, s.sql(`SELECT`+candidateColumns+`, `+countedHour+from), args...)
	if err != nil {
		return nil, fmt.Errorf("read log rows: %w", err)
	}
	var page []exportops.LogRow
	err = scanAll(rows, func() (err error) {
		var r exportops.LogRow
		var seen seenRow
		var hour sql.NullString
		if r.Candidate, seen.place, err = s.scanCandidate(rows, &hour); err != nil {
			return err
		}
		seen.hour = hour.String
		r.Counted, r.Seen, r.Cursor = hour.Valid, seen, o.cursor(r.Candidate, seen.place)
		page = append(page, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read log rows: %w", err)
	}
	return page, nil
}

// CountLogRows implements exportops.LogStore.
func (s *Store) CountLogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (int64, error) {
	return s.countRows(ctx, logOrder(sel), `FROM {logs} e`, after)
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
