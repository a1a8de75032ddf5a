package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
)

// fetchMost is how many rows of a stream are fetched at once, so that memory is
// flat.
const fetchMost = 2000

// stream yields what the rows of a query say, as they are read. scan is false
// for a row that says nothing. An error is yielded last.
func stream[T any](ctx context.Context, s *Store, what, query string, args []any,
	scan func(pgx.Rows) (T, bool, error),
) iter.Seq2[T, error] {
	read := func(yield func(T) bool) error {
		return s.streaming(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `DECLARE stream NO SCROLL CURSOR FOR `+s.sql(query), args...); err != nil {
				return err
			}
			for n := fetchMost; n == fetchMost; {
				var err error
				if n, err = fetch(ctx, tx, scan, yield); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `CLOSE stream`)
			return err
		})
	}
	if s.stage != nil {
		return buffered(what, read)
	}
	return func(yield func(T, error) bool) {
		err := read(func(v T) bool { return yield(v, nil) })
		if err != nil && !errors.Is(err, errEnough) {
			var none T
			yield(none, fmt.Errorf("%s: %w", what, err))
		}
	}
}

// fetch yields the next rows of a stream and returns how many they were.
func fetch[T any](ctx context.Context, tx pgx.Tx, scan func(pgx.Rows) (T, bool, error), yield func(T) bool) (n int, err error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`FETCH %d FROM stream`, fetchMost))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		v, says, err := scan(rows)
		if err != nil {
			return n, err
		}
		if says && !yield(v) {
			return n, errEnough
		}
	}
	return n, rows.Err()
}

// buffered reads everything before it yields: in a rehearsal, who takes a row may
// ask the store for more, and there is one connection.
func buffered[T any](what string, read func(func(T) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var all []T
		err := read(func(v T) bool { all = append(all, v); return true })
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, fmt.Errorf("%s: %w", what, err))
		}
	}
}
