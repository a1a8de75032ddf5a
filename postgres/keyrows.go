package postgres

import (
	"context"
	"errors"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// errEnough ends a transaction of whoever has read enough.
var errEnough = errors.New("enough was read")

// KeyRows implements exportops.DeletionStore. Rows come as they are read, and
// are nowhere kept.
func (s *Store) KeyRows(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error] {
	query := `SELECT coalesce(e.export_id::text, ''), coalesce(e.user_id::text, ''), e.status::text, e.file_url FROM {logs} e
		WHERE e.status IN ('completed', 'queued', 'processing') AND e.file_url > ''`
	var args []any
	if !since.IsZero() {
		query += ` AND e.timestamp >= $1::timestamptz`
		args = append(args, since.String())
	}
	return func(yield func(exportops.KeyRow, error) bool) {
		err := s.reading(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, s.sql(query), args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var k exportops.KeyRow
				if err := rows.Scan(&k.ExportID, &k.UserID, (*string)(&k.Status), &k.FileURL); err != nil {
					return err
				}
				if !yield(k, nil) {
					return errEnough
				}
			}
			return rows.Err()
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(exportops.KeyRow{}, err)
		}
	}
}
