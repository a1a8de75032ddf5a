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
	// The contract's index of timestamps is descending: walked backwards, its ties
	// come with the last row first.
	w := walk{store: s, size: 250, at: "e.timestamp", place: "e.{row}", down: true, query: `
		SELECT e.export_id, CAST(e.timestamp AS TEXT), e.{row} ` + withOutcome + `
		WHERE ((` + unfrozen + `) OR ` + misplaced + `) AND ` + exactTimestamp}
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
	w = walk{store: s, size: 250, at: "m.timestamp", place: "m.id", query: `
		SELECT m.export_id, m.timestamp, m.id FROM exportops_export_metrics m
		WHERE m.outcome = 1 AND m.counted_hour <> substr(m.timestamp, 1, 13) || ':00:00.000Z'
			AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id AND ` + exactTimestamp + `)`}
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
	store     *Store
	query     string // yields export_id, time and place, and ends in its conditions
	at, place string // the columns of time and place
	down      bool   // whether the places of one time are walked downwards
	size      int    // of a page
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

// page reads the exports after a place; nil stands before all of the same time.
// What is left of the ties and what is later are read one after the other: in
// one condition SQLite would walk through all ties again for every page.
func (w *walk) page(ctx context.Context, span exportops.Span, at string, place any) (
	page []string, nextAt string, nextPlace any, err error,
) {
	beyond, order := ` > ?`, ``
	if w.down {
		beyond, order = ` < ?`, ` DESC`
	}
	read := func(conditions, by string, args ...any) error {
		rows, err := w.store.read.QueryContext(ctx, w.store.sql(w.query+conditions+` ORDER BY `+by+w.place+order+` LIMIT ?`),
			append(args, w.size-len(page))...)
		if err != nil {
			return err
		}
		return scanAll(rows, func() error {
			var id sql.NullString
			if err := rows.Scan(&id, &nextAt, &nextPlace); err != nil {
				return err
			}
			page = append(page, id.String)
			return nil
		})
	}
	later := ` AND ` + w.at + ` >= ? AND ` + w.at + ` < ?`
	if place != nil {
		if err := read(` AND `+w.at+` = ? AND `+w.place+beyond, ``, at, place); err != nil || len(page) == w.size {
			return page, nextAt, nextPlace, err
		}
		later = ` AND ` + w.at + ` > ? AND ` + w.at + ` < ?`
	}
	err = read(later, w.at+`, `, at, span.To.String())
	return page, nextAt, nextPlace, err
}
