package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// applyDeltas adds changes to the rollup of one sealed hour.
func (s *Store) applyDeltas(ctx context.Context, tx *sql.Tx, hour string, changes []exportops.Delta) error {
	type key struct {
		format     exportops.Format
		countRange exportops.CountRange
	}
	in, out := map[key][]exportops.Outcome{}, map[key][]exportops.Outcome{}
	users, failures := map[string]int64{}, map[string]int64{}
	count := func(o *exportops.Outcome, side map[key][]exportops.Outcome, n int64) {
		if o == nil {
			return
		}
		k := key{o.Format, o.CountRange}
		side[k] = append(side[k], *o)
		users[o.UserID] += n
		if o.Status == exportops.Failed {
			failures[o.ErrorType] += n
		}
	}
	touched := map[key]bool{}
	for _, c := range changes {
		count(c.New, in, 1)
		count(c.Old, out, -1)
	}
	for k := range in {
		touched[k] = true
	}
	for k := range out {
		touched[k] = true
	}
	for k := range touched {
		c, err := readCell(ctx, tx, hour, k.format, k.countRange)
		if err != nil {
			return err
		}
		if err := metrics.ApplyDelta(&c, in[k], out[k]); err != nil {
			return err
		}
		if err := writeCells(ctx, tx, exportops.Hourly, hour, []exportops.Cell{c}); err != nil {
			return err
		}
	}
	if err := addCounts(ctx, tx, "exportops_rollup_users", "user_id", hour, users); err != nil {
		return err
	}
	return addCounts(ctx, tx, "exportops_rollup_errors", "error_type", hour, failures)
}

// readCell reads one cell of an hour; where there is none it is empty.
func readCell(ctx context.Context, tx *sql.Tx, hour string, f exportops.Format, r exportops.CountRange) (
	c exportops.Cell, err error,
) {
	rows, err := tx.QueryContext(ctx, `SELECT`+cellColumns+` FROM exportops_rollups
		WHERE period = 'hourly' AND start = ? AND format = ? AND count_range = ?`, hour, string(f), string(r))
	if err != nil {
		return c, err
	}
	c.Format, c.CountRange = f, r
	err = scanAll(rows, func() error {
		err := scanCell(rows, &c)
		c.Duration.Sketch, c.Size.Sketch = bytes.Clone(c.Duration.Sketch), bytes.Clone(c.Size.Sketch)
		return err
	})
	return c, err
}

// addCounts adds to the counts that one of our tables keeps by hour and name,
// and drops those that come down to nothing.
func addCounts(ctx context.Context, tx *sql.Tx, table, name, hour string, counts map[string]int64) error {
	for k, n := range counts {
		if n == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (start, `+name+`, exports) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET exports = exports + excluded.exports`, hour, k, n)
		if err != nil {
			return fmt.Errorf("add to %s: %w", table, err)
		}
		if n > 0 {
			continue
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE start = ? AND `+name+` = ? AND exports <= 0`, hour, k)
		if err != nil {
			return fmt.Errorf("add to %s: %w", table, err)
		}
	}
	return nil
}
