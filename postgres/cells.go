package postgres

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

const cellColumns = ` start::text, format, count_range, completed, failed,
	duration_count, duration_sum, duration_max, duration_sketch, size_count, size_sum, size_max, size_sketch`

func scanCell(row pgx.CollectableRow) (c exportops.Cell, err error) {
	var start string
	err = row.Scan(&start, (*string)(&c.Format), (*string)(&c.CountRange), &c.Completed, &c.Failed,
		&c.Duration.Count, &c.Duration.Sum, &c.Duration.Max, &c.Duration.Sketch,
		&c.Size.Count, &c.Size.Sum, &c.Size.Max, &c.Size.Sketch)
	if err == nil {
		c.Start, err = timeOf(start)
	}
	return c, err
}

// Cells implements exportops.RollupStore.
func (s *Store) Cells(ctx context.Context, p exportops.Period, span exportops.Span) iter.Seq2[exportops.Cell, error] {
	return stream(ctx, s, "read rollups", `SELECT`+cellColumns+` FROM exportops.rollups
		WHERE period = $1 AND start >= $2::timestamptz AND start < $3::timestamptz`,
		[]any{string(p), span.From.String(), span.To.String()},
		func(rows pgx.Rows) (exportops.Cell, bool, error) {
			c, err := scanCell(rows)
			return c, true, err
		})
}

// writeCells writes cells of one bucket in place of those of the same format
// and count range.
func writeCells(ctx context.Context, tx pgx.Tx, p exportops.Period, start exportops.Time, cells []exportops.Cell) error {
	if len(cells) == 0 {
		return nil
	}
	n := len(cells)
	formats, ranges := make([]string, n), make([]string, n)
	var counts [8][]int64
	for i := range counts {
		counts[i] = make([]int64, n)
	}
	durations, sizes := make([][]byte, n), make([][]byte, n)
	for i := range cells {
		c := &cells[i]
		formats[i], ranges[i], durations[i], sizes[i] = string(c.Format), string(c.CountRange), c.Duration.Sketch, c.Size.Sketch
		for k, v := range [8]int64{
			c.Completed, c.Failed, c.Duration.Count, c.Duration.Sum, c.Duration.Max, c.Size.Count, c.Size.Sum, c.Size.Max,
		} {
			counts[k][i] = v
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO exportops.rollups (period, start, format, count_range, completed, failed, duration_count, duration_sum,
			duration_max, duration_sketch, size_count, size_sum, size_max, size_sketch)
		SELECT $1, $2::timestamptz, n.* FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
			$8::bigint[], $9::bigint[], $10::bytea[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[]) n
		ON CONFLICT (period, start, format, count_range) DO UPDATE SET completed = excluded.completed, failed = excluded.failed,
			duration_count = excluded.duration_count, duration_sum = excluded.duration_sum,
			duration_max = excluded.duration_max, duration_sketch = excluded.duration_sketch,
			size_count = excluded.size_count, size_sum = excluded.size_sum,
			size_max = excluded.size_max, size_sketch = excluded.size_sketch`,
		string(p), start.String(), formats, ranges, counts[0], counts[1], counts[2], counts[3], counts[4], durations,
		counts[5], counts[6], counts[7], sizes)
	if err != nil {
		return fmt.Errorf("write cells: %w", err)
	}
	return nil
}
