package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/exportops/exportops"
)

const cellColumns = ` start, format, count_range, completed, failed,
	duration_count, duration_sum, duration_max, duration_sketch, size_count, size_sum, size_max, size_sketch`

// scanCell reads cellColumns. The sketches are valid until the next row.
func scanCell(rows *sql.Rows, c *exportops.Cell) error {
	var start string
	var duration, size sql.RawBytes
	err := rows.Scan(&start, &c.Format, &c.CountRange, &c.Completed, &c.Failed,
		&c.Duration.Count, &c.Duration.Sum, &c.Duration.Max, &duration,
		&c.Size.Count, &c.Size.Sum, &c.Size.Max, &size)
	if err != nil {
		return err
	}
	c.Duration.Sketch, c.Size.Sketch = duration, size
	var ok bool
	if c.Start, ok = exportops.ParseStoredTime(start); !ok {
		return fmt.Errorf("a rollup starts at %q, which is no time", start)
	}
	return nil
}

// Cells implements exportops.RollupStore.
func (s *Store) Cells(ctx context.Context, p exportops.Period, span exportops.Span) iter.Seq2[exportops.Cell, error] {
	return func(yield func(exportops.Cell, error) bool) {
		rows, err := s.read.QueryContext(ctx, `SELECT`+cellColumns+` FROM exportops_rollups
			WHERE period = ? AND start >= ? AND start < ?`, string(p), span.From.String(), span.To.String())
		if err != nil {
			yield(exportops.Cell{}, s.explain(fmt.Errorf("read rollups: %w", err)))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var c exportops.Cell
			if err := scanCell(rows, &c); err != nil {
				yield(exportops.Cell{}, s.explain(fmt.Errorf("read rollups: %w", err)))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(exportops.Cell{}, s.explain(fmt.Errorf("read rollups: %w", err)))
		}
	}
}

// writeCells writes cells of one bucket in place of those of the same format
// and count range.
func writeCells(ctx context.Context, tx *sql.Tx, p exportops.Period, start string, cells []exportops.Cell) error {
	if len(cells) == 0 {
		return nil
	}
	insert, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO exportops_rollups (period,`+cellColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return fmt.Errorf("write cells: %w", err)
	}
	defer insert.Close()
	for i := range cells {
		c := &cells[i]
		_, err := insert.ExecContext(ctx, string(p), start, string(c.Format), string(c.CountRange), c.Completed, c.Failed,
			c.Duration.Count, c.Duration.Sum, c.Duration.Max, c.Duration.Sketch,
			c.Size.Count, c.Size.Sum, c.Size.Max, c.Size.Sketch)
		if err != nil {
			return fmt.Errorf("write cell %s %s: %w", c.Format, c.CountRange, err)
		}
	}
	return nil
}
