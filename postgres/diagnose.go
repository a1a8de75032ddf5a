package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Diagnose implements exportops.Database.
func (s *Store) Diagnose(ctx context.Context, then exportops.Time) (d exportops.Diagnosis, err error) {
	err = s.streaming(ctx, func(tx pgx.Tx) error {
		var clock time.Time
		var newest *time.Time
		err := tx.QueryRow(ctx, s.sql(`SELECT clock_timestamp(), greatest(
				(SELECT max(e.timestamp) FROM {logs} e WHERE `+readable(`e.timestamp`)+`), (SELECT max(started_at) FROM exportops.runs)),
			(SELECT count(*) FROM exportops.deletions WHERE state = 'quarantined')`)).Scan(&clock, &newest, &d.Quarantined)
		if err != nil {
			return fmt.Errorf("diagnose: %w", err)
		}
		d.Clock, d.Newest = exportops.At(clock), timePtr(newest)
		read := readable(`e.expires_at`)
		err = tx.QueryRow(ctx, s.sql(`SELECT count(*),
				count(*) FILTER (WHERE e.expires_at IS NULL AND e.status = 'completed'),
				count(*) FILTER (WHERE NOT `+read+` AND e.status = 'completed'),
				count(*) FILTER (WHERE `+read+` AND e.status = 'completed' AND e.expires_at < e.created_at),
				count(*) FILTER (WHERE `+read+` AND e.status = 'completed' AND e.expires_at >= e.created_at
					AND e.expires_at < $1::timestamptz AND NOT `+heldBy("e.export_id", "e.user_id")+`)
			FROM {logs} e`), then.String()).Scan(&d.Rows, &d.Unexpiring, &d.Unreadable, &d.Implausible, &d.Overdue)
		if err != nil {
			return fmt.Errorf("diagnose %s: %w", s.table, err)
		}
		d.MissingIndexes, err = s.missingIndexes(ctx, tx)
		return err
	})
	return d, err
}

// missingIndexes returns nothing for a view: its table's indexes are not ours
// to know. A partial index, or one that failed to be built, does not serve.
func (s *Store) missingIndexes(ctx context.Context, tx pgx.Tx) (missing []string, err error) {
	if s.view {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `
		SELECT a.attname || CASE WHEN i.indisunique AND i.indnkeyatts = 1 THEN ' unique' ELSE '' END
		FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
		WHERE n.nspname = $1 AND c.relname = $2 AND i.indisvalid AND i.indpred IS NULL`, s.place[0], s.place[1])
	if err != nil {
		return nil, fmt.Errorf("look for indexes: %w", err)
	}
	first, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for indexes: %w", err)
	}
	for _, want := range []string{"export_id unique", "user_id", "timestamp DESC", "status", "format", "expires_at"} {
		column, how, _ := strings.Cut(want, " ")
		unique := ""
		if how == "unique" {
			unique = "UNIQUE "
			if slices.Contains(first, want) {
				continue
			}
		} else if slices.Contains(first, column) || slices.Contains(first, column+" unique") {
			continue
		}
		// Writers need not wait for an index that is built concurrently.
		missing = append(missing, fmt.Sprintf("CREATE %sINDEX CONCURRENTLY %s ON %s (%s);",
			unique, s.indexName(column), s.place.Sanitize(), strings.TrimSuffix(want, " unique")))
	}
	return missing, nil
}
