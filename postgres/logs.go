package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// placeable says that a row's time can be read, so that it counts in its hour.
const placeable = `(e.timestamp >= ` + readableFrom + ` AND e.timestamp < '10000-01-01 00:00:00+00')`

// withCounted finds the hour whose rollup holds a row's outcome as it is now,
// where that is the row's own hour: none while the row says otherwise than what
// was observed of it. A row whose time cannot be read counts nowhere, and neither
// may what its metric says stand open in some hour: it is unplaced.
const withCounted = `
	LEFT JOIN LATERAL (
		SELECT m.counted_hour FROM exportops.export_metrics m
		WHERE m.export_id = e.export_id AND m.outcome AND m.status IN ('completed', 'failed')
			AND NOT (m.source = 'observed' AND e.status IN ('completed', 'failed') AND e.status <> m.status)
			AND m.counted_hour = date_trunc('hour', e.timestamp, 'UTC')
		LIMIT 1) m ON ` + placeable + `
	LEFT JOIN exportops.rollup_hours k ON k.start = m.counted_hour AND (k.clean OR k.sealed)`

const countedColumn = `, k.start::text, k.version, NOT ` + placeable + ` AND NOT EXISTS (
		SELECT 1 FROM exportops.export_metrics m JOIN exportops.rollup_hours h ON h.start = m.counted_hour
		WHERE m.export_id = e.export_id AND NOT h.clean AND NOT h.sealed)`

func logOrder(s exportops.LogSelection) order {
	if s.UserID != "" {
		o := order{where: `e.user_id = $1::uuid`, args: []any{userArg(s.UserID)}}
		if !s.Cut.IsZero() {
			o = o.and(` AND e.timestamp < ?::timestamptz`, s.Cut.String())
		}
		return o
	}
	return order{where: `e.timestamp < $1::timestamptz`, args: []any{s.Cut.String()}, sort: "timestamp"}
}

// seenRow is what is compared of a row, and of what counts it.
type seenRow struct {
	row     string // where it is, and
	version string // which version of it: see learned
	hour    string // that counted it, as Postgres prints it; "" where none does
	counts  int64  // the version of the hour
}

// LogRows implements exportops.LogStore.
func (s *Store) LogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	page []exportops.LogRow, next exportops.Cursor, err error,
) {
	o, err := logOrder(sel).after(after)
	if err != nil {
		return nil, "", err
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		page, err = s.scanLogRows(ctx, tx, o, fmt.Sprintf(`%s LIMIT %d`, o.by(), limit))
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(page) == limit && limit > 0 {
		next = page[limit-1].Cursor
	}
	return page, next, nil
}

// scanLogRows reads rows, and then what the ledger and the hours say of each: the
// other way round a page would be sorted with all of that.
func (s *Store) scanLogRows(ctx context.Context, tx pgx.Tx, o order, end string) ([]exportops.LogRow, error) {
	rows, err := tx.Query(ctx, s.sql(`SELECT`+candidateColumns+countedColumn+`, e.row, e.version FROM (
			SELECT e.id, e.export_id, e.user_id, e.status, e.file_url, e.expires_at, e.created_at, e.timestamp, e.file_size, e.format,
				{config} AS config,
				e.{row}::text AS row, {version} AS version
			FROM {logs} e WHERE `+o.where+end+`) e`+withLedger+withCounted+o.by()), o.args...)
	if err != nil {
		return nil, fmt.Errorf("read log rows: %w", err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (exportops.LogRow, error) {
		var hour *string
		var version *int64
		var unplaced bool
		var seen seenRow
		c, err := s.scanCandidate(row, &hour, &version, &unplaced, &seen.row, &seen.version)
		if hour != nil {
			seen.hour, seen.counts = *hour, *version
		}
		c.Cursor = o.cursor(c)
		return exportops.LogRow{Candidate: c.Candidate, Counted: hour != nil || unplaced, Seen: seen}, err
	})
	if err != nil {
		return nil, fmt.Errorf("read log rows: %w", err)
	}
	return page, nil
}

// LogRowsByID implements exportops.LogStore.
func (s *Store) LogRowsByID(ctx context.Context, ids []string) (rows []exportops.LogRow, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err = s.scanLogRows(ctx, tx, order{where: `e.id = ANY($1::uuid[])`, args: []any{known(ids)}}, ``)
		return err
	})
	return rows, err
}

// CountLogRows implements exportops.LogStore.
func (s *Store) CountLogRows(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (int64, error) {
	return s.countRows(ctx, logOrder(sel), after)
}

// rowOverhead is what a row takes beside its texts of any length: three ids,
// four times, numbers, and its entries in seven indexes.
const rowOverhead = `500`

// LogStatistics implements exportops.LogStore.
func (s *Store) LogStatistics(ctx context.Context, cut exportops.Time) (exportops.LogStatistics, error) {
	st := exportops.LogStatistics{CutoffDate: cut}
	err := s.reading(ctx, func(tx pgx.Tx) error {
		var bytes int64
		err := tx.QueryRow(ctx, s.sql(`
			SELECT count(*), coalesce(sum(`+rowOverhead+` + coalesce(octet_length(e.config::text), 0)
				+ coalesce(octet_length(e.file_url), 0) + coalesce(octet_length(e.error_message), 0)), 0)::bigint
			FROM {logs} e
			WHERE e.timestamp < $1::timestamptz AND e.timestamp >= `+readableFrom+`
				AND (e.status IN ('expired', 'failed') OR (e.status = 'completed' AND coalesce(e.file_url, '') = ''))`),
			cut.String()).Scan(&st.EligibleForCleanup, &bytes)
		if err != nil {
			return fmt.Errorf("count old log rows: %w", err)
		}
		st.TotalSizeEstimateMB = float64(bytes) / 1e6
		var oldest string
		err = tx.QueryRow(ctx, s.sql(`SELECT e.timestamp::text FROM {logs} e
			WHERE `+placeable+` ORDER BY e.timestamp LIMIT 1`)).Scan(&oldest)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the oldest log row: %w", err)
		}
		if t, ok := exportops.ParseStoredTime(toMillis(canonical(oldest))); ok {
			st.OldestLogDate = &t
		}
		return nil
	})
	return st, err
}
