package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// Backlog implements exportops.AlertStore. Sizes are added up as users wrote them: a
// sum that is no number of bytes stays at the largest.
func (s *Store) Backlog(ctx context.Context, b exportops.BacklogSpan) (out exportops.Backlog, err error) {
	var overdue sql.NullString
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT
		(SELECT min(e.expires_at) FROM {logs} e WHERE e.status = 'completed' AND e.expires_at < ?1 AND e.expires_at >= e.created_at
			AND strftime('%Y-%m-%dT%H:%M:%fZ', e.expires_at) = e.expires_at AND e.expires_at >= '0001' AND e.file_url > ''
			AND NOT EXISTS (SELECT 1 FROM exportops_deletions d WHERE d.export_id = e.export_id AND d.state = 'quarantined')
			AND NOT EXISTS (SELECT 1 FROM exportops_holds h WHERE h.released_at IS NULL
				AND (h.scope = 'all' OR h.subject IN (lower(e.export_id), lower(e.user_id))))),
		(SELECT count(*) FROM exportops_deletions WHERE state = 'quarantined' AND state IN ('failed', 'quarantined')),
		(SELECT count(*) FROM {logs} WHERE status IN ('queued', 'processing') AND +timestamp < ?2 AND coalesce(updated_at, '') < ?2),
		(SELECT count(*) FROM exportops_missing_files),
		(SELECT CAST(total(file_size) AS INTEGER) FROM {logs} WHERE status = 'completed' AND typeof(file_size) = 'integer' AND file_size > 0),
		(SELECT count(*) FROM exportops_archives a WHERE a.error <> '' AND (a.state IN ('verified', 'deleting', 'done')
			OR a.state = 'abandoned' AND a.written_at IS NOT NULL AND a.replaces = 0
				AND NOT EXISTS (SELECT 1 FROM exportops_archives b WHERE b.id > a.id AND b.verified_at IS NOT NULL)))`),
		b.Now.String(), b.Stuck.String()).
		Scan(&overdue, &out.Quarantined, &out.Stuck, &out.Missing, &out.StoredBytes, &out.FaultyArchives)
	out.OldestOverdue = timePtr(overdue)
	if err != nil {
		return out, s.explain(fmt.Errorf("read the backlog: %w", err))
	}
	return out, nil
}

// Expiring implements exportops.AlertStore.
func (s *Store) Expiring(ctx context.Context, span exportops.Span) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT count(*) FROM {logs} e WHERE +e.status = 'completed' AND e.file_url > ''
		AND e.expires_at >= ?1 AND e.expires_at < ?2 AND e.expires_at GLOB '[0-9][0-9][0-9][0-9]-*Z'`), span.From.String(), span.To.String()).Scan(&n)
	if err != nil {
		return 0, s.explain(fmt.Errorf("count what expires soon: %w", err))
	}
	return n, nil
}
