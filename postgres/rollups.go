package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// HourStates implements exportops.RollupStore.
func (s *Store) HourStates(ctx context.Context, span exportops.Span) ([]exportops.HourState, error) {
	return s.hourStates(ctx, `WHERE start >= $1::timestamptz AND start < $2::timestamptz ORDER BY start`,
		span.From.String(), span.To.String())
}

// StaleHours implements exportops.RollupStore.
func (s *Store) StaleHours(ctx context.Context, before exportops.Time, limit int) ([]exportops.HourState, error) {
	return s.hourStates(ctx, `WHERE (NOT clean OR open > 0) AND start < $1::timestamptz ORDER BY start LIMIT $2`,
		before.String(), limit)
}

func (s *Store) hourStates(ctx context.Context, where string, args ...any) (states []exportops.HourState, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT start::text, clean, sealed, open, version FROM exportops.rollup_hours `+where, args...)
		if err != nil {
			return fmt.Errorf("read states of hours: %w", err)
		}
		states, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h exportops.HourState, err error) {
			var start string
			if err = row.Scan(&start, &h.Clean, &h.Sealed, &h.Open, &h.Version); err == nil {
				h.Start, err = timeOf(start)
			}
			return h, err
		})
		if err != nil {
			return fmt.Errorf("read states of hours: %w", err)
		}
		return nil
	})
	return states, err
}

// DayStates implements exportops.RollupStore.
func (s *Store) DayStates(ctx context.Context, span exportops.Span) (days []exportops.Time, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT start::text FROM exportops.rollup_days
			WHERE start >= $1::timestamptz AND start < $2::timestamptz ORDER BY start`, span.From.String(), span.To.String())
		if err != nil {
			return fmt.Errorf("read days: %w", err)
		}
		days, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (exportops.Time, error) {
			var start string
			if err := row.Scan(&start); err != nil {
				return exportops.Time{}, err
			}
			return timeOf(start)
		})
		if err != nil {
			return fmt.Errorf("read days: %w", err)
		}
		return nil
	})
	return days, err
}

// FirstActivity implements exportops.RollupStore.
func (s *Store) FirstActivity(ctx context.Context, from exportops.Time) (first exportops.Time, found bool, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		var at *string
		err := tx.QueryRow(ctx, s.sql(`SELECT least(
			(SELECT e.timestamp FROM {logs} e WHERE e.timestamp >= $1::timestamptz AND `+readable(`e.timestamp`)+`
				ORDER BY e.timestamp LIMIT 1),
			(SELECT greatest(min(m.counted_hour), $1::timestamptz) FROM exportops.export_metrics m
				WHERE m.counted_hour >= $2::timestamptz HAVING min(m.counted_hour) IS NOT NULL),
			(SELECT min(m.timestamp) FROM exportops.export_metrics m
				WHERE m.outcome AND m.status IN `+running+` AND m.timestamp >= $1::timestamptz))::text`),
			from.String(), from.Hour().String()).Scan(&at)
		if err != nil {
			return fmt.Errorf("look for the first export: %w", err)
		}
		if at != nil {
			first, found = storedTime(*at)
		}
		return nil
	})
	return first, found, err
}

// Counted implements exportops.RollupStore.
func (s *Store) Counted(ctx context.Context, span exportops.Span) iter.Seq2[exportops.Outcome, error] {
	return stream(ctx, s, "read what an hour counts", `SELECT`+countedColumns+` FROM exportops.export_metrics m
		WHERE m.counted_hour >= $1::timestamptz AND m.counted_hour < $2::timestamptz ORDER BY m.counted_hour`,
		[]any{span.From.String(), span.To.String()},
		func(rows pgx.Rows) (exportops.Outcome, bool, error) {
			v := rows.RawValues()
			o := exportops.Outcome{UserID: string(v[1]), Format: formatOf(v[2]), Status: statusOf(v[4]), ErrorType: string(v[7])}
			conversations, err := countOf(v[3], nil)
			if err == nil {
				o.CountRange = exportops.CountRangeOf(*conversations)
				o.Time, err = timeOf(string(v[0]))
			}
			o.DurationMS, err = countOf(v[5], err)
			o.SizeBytes, err = countOf(v[6], err)
			return o, true, err
		})
}

// WriteHour implements exportops.RollupStore. The hour is locked before its
// version is looked at: who reports to it meanwhile comes before or after.
func (s *Store) WriteHour(ctx context.Context, r exportops.Rollup, version int64) (wrote bool, err error) {
	start := r.Start.String()
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			wrote = false
			if version == 0 {
				_, err := tx.Exec(ctx, `INSERT INTO exportops.rollup_hours (start) VALUES ($1::timestamptz)
					ON CONFLICT DO NOTHING`, start)
				if err != nil {
					return err
				}
			}
			var have int64
			var sealed bool
			err := tx.QueryRow(ctx, `SELECT version, sealed FROM exportops.rollup_hours WHERE start = $1::timestamptz FOR UPDATE`,
				start).Scan(&have, &sealed)
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				return nil
			case err != nil:
				return err
			case sealed:
				_, err := tx.Exec(ctx, `UPDATE exportops.rollup_hours SET open = $2 WHERE start = $1::timestamptz`, start, r.Open)
				return err
			case have != version:
				return nil
			}
			wrote = true
			return replaceHour(ctx, tx, r)
		})
	})
	if err != nil {
		return false, fmt.Errorf("write the rollup of %s: %w", start, err)
	}
	return wrote, nil
}

func replaceHour(ctx context.Context, tx pgx.Tx, r exportops.Rollup) error {
	start := r.Start.String()
	for _, query := range []string{
		`DELETE FROM exportops.rollups WHERE period = 'hourly' AND start = $1::timestamptz`,
		`DELETE FROM exportops.rollup_users WHERE start = $1::timestamptz`,
		`DELETE FROM exportops.rollup_errors WHERE start = $1::timestamptz`,
	} {
		if _, err := tx.Exec(ctx, query, start); err != nil {
			return err
		}
	}
	if err := writeCells(ctx, tx, exportops.Hourly, r.Start, r.Cells); err != nil {
		return err
	}
	users := make(map[string]int64, len(r.Users))
	for _, u := range r.Users {
		users[u.UserID] += u.Count
	}
	if err := addCounts(ctx, tx, usersTable, r.Start, users); err != nil {
		return err
	}
	if err := addCounts(ctx, tx, errorsTable, r.Start, r.Errors); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE exportops.rollup_hours SET clean = true, open = $2 WHERE start = $1::timestamptz`, start, r.Open)
	return err
}

// WriteEmpty implements exportops.RollupStore.
func (s *Store) WriteEmpty(ctx context.Context, span exportops.Span) error {
	return s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO exportops.rollup_hours (start, clean)
				SELECT h, true FROM generate_series($1::timestamptz, $2::timestamptz, '1 hour') h WHERE h < $2::timestamptz
				ON CONFLICT DO NOTHING`, span.From.Hour().String(), span.To.String())
			if err != nil {
				return fmt.Errorf("write empty hours: %w", err)
			}
			return nil
		})
	})
}

// WriteDay implements exportops.RollupStore. The day's hours are locked, so that
// none becomes dirty between the look at them and the day.
func (s *Store) WriteDay(ctx context.Context, r exportops.Rollup, version int64) (wrote bool, err error) {
	start, end := r.Start.String(), exportops.At(r.Start.Add(exportops.Daily.Length())).String()
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			wrote = false
			var clean, have int64
			err := tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE h.clean), coalesce(sum(h.version) FILTER (WHERE h.clean), 0)::bigint
				FROM (SELECT clean, version FROM exportops.rollup_hours WHERE start >= $1::timestamptz AND start < $2::timestamptz
					ORDER BY start FOR NO KEY UPDATE) h`, start, end).Scan(&clean, &have)
			if err != nil || clean < 24 || have != version {
				return err
			}
			wrote = true
			_, err = tx.Exec(ctx, `DELETE FROM exportops.rollups WHERE period = 'daily' AND start = $1::timestamptz`, start)
			if err != nil {
				return err
			}
			if err := writeCells(ctx, tx, exportops.Daily, r.Start, r.Cells); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO exportops.rollup_days (start) VALUES ($1::timestamptz) ON CONFLICT DO NOTHING`, start)
			return err
		})
	})
	if err != nil {
		return false, fmt.Errorf("write the rollup of day %s: %w", start, err)
	}
	return wrote, nil
}
