package postgres

import (
	"context"
	"errors"
	"iter"

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
	return stream(ctx, s, "read keys", query, args, scanKeyRow)
}
