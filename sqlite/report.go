package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// countedColumns are what a rollup takes of a metric, for scanCounted.
const countedColumns = ` counted_hour, user_id, format, conversation_count, status, duration_ms, file_size_bytes,
	CASE status WHEN 'failed' THEN coalesce(nullif(error_type, ''), 'Unknown') ELSE '' END`

// scanCounted reads the columns asked for before countedColumns, and those. The
// hour is zero for what no rollup holds.
func scanCounted(rows *sql.Rows, before ...any) (o exportops.Outcome, hour exportops.Time, err error) {
	var at sql.NullString
	var conversations int64
	var duration, size sql.NullInt64
	err = rows.Scan(append(before, &at, &o.UserID, &o.Format, &conversations, &o.Status, &duration, &size, &o.ErrorType)...)
	if err != nil {
		return o, hour, err
	}
	o.CountRange = exportops.CountRangeOf(conversations)
	o.DurationMS, o.SizeBytes = intPtr(duration), intPtr(size)
	if at.Valid {
		var ok bool
		if hour, ok = exportops.ParseStoredTime(at.String); !ok {
			return o, hour, fmt.Errorf("counted_hour %q is no time", at.String)
		}
	}
	o.Time = hour
	return o, hour, nil
}

func intPtr(n sql.NullInt64) *int64 {
	if !n.Valid {
		return nil
	}
	return &n.Int64
}

// scanAll calls scan for each row and closes rows.
func scanAll(rows *sql.Rows, scan func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// report tells the rollups that outcomes changed, in the transaction that
// changes them: hours become dirty, and sealed ones, which can never be
// computed again, take the change as it is.
func (s *Store) report(ctx context.Context, tx *sql.Tx, changes []exportops.Delta) error {
	if len(changes) == 0 {
		return nil
	}
	byHour := map[string][]exportops.Delta{}
	var hours []string
	for _, c := range changes {
		h := c.Hour.String()
		if byHour[h] == nil {
			hours = append(hours, h)
		}
		byHour[h] = append(byHour[h], c)
	}
	if err := s.dirty(ctx, tx, hours); err != nil {
		return err
	}
	list, err := jsonList(hours)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT start FROM exportops_rollup_hours
		WHERE sealed = 1 AND start IN (SELECT value FROM json_each(?))`, list)
	if err != nil {
		return err
	}
	var sealed []string
	err = scanAll(rows, func() error {
		sealed = append(sealed, "")
		return rows.Scan(&sealed[len(sealed)-1])
	})
	if err != nil {
		return err
	}
	for _, h := range sealed {
		if err := s.applyDeltas(ctx, tx, h, byHour[h]); err != nil {
			return fmt.Errorf("add to sealed hour %s: %w", h, err)
		}
	}
	return nil
}

// dirty says that the rollups of hours no longer are what their metrics add up
// to. It gives an hour without a state one, so that whoever is computing it
// loses the version check, and takes the days' rollups away. A sealed hour
// stays clean: its version alone rises, for whoever is computing its day.
func (s *Store) dirty(ctx context.Context, tx *sql.Tx, hours []string) error {
	list, err := jsonList(hours)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO exportops_rollup_hours (start, version)
		SELECT value, 1 FROM json_each(?) WHERE true
		ON CONFLICT (start) DO UPDATE SET version = version + 1, clean = min(clean, sealed)`, list)
	if err != nil {
		return fmt.Errorf("mark hours dirty: %w", err)
	}
	// The day's cells stay until they are replaced: whoever is about to read
	// them finds them a moment old rather than gone.
	_, err = tx.ExecContext(ctx, `DELETE FROM exportops_rollup_days WHERE start IN (
		SELECT substr(value, 1, 10) || 'T00:00:00.000Z' FROM json_each(?))`, list)
	if err != nil {
		return fmt.Errorf("take away the days of dirty hours: %w", err)
	}
	return nil
}
