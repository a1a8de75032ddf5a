package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Backlog implements exportops.AlertStore.
func (s *Store) Backlog(ctx context.Context, b exportops.BacklogSpan) (out exportops.Backlog, err error) {
	var overdue *time.Time
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, s.sql(`SELECT
			(SELECT min(e.expires_at) FROM {logs} e WHERE e.status = 'completed' AND e.expires_at < $1::timestamptz
				AND e.expires_at >= e.created_at AND `+readable(`e.expires_at`)+` AND e.file_url > ''
				AND NOT EXISTS (SELECT 1 FROM exportops.deletions d WHERE d.export_id = e.export_id AND d.state = 'quarantined')
				AND NOT EXISTS (SELECT 1 FROM exportops.holds h WHERE h.released_at IS NULL
					AND (h.scope = 'all' OR h.subject IN (e.export_id, e.user_id)))),
			(SELECT count(*) FROM exportops.deletions WHERE state = 'quarantined' AND state IN ('failed', 'quarantined')),
			(SELECT count(*) FROM {logs} e WHERE e.status IN ('queued', 'processing') AND e.timestamp < $2::timestamptz
				AND coalesce(e.updated_at, '-infinity') < $2::timestamptz),
			(SELECT count(*) FROM exportops.missing_files),
			(SELECT least(coalesce(sum(e.file_size) FILTER (WHERE e.file_size > 0), 0), `+mostBytes+`)::bigint FROM {logs} e
				WHERE e.status = 'completed'),
			(SELECT count(*) FROM exportops.archives a WHERE a.error <> '' AND (a.state IN ('verified', 'deleting', 'done')
				OR a.state = 'abandoned' AND a.written_at IS NOT NULL AND a.replaces = 0
					AND NOT EXISTS (SELECT 1 FROM exportops.archives b WHERE b.id > a.id AND b.verified_at IS NOT NULL)))`),
			b.Now.String(), b.Stuck.String()).
			Scan(&overdue, &out.Quarantined, &out.Stuck, &out.Missing, &out.StoredBytes, &out.FaultyArchives)
	})
	if err != nil {
		return out, fmt.Errorf("read the backlog: %w", err)
	}
	out.OldestOverdue = timePtr(overdue)
	return out, nil
}

// mostBytes is what sizes come to at most, which users may have written.
const mostBytes = `9223372036854775807`

// Expiring implements exportops.AlertStore.
func (s *Store) Expiring(ctx context.Context, span exportops.Span) (n int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, s.sql(`SELECT count(*) FROM {logs} e WHERE e.status = 'completed' AND e.file_url > ''
			AND e.expires_at >= $1::timestamptz AND e.expires_at < $2::timestamptz`), span.From.String(), span.To.String()).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count what expires soon: %w", err)
	}
	return n, nil
}
