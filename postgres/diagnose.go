package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Diagnose implements exportops.Database.
func (s *Store) Diagnose(ctx context.Context, then exportops.Time) (d exportops.Diagnosis, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		var clock string
		var newest *string
		err := tx.QueryRow(ctx, s.sql(`SELECT clock_timestamp()::text, greatest(
				(SELECT max(e.timestamp) FROM {logs} e WHERE `+readable(`e.timestamp`)+`),
				(SELECT max(r.started_at) FROM exportops.runs r))::text,
			(SELECT count(*) FROM exportops.deletions d WHERE d.state = 'quarantined')`)).Scan(&clock, &newest, &d.Quarantined)
		if err != nil {
			return fmt.Errorf("diagnose: %w", err)
		}
		d.Clock, _ = storedTime(clock)
		if newest != nil {
			if t, ok := storedTime(*newest); ok {
				d.Newest = &t
			}
		}
		if err := s.countRowsOf(ctx, tx, then, &d); err != nil {
			return fmt.Errorf("diagnose %s: %w", s.table, err)
		}
		d.MissingIndexes, err = s.missingIndexes(ctx, tx)
		return err
	})
	return d, err
}

// countRowsOf passes the whole table once.
func (s *Store) countRowsOf(ctx context.Context, tx pgx.Tx, then exportops.Time, d *exportops.Diagnosis) error {
	exact := readable(`e.expires_at`)
	return tx.QueryRow(ctx, s.sql(`SELECT count(*),
			count(*) FILTER (WHERE e.status = 'completed' AND e.expires_at IS NULL),
			count(*) FILTER (WHERE e.status = 'completed' AND NOT `+exact+`),
			count(*) FILTER (WHERE e.status = 'completed' AND `+exact+` AND e.expires_at < e.created_at),
			count(*) FILTER (WHERE e.status = 'completed' AND `+exact+` AND e.expires_at >= e.created_at
				AND e.expires_at < $1::timestamptz)
		FROM {logs} e`), then.String()).Scan(&d.Rows, &d.Unexpiring, &d.Unreadable, &d.Implausible, &d.Overdue)
}

// missingIndexes returns nothing for a view: its table's indexes are not ours
// to know. An index serves where it begins with the column, over all rows.
func (s *Store) missingIndexes(ctx context.Context, tx pgx.Tx) ([]string, error) {
	if s.view {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT a.attname::text || CASE WHEN i.indisunique AND i.indnkeyatts = 1 THEN ' unique' ELSE '' END
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
			JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
		WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'`, s.sql(`{logs}`))
	if err != nil {
		return nil, fmt.Errorf("look for indexes: %w", err)
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for indexes: %w", err)
	}
	_, table := s.parts()
	var missing []string
	for _, want := range []string{"export_id", "user_id", "timestamp DESC", "status", "format", "expires_at"} {
		column, _, _ := strings.Cut(want, " ")
		unique := ""
		if column == "export_id" {
			unique = "UNIQUE "
		}
		if slices.Contains(have, column+" unique") || unique == "" && slices.Contains(have, column) {
			continue
		}
		missing = append(missing, fmt.Sprintf("CREATE %sINDEX CONCURRENTLY %s ON %s (%s);", unique,
			pgx.Identifier{table + "_" + column}.Sanitize(), s.sql(`{logs}`), want))
	}
	return missing, nil
}
