package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// stretch is how many rows a statement looks up in the ledger at most. Where next
// to none of millions is what is looked for, one that goes on until it has found
// enough would take longer than statements may.
const stretch = 10_000

// stretches cuts a walk that asks the ledger, in the order of an index, into parts
// of so many rows. Any other walk is one part. The first part is as long as is asked
// for, and the others are longer: who wants a page of what nearly every row is need not
// look further than that.
func (s *Store) stretches(ctx context.Context, o order, after exportops.Cursor, first int64) iter.Seq2[order, error] {
	return func(yield func(order, error) bool) {
		for size := max(first, 1); ; size *= 4 {
			size = min(size, stretch)
			part, err := o.after(after)
			if err == nil && o.ledger != "" && o.sort != "" {
				after, err = s.endOf(ctx, part, size)
			} else {
				after = ""
			}
			if err != nil {
				yield(part, err)
				return
			}
			if after != "" {
				part, err = part.upTo(after)
			}
			if !yield(part, err) || err != nil || after == "" {
				return
			}
		}
	}
}

// endOf returns where a stretch of so many rows ends, "" where the walk does.
func (s *Store) endOf(ctx context.Context, o order, size int64) (exportops.Cursor, error) {
	var p place
	err := s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, s.sql(`SELECT e.`+o.sort+`::text, e.id::text FROM {logs} e WHERE `+o.where+o.by()+
			fmt.Sprintf(` OFFSET %d LIMIT 1`, size-1)), o.args...).Scan(&p.Sort, &p.ID)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for the end of a stretch: %w", err)
	}
	p.Sort = canonical(p.Sort)
	return p.cursor(), nil
}

// countRows counts what follows a cursor.
func (s *Store) countRows(ctx context.Context, o order, after exportops.Cursor) (n int64, err error) {
	for part, err := range s.stretches(ctx, o, after, stretch) {
		var more int64
		if err == nil {
			err = s.reading(ctx, func(tx pgx.Tx) error {
				return tx.QueryRow(ctx, s.sql(`SELECT count(*)`+part.counted()), part.args...).Scan(&more)
			})
		}
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}

// countUpTo counts until it is enough. It reads in the order of the index, where
// the selection has one: without that the planner may take the few rows that it is
// asked for to be anywhere.
func (s *Store) countUpTo(ctx context.Context, o order, most int64) (n int64, err error) {
	by := ""
	if o.sort != "" {
		by = o.by()
	}
	for part, err := range s.stretches(ctx, o, "", most) {
		var more int64
		if err == nil {
			err = s.reading(ctx, func(tx pgx.Tx) error {
				query := fmt.Sprintf(`SELECT count(*) FROM (SELECT 1%s%s LIMIT %d) t`, part.counted(), by, most-n)
				return tx.QueryRow(ctx, s.sql(query), part.args...).Scan(&more)
			})
		}
		if err != nil {
			return 0, err
		}
		if n += more; n >= most {
			break
		}
	}
	return n, nil
}
