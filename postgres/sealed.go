package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// cellKey tells the cells of an hour apart.
type cellKey struct {
	format     exportops.Format
	countRange exportops.CountRange
}

// applyDeltas adds changes to the rollup of one sealed hour, which is locked.
func applyDeltas(ctx context.Context, tx pgx.Tx, hour exportops.Time, changes []exportops.Delta) error {
	in, out := map[cellKey][]exportops.Outcome{}, map[cellKey][]exportops.Outcome{}
	users, failures := map[string]int64{}, map[string]int64{}
	touched := map[cellKey]bool{}
	count := func(o *exportops.Outcome, side map[cellKey][]exportops.Outcome, n int64) {
		if o == nil {
			return
		}
		k := cellKey{o.Format, o.CountRange}
		side[k], touched[k] = append(side[k], *o), true
		users[o.UserID] += n
		if o.Status == exportops.Failed {
			failures[o.ErrorType] += n
		}
	}
	for _, c := range changes {
		count(c.New, in, 1)
		count(c.Old, out, -1)
	}
	have, err := readCells(ctx, tx, hour)
	if err != nil {
		return err
	}
	cells := make([]exportops.Cell, 0, len(touched))
	for k := range touched {
		c, ok := have[k]
		if !ok {
			c = exportops.Cell{Start: hour, Format: k.format, CountRange: k.countRange}
		}
		if err := metrics.ApplyDelta(&c, in[k], out[k]); err != nil {
			return err
		}
		cells = append(cells, c)
	}
	if err := writeCells(ctx, tx, exportops.Hourly, hour, cells); err != nil {
		return err
	}
	if err := addCounts(ctx, tx, usersTable, hour, users); err != nil {
		return err
	}
	return addCounts(ctx, tx, errorsTable, hour, failures)
}

// readCells reads the cells of an hour.
func readCells(ctx context.Context, tx pgx.Tx, hour exportops.Time) (map[cellKey]exportops.Cell, error) {
	rows, err := tx.Query(ctx, `SELECT`+cellColumns+` FROM exportops.rollups
		WHERE period = 'hourly' AND start = $1::timestamptz`, hour.String())
	if err != nil {
		return nil, fmt.Errorf("read cells: %w", err)
	}
	cells := map[cellKey]exportops.Cell{}
	for rows.Next() {
		c, err := scanCell(rows)
		if err != nil {
			rows.Close()
			return nil, fmt.Errorf("read cells: %w", err)
		}
		cells[cellKey{c.Format, c.CountRange}] = c
	}
	return cells, rows.Err()
}

// countsTable is one of our tables that keeps counts by hour and name.
type countsTable struct{ table, name, kind string }

var (
	usersTable  = countsTable{"exportops.rollup_users", "user_id", "uuid"}
	errorsTable = countsTable{"exportops.rollup_errors", "error_type", "text"}
)

// addCounts adds to counts, and drops those that come down to nothing.
func addCounts(ctx context.Context, tx pgx.Tx, t countsTable, hour exportops.Time, counts map[string]int64) error {
	var names []string
	var sums []int64
	fewer := false
	for _, name := range sortedKeys(counts) {
		if n := counts[name]; n != 0 {
			names, sums, fewer = append(names, name), append(sums, n), fewer || n < 0
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO `+t.table+` AS c (start, `+t.name+`, exports)
		SELECT $1::timestamptz, n.* FROM unnest($2::`+t.kind+`[], $3::bigint[]) n
		ON CONFLICT (start, `+t.name+`) DO UPDATE SET exports = c.exports + excluded.exports`, hour.String(), names, sums)
	if err == nil && fewer {
		_, err = tx.Exec(ctx, `DELETE FROM `+t.table+` c WHERE c.start = $1::timestamptz
			AND c.`+t.name+` = ANY($2::`+t.kind+`[]) AND c.exports <= 0`, hour.String(), names)
	}
	if err != nil {
		return fmt.Errorf("add to %s: %w", t.table, err)
	}
	return nil
}
