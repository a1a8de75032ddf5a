package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// DeleteLogRows implements exportops.LogStore.
func (s *Store) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (out exportops.LogDeletion, err error) {
	var began time.Time
	err = s.bulkFenced(ctx, c, func(tx *sql.Tx) error {
		began = time.Now()
		if out.Gone, err = s.unchanged(ctx, tx, rows); err != nil {
			return err
		}
		if err := dropHeld(ctx, tx, rows, out.Gone); err != nil {
			return err
		}
		var going []exportops.LogRow
		for i, r := range rows {
			if out.Gone[i] {
				going = append(going, r)
			}
		}
		if err := s.deleteRows(ctx, tx, going); err != nil || progress == nil {
			return err
		}
		result, err := progress(out)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	out.Took = time.Since(began)
	return out, err
}

// unchanged says which rows are as they were read, and counted. Every change of
// what an hour counts gives it another version, so that nothing need be read of
// a row but the row itself. What the ledger confirms to be gone stays confirmed.
func (s *Store) unchanged(ctx context.Context, tx *sql.Tx, rows []exportops.LogRow) ([]bool, error) {
	same := make([]bool, len(rows))
	as, err := hoursAsRead(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	var quick, whole []int // positions in rows
	for i, r := range rows {
		seen, ok := r.Seen.(seenRow)
		switch {
		case !ok:
			return nil, fmt.Errorf("log row %q was not read by this store", r.ID)
		case as[seen.hour]:
			quick = append(quick, i)
		default:
			whole = append(whole, i)
		}
	}
	if err := s.compare(ctx, tx, rows, quick, same); err != nil {
		return nil, err
	}
	return same, s.compareWhole(ctx, tx, rows, whole, same)
}

const atPlaces = ` FROM json_each(?) j CROSS JOIN {logs} e ON e.{row} = j.value`

// compare reads rows again, and nothing else.
func (s *Store) compare(ctx context.Context, tx *sql.Tx, rows []exportops.LogRow, which []int, same []bool) error {
	if len(which) == 0 {
		return nil
	}
	list, err := placesOf(rows, which)
	if err != nil {
		return err
	}
	now, err := tx.QueryContext(ctx, s.sql(`SELECT j.key, coalesce(e.export_id, ''), coalesce(e.user_id, ''),
		coalesce(e.status, ''), CAST(e.file_url AS TEXT), CAST(e.expires_at AS TEXT), coalesce(e.timestamp, ''),
		iif(typeof(e.format) = 'text', e.format, ''), iif(typeof(e.file_size) = 'integer', e.file_size, NULL), {config}`+atPlaces), list)
	if err != nil {
		return fmt.Errorf("read log rows again: %w", err)
	}
	err = scanAll(now, func() error {
		var r exportops.Candidate
		var key int
		var config sql.RawBytes
		err := now.Scan(&key, &r.ExportID, &r.UserID, &r.Status, &r.FileURL, &r.ExpiresAt, &r.Timestamp, &r.Format, &r.FileSize, &config)
		if err == nil {
			r.Config = exportops.ReadConfig(config, s.configKeys)
			same[which[key]] = alike(r, rows[which[key]].Candidate)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read log rows again: %w", err)
	}
	return nil
}

// compareWhole reads all that LogRows reads again.
func (s *Store) compareWhole(ctx context.Context, tx *sql.Tx, rows []exportops.LogRow, which []int, same []bool) error {
	if len(which) == 0 {
		return nil
	}
	list, err := placesOf(rows, which)
	if err != nil {
		return err
	}
	now, err := s.scanLogRows(ctx, tx, order{}, atPlaces+withLedger, list)
	if err != nil {
		return err
	}
	byID := make(map[string]exportops.LogRow, len(now))
	for _, r := range now {
		byID[r.ID] = r
	}
	for _, i := range which {
		r, ok := byID[rows[i].ID]
		same[i] = ok && r.Counted && alike(r.Candidate, rows[i].Candidate)
	}
	return nil
}

func placesOf(rows []exportops.LogRow, which []int) (string, error) {
	places := make([]any, len(which))
	for n, i := range which {
		places[n] = rows[i].Seen.(seenRow).place
	}
	return jsonList(places)
}

// alike compares what decides about a row.
func alike(a, b exportops.Candidate) bool {
	return a.ExportID == b.ExportID && a.UserID == b.UserID && a.Status == b.Status && a.Timestamp == b.Timestamp &&
		equal(a.FileURL, b.FileURL) && equal(a.ExpiresAt, b.ExpiresAt) &&
		a.Format == b.Format && equal(a.FileSize, b.FileSize) && maps.Equal(a.Config, b.Config)
}

func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// hoursAsRead says which hours are in the state in which they counted rows when
// those were read.
func hoursAsRead(ctx context.Context, tx *sql.Tx, rows []exportops.LogRow) (map[string]bool, error) {
	starts := map[string]bool{}
	for _, r := range rows {
		if seen, ok := r.Seen.(seenRow); ok {
			start, _, _ := strings.Cut(seen.hour, " ")
			starts[start] = true
		}
	}
	list, err := jsonList(slices.Collect(maps.Keys(starts)))
	if err != nil {
		return nil, err
	}
	now, err := tx.QueryContext(ctx, `SELECT start || ' ' || version FROM exportops_rollup_hours
		WHERE start IN (SELECT value FROM json_each(?)) AND (clean = 1 OR sealed = 1)`, list)
	if err != nil {
		return nil, fmt.Errorf("read hours: %w", err)
	}
	as := map[string]bool{}
	err = scanAll(now, func() error {
		var hour string
		err := now.Scan(&hour)
		as[hour] = true
		return err
	})
	return as, err
}

func (s *Store) deleteRows(ctx context.Context, tx *sql.Tx, going []exportops.LogRow) error {
	if len(going) == 0 {
		return nil
	}
	var places []any
	var exports, unplaced []string
	hours := map[string]bool{}
	for _, r := range going {
		seen := r.Seen.(seenRow)
		places, exports = append(places, seen.place), append(exports, r.ExportID)
		if start, _, _ := strings.Cut(seen.hour, " "); start == "" {
			unplaced = append(unplaced, r.ExportID)
		} else {
			hours[start] = true
		}
	}
	if err := execList(ctx, tx, `UPDATE exportops_rollup_hours SET sealed = 1
		WHERE sealed = 0 AND start IN (SELECT value FROM json_each(?))`, slices.Collect(maps.Keys(hours))); err != nil {
		return fmt.Errorf("seal hours: %w", err)
	}
	if err := sealHoursOf(ctx, tx, unplaced); err != nil {
		return err
	}
	if err := s.deletePlaces(ctx, tx, places); err != nil {
		return err
	}
	if err := forgetMissing(ctx, tx, exports); err != nil {
		return err
	}
	return deleteMetrics(ctx, tx, exports)
}

// deletePlaces deletes the rows at places, and sees that they are gone: a trigger may
// keep them. What triggers of a view do is counted nowhere.
func (s *Store) deletePlaces(ctx context.Context, tx *sql.Tx, places []any) error {
	list, err := jsonList(places)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, s.sql(`DELETE FROM {logs} WHERE {row} IN (SELECT value FROM json_each(?))`), list); err != nil {
		return fmt.Errorf("delete log rows: %w", err)
	}
	var left int
	if err := tx.QueryRowContext(ctx, s.sql(`SELECT count(e.{row})`+atPlaces), list).Scan(&left); err != nil {
		return fmt.Errorf("read log rows again: %w", err)
	}
	if left > 0 {
		return s.unpassed(fmt.Sprintf("of %d rows that were deleted %d are still there", len(places), left))
	}
	return nil
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
