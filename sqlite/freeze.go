package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// misplaced says of a row e and its outcome m that the rollup which holds m is
// not that of the row's hour: the row arrived after its metric.
const misplaced = `m.counted_hour <> substr(e.timestamp, 1, 13) || ':00:00.000Z'`

// Observe implements exportops.RollupStore. It looks for rows without the
// write lock and freezes them in transactions of well under 100 ms; one that
// changed in between is judged again inside.
func (s *Store) Observe(ctx context.Context, span exportops.Span, now exportops.Time) (int64, error) {
	var total int64
	w := walk{store: s, size: 250, query: s.sql(`
		SELECT e.export_id, CAST(e.timestamp AS TEXT), e.{row} ` + withOutcome + `
		WHERE e.timestamp >= ? AND e.timestamp < ? AND (e.timestamp > ? OR e.{row} > ?)
			AND ((` + unfrozen + `) OR ` + misplaced + `) AND ` + exactTimestamp + `
		ORDER BY e.timestamp, e.{row} LIMIT ?`)}
	err := w.each(ctx, span, func(tx *sql.Tx, exports []string) error {
		list, err := jsonList(exports)
		if err != nil {
			return err
		}
		n, err := s.observe(ctx, tx, now, `e.export_id IN (SELECT value FROM json_each(?))`, list)
		total += n
		if err != nil {
			return err
		}
		return s.place(ctx, tx, exports)
	})
	if err != nil {
		return total, s.explain(fmt.Errorf("observe rows: %w", err))
	}
	// What was counted by its row goes back to its own time once that is gone.
	w = walk{store: s, size: 250, query: s.sql(`
		SELECT m.export_id, m.timestamp, m.id FROM exportops_export_metrics m
		WHERE m.outcome = 1 AND m.timestamp >= ? AND m.timestamp < ? AND (m.timestamp > ? OR m.id > ?)
			AND m.counted_hour <> substr(m.timestamp, 1, 13) || ':00:00.000Z'
			AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND ` + exactTimestamp + `)
		ORDER BY m.timestamp, m.id LIMIT ?`)}
	err = w.each(ctx, span, func(tx *sql.Tx, exports []string) error { return s.place(ctx, tx, exports) })
	if err != nil {
		return total, s.explain(fmt.Errorf("place metrics: %w", err))
	}
	return total, nil
}

// place moves outcomes to the hour they belong to.
func (s *Store) place(ctx context.Context, tx *sql.Tx, exports []string) error {
	changes, err := s.recount(ctx, tx, exports)
	if err != nil {
		return err
	}
	return s.report(ctx, tx, changes)
}

// walk goes through exports by time, in pages, and changes each page in a
// transaction of its own.
type walk struct {
	store *Store
	query string // yields export_id, time and place, for (time, end, time, place, limit)
	size  int    // of a page
}

// The length of a transaction that a walk aims for, and the sizes of its pages.
const (
	walkLeast, walkMost = 10 * time.Millisecond, 40 * time.Millisecond
	pageLeast, pageMost = 50, 2000
)

func (w *walk) each(ctx context.Context, span exportops.Span, change func(*sql.Tx, []string) error) error {
	at, place := span.From.String(), any(nil)
	for {
		page, nextAt, nextPlace, err := w.page(ctx, span, at, place)
		if err != nil || len(page) == 0 {
			return err
		}
		var took time.Duration
		err = w.store.bulk(ctx, func(tx *sql.Tx) error {
			began := time.Now()
			err := change(tx, page)
			// Without the commit: a disk that is slow to sync is no reason to sync
			// it more often.
			took = time.Since(began)
			return err
		})
		if err != nil {
			return err
		}
		full := len(page) == w.size
		switch {
		case took > walkMost:
			w.size = max(w.size/2, pageLeast)
		case took < walkLeast:
			w.size = min(w.size*2, pageMost)
		}
		if !full {
			return nil
		}
		at, place = nextAt, nextPlace
	}
}

// page reads the exports after a place. A null place stands before all of the
// same time.
func (w *walk) page(ctx context.Context, span exportops.Span, at string, place any) (
	page []string, nextAt string, nextPlace any, err error,
) {
	if place == nil {
		place = -1 << 62 // before every number, and numbers are before texts
	}
	rows, err := w.store.read.QueryContext(ctx, w.query, at, span.To.String(), at, place, w.size)
	if err != nil {
		return nil, "", nil, err
	}
	err = scanAll(rows, func() error {
		var id sql.NullString
		if err := rows.Scan(&id, &nextAt, &nextPlace); err != nil {
			return err
		}
		page = append(page, id.String)
		return nil
	})
	return page, nextAt, nextPlace, err
}
