package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// freeze brings metrics in line with the rows of exports, before something
// changes those or after something did: finished ones are frozen, and metrics
// that came before their row move to its hour.
func (s *Store) freeze(ctx context.Context, tx pgx.Tx, now exportops.Time, exports []string) error {
	_, err := s.bringInLine(ctx, tx, now, exports)
	return err
}

func (s *Store) bringInLine(ctx context.Context, tx pgx.Tx, now exportops.Time, exports []string) (int64, error) {
	if len(exports) == 0 {
		return 0, nil
	}
	if err := takeTurns(ctx, tx, exports); err != nil {
		return 0, err
	}
	n, err := s.observe(ctx, tx, now, exports)
	if err != nil {
		return n, err
	}
	return n, s.recount(ctx, tx, exports, nil)
}

// misplaced says of a row e and its outcome m that the rollup which holds m is
// not that of the row's hour: the row arrived after its metric.
const misplaced = `m.counted_hour <> date_trunc('hour', e.timestamp, 'UTC')`

// The walks that Observe makes. Each yields an export, and its place: a time and
// an id.
var (
	unfrozenRows = `SELECT e.export_id::text, e.timestamp::text, e.id::text` + withOutcome + `
		WHERE e.export_id IS NOT NULL AND (` + unfrozen + ` OR ` + misplaced + `) AND ` + readable(`e.timestamp`) + `
			AND e.timestamp >= $1::timestamptz AND e.timestamp < $2::timestamptz
			AND (e.timestamp, e.id) > ($3::timestamptz, $4::uuid)
		ORDER BY e.timestamp, e.id LIMIT $5`

	// What was counted by its row goes back to its own time once that is gone.
	homelessMetrics = `SELECT m.export_id::text, m.timestamp::text, m.id::text FROM exportops.export_metrics m
		WHERE m.outcome AND m.counted_hour <> date_trunc('hour', m.timestamp, 'UTC')
			AND m.timestamp >= $1::timestamptz AND m.timestamp < $2::timestamptz
			AND (m.timestamp, m.id) > ($3::timestamptz, $4::bigint)
			AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND ` + readable(`e.timestamp`) + `)
		ORDER BY m.timestamp, m.id LIMIT $5`
)

// The exports that are looked for at once, and those that are changed in one
// transaction. Of rows of one moment each look passes all that came before, so
// it takes many.
const (
	lookMost   = 20_000
	changeMost = 500
)

// Observe implements exportops.RollupStore. It looks for rows without a lock; one
// that changed in between is judged again under it.
func (s *Store) Observe(ctx context.Context, span exportops.Span, now exportops.Time) (total int64, err error) {
	for _, w := range []struct{ query, what, first string }{
		{unfrozenRows, "observe rows", "00000000-0000-0000-0000-000000000000"},
		{homelessMetrics, "place metrics", "0"},
	} {
		// Before all there are: the span says where they begin.
		at, id := "-infinity", w.first
		for full := true; full; {
			var exports []string
			if exports, at, id, err = s.look(ctx, w.query, span, at, id); err != nil {
				return total, fmt.Errorf("%s: %w", w.what, err)
			}
			full = len(exports) == lookMost
			for len(exports) > 0 {
				part := exports[:min(len(exports), changeMost)]
				exports = exports[len(part):]
				n, err := s.change(ctx, now, part)
				total += n
				if err != nil {
					return total, fmt.Errorf("%s: %w", w.what, err)
				}
			}
		}
	}
	return total, nil
}

func (s *Store) look(ctx context.Context, query string, span exportops.Span, at, id string) (
	exports []string, nextAt, nextID string, err error,
) {
	err = s.streaming(ctx, func(tx pgx.Tx) error { // of a table just adopted, all of it
		rows, err := tx.Query(ctx, s.sql(query), span.From.String(), span.To.String(), at, id, lookMost)
		if err != nil {
			return err
		}
		var export string
		_, err = pgx.ForEachRow(rows, []any{&export, &nextAt, &nextID}, func() error {
			exports = append(exports, export)
			return nil
		})
		return err
	})
	return exports, nextAt, nextID, err
}

func (s *Store) change(ctx context.Context, now exportops.Time, exports []string) (n int64, err error) {
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			n, err = s.bringInLine(ctx, tx, now, exports)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
