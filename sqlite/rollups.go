package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/exportops/exportops"
)

// HourStates implements exportops.RollupStore.
func (s *Store) HourStates(ctx context.Context, span exportops.Span) ([]exportops.HourState, error) {
	return s.hourStates(ctx, `WHERE start >= ? AND start < ? ORDER BY start`, span.From.String(), span.To.String())
}

// StaleHours implements exportops.RollupStore.
func (s *Store) StaleHours(ctx context.Context, before exportops.Time, limit int) ([]exportops.HourState, error) {
	return s.hourStates(ctx, `WHERE (clean = 0 OR open > 0) AND start < ? ORDER BY start LIMIT ?`, before.String(), limit)
}

func (s *Store) hourStates(ctx context.Context, where string, args ...any) ([]exportops.HourState, error) {
	rows, err := s.read.QueryContext(ctx,
		`SELECT start, clean, sealed, open, version FROM exportops_rollup_hours `+where, args...)
	if err != nil {
		return nil, s.explain(fmt.Errorf("read states of hours: %w", err))
	}
	var states []exportops.HourState
	err = scanAll(rows, func() error {
		var start string
		var h exportops.HourState
		if err := rows.Scan(&start, &h.Clean, &h.Sealed, &h.Open, &h.Version); err != nil {
			return err
		}
		var ok bool
		if h.Start, ok = storedTime(start); !ok {
			return fmt.Errorf("an hour starts at %q, which is no time", start)
		}
		states = append(states, h)
		return nil
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("read states of hours: %w", err))
	}
	return states, nil
}

// DayStates implements exportops.RollupStore.
func (s *Store) DayStates(ctx context.Context, span exportops.Span) ([]exportops.Time, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT start FROM exportops_rollup_days
		WHERE start >= ? AND start < ? ORDER BY start`, span.From.String(), span.To.String())
	if err != nil {
		return nil, s.explain(fmt.Errorf("read days: %w", err))
	}
	var days []exportops.Time
	err = scanAll(rows, func() error {
		var start string
		if err := rows.Scan(&start); err != nil {
			return err
		}
		t, ok := storedTime(start)
		if !ok {
			return fmt.Errorf("a day starts at %q, which is no time", start)
		}
		days = append(days, t)
		return nil
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("read days: %w", err))
	}
	return days, nil
}

// FirstActivity implements exportops.RollupStore.
func (s *Store) FirstActivity(ctx context.Context, from exportops.Time) (exportops.Time, bool, error) {
	var first sql.NullString
	err := s.read.QueryRowContext(ctx, s.sql(`SELECT min(at) FROM (
		SELECT * FROM (SELECT CAST(e.timestamp AS TEXT) AS at FROM {logs} e
			WHERE e.timestamp >= ?1 AND `+exactTimestamp+` ORDER BY e.timestamp LIMIT 1)
		UNION ALL
		SELECT max(min(counted_hour), ?1) FROM exportops_export_metrics WHERE counted_hour >= ?2
		UNION ALL
		SELECT min(timestamp) FROM exportops_export_metrics
			WHERE outcome = 1 AND status IN `+running+` AND timestamp >= ?1)`),
		from.String(), from.Hour().String()).Scan(&first)
	if err != nil {
		return exportops.Time{}, false, s.explain(fmt.Errorf("look for the first export: %w", err))
	}
	if !first.Valid {
		return exportops.Time{}, false, nil
	}
	t, ok := storedTime(first.String)
	return t, ok, nil
}

// Counted implements exportops.RollupStore.
func (s *Store) Counted(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	return func(yield func(exportops.Outcome, error) bool) {
		rows, err := s.read.QueryContext(ctx, `SELECT`+countedColumns+` FROM exportops_export_metrics
			WHERE counted_hour >= ? AND counted_hour < ? ORDER BY counted_hour`, span.From.String(), span.To.String())
		if err != nil {
			yield(exportops.Outcome{}, s.explain(fmt.Errorf("read what an hour counts: %w", err)))
			return
		}
		defer rows.Close()
		for rows.Next() {
			o, _, err := scanCounted(rows)
			if err != nil {
				yield(o, s.explain(fmt.Errorf("read what an hour counts: %w", err)))
				return
			}
			if !yield(o, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(exportops.Outcome{}, s.explain(fmt.Errorf("read what an hour counts: %w", err)))
		}
	}
}

// WriteHour implements exportops.RollupStore.
func (s *Store) WriteHour(ctx context.Context, r exportops.Rollup, version int64) (wrote bool, err error) {
	start := r.Start.String()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		wrote = false
		var have int64
		var sealed bool
		err := tx.QueryRowContext(ctx, `SELECT version, sealed FROM exportops_rollup_hours WHERE start = ?`, start).
			Scan(&have, &sealed)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if sealed {
			_, err := tx.ExecContext(ctx, `UPDATE exportops_rollup_hours SET open = ? WHERE start = ?`, r.Open, start)
			return err
		}
		if have != version {
			return nil
		}
		wrote = true
		return replaceHour(ctx, tx, start, r)
	})
	if err != nil {
		return false, s.explain(fmt.Errorf("write the rollup of %s: %w", start, err))
	}
	return wrote, nil
}

func replaceHour(ctx context.Context, tx *sql.Tx, start string, r exportops.Rollup) error {
	for _, query := range []string{
		`DELETE FROM exportops_rollups WHERE period = 'hourly' AND start = ?`,
		`DELETE FROM exportops_rollup_users WHERE start = ?`,
		`DELETE FROM exportops_rollup_errors WHERE start = ?`,
	} {
		if _, err := tx.ExecContext(ctx, query, start); err != nil {
			return err
		}
	}
	if err := writeCells(ctx, tx, exportops.Hourly, start, r.Cells); err != nil {
		return err
	}
	if len(r.Users) > 0 {
		pairs := make([][2]any, len(r.Users))
		for i, u := range r.Users {
			pairs[i] = [2]any{u.UserID, u.Count}
		}
		if err := writeCounts(ctx, tx, "exportops_rollup_users", "user_id", start, pairs); err != nil {
			return err
		}
	}
	if len(r.Errors) > 0 {
		pairs := make([][2]any, 0, len(r.Errors))
		for name, n := range r.Errors {
			pairs = append(pairs, [2]any{name, n})
		}
		if err := writeCounts(ctx, tx, "exportops_rollup_errors", "error_type", start, pairs); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO exportops_rollup_hours (start, clean, open) VALUES (?, 1, ?)
		ON CONFLICT DO UPDATE SET clean = 1, open = excluded.open`, start, r.Open)
	return err
}

func writeCounts(ctx context.Context, tx *sql.Tx, table, name, start string, pairs [][2]any) error {
	list, err := jsonList(pairs)
	if err != nil {
		return err
	}
	// Texts that are no UTF-8 become alike in the list: they are added up.
	_, err = tx.ExecContext(ctx, `INSERT INTO `+table+` (start, `+name+`, exports)
		SELECT ?, value ->> 0, value ->> 1 FROM json_each(?) WHERE true
		ON CONFLICT DO UPDATE SET exports = exports + excluded.exports`, start, list)
	return err
}

// WriteEmpty implements exportops.RollupStore.
func (s *Store) WriteEmpty(ctx context.Context, span exportops.Span) error {
	const most = 2000 // hours a transaction
	for from := span.From.Hour(); from.Before(span.To.Time); {
		var hours []exportops.Time
		for len(hours) < most && from.Before(span.To.Time) {
			hours = append(hours, from)
			from = exportops.At(from.Add(time.Hour))
		}
		err := s.tx(ctx, func(tx *sql.Tx) error {
			return execList(ctx, tx, `INSERT OR IGNORE INTO exportops_rollup_hours (start, clean)
				SELECT value, 1 FROM json_each(?)`, hours)
		})
		if err != nil {
			return fmt.Errorf("write empty hours: %w", err)
		}
	}
	return nil
}

// WriteDay implements exportops.RollupStore.
func (s *Store) WriteDay(ctx context.Context, r exportops.Rollup, version int64) (wrote bool, err error) {
	start, end := r.Start.String(), exportops.At(r.Start.Add(exportops.Daily.Length())).String()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		wrote = false
		var clean, have int64
		err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(version), 0) FROM exportops_rollup_hours
			WHERE start >= ? AND start < ? AND clean = 1`, start, end).Scan(&clean, &have)
		if err != nil || clean < 24 || have != version {
			return err
		}
		wrote = true
		if _, err := tx.ExecContext(ctx, `DELETE FROM exportops_rollups WHERE period = 'daily' AND start = ?`, start); err != nil {
			return err
		}
		if err := writeCells(ctx, tx, exportops.Daily, start, r.Cells); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT OR IGNORE INTO exportops_rollup_days (start) VALUES (?)`, start)
		return err
	})
	if err != nil {
		return false, s.explain(fmt.Errorf("write the rollup of day %s: %w", start, err))
	}
	return wrote, nil
}
