package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// Diagnose implements exportops.Database.
func (s *Store) Diagnose(ctx context.Context, then exportops.Time) (exportops.Diagnosis, error) {
	var d exportops.Diagnosis
	var clock string
	var newest sql.NullString
	err := s.read.QueryRowContext(ctx, s.sql(`
		SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
			(SELECT max(t) FROM (SELECT max(timestamp) AS t FROM {logs} UNION ALL SELECT max(started_at) FROM exportops_runs)),
			(SELECT count(*) FROM exportops_deletions WHERE state = 'quarantined' AND state IN ('failed', 'quarantined'))`)).Scan(&clock, &newest, &d.Quarantined)
	if err != nil {
		return d, s.explain(fmt.Errorf("diagnose: %w", err))
	}
	d.Newest = timePtr(newest)
	if t, ok := exportops.ParseStoredTime(clock); ok {
		d.Clock = t
	}
	err = s.read.QueryRowContext(ctx, s.sql(`
		SELECT count(*),
			count(*) FILTER (WHERE status = 'completed' AND expires_at IS NULL),
			count(*) FILTER (WHERE status = 'completed' AND NOT exact),
			count(*) FILTER (WHERE status = 'completed' AND exact AND expires_at < created_at),
			count(*) FILTER (WHERE status = 'completed' AND exact AND expires_at >= created_at AND expires_at < ? AND NOT held)
		FROM (SELECT status, expires_at, created_at, `+heldBy("export_id", "user_id")+` AS held,
			expires_at IS NULL OR coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', expires_at) = expires_at, 0) AS exact FROM {logs})`),
		then.String()).Scan(&d.Rows, &d.Unexpiring, &d.Unreadable, &d.Implausible, &d.Overdue)
	if err != nil {
		return d, s.explain(fmt.Errorf("diagnose %s: %w", s.table, err))
	}
	d.MissingIndexes, err = s.missingIndexes(ctx)
	return d, err
}

// missingIndexes returns nothing for a view: its table's indexes are not ours
// to know.
func (s *Store) missingIndexes(ctx context.Context) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT m.type, coalesce(i.name, '') FROM sqlite_schema m
		LEFT JOIN pragma_index_list(m.name) l LEFT JOIN pragma_index_info(l.name) i ON i.seqno = 0
		WHERE m.name = ? AND m.type IN ('table', 'view')`, s.table)
	if err != nil {
		return nil, s.explain(fmt.Errorf("look for indexes: %w", err))
	}
	var first []string
	isView := false
	if err := scanAll(rows, func() error {
		var kind, column string
		err := rows.Scan(&kind, &column)
		isView = isView || kind == "view"
		first = append(first, column)
		return err
	}); err != nil || isView {
		return nil, err
	}
	var missing []string
	for _, want := range []string{"export_id", "user_id", "timestamp DESC", "status", "format", "expires_at"} {
		column, _, _ := strings.Cut(want, " ")
		if slices.Contains(first, column) {
			continue
		}
		unique := ""
		if column == "export_id" {
			unique = "UNIQUE "
		}
		missing = append(missing, fmt.Sprintf(`CREATE %sINDEX %s_%s ON "%s" (%s);`, unique, s.table, column, s.table, want))
	}
	return missing, nil
}
