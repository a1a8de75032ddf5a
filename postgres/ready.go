package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Ready implements exportops.Database. It looks at our tables and at the
// application's: what it is, its columns and their types, and what the role may
// do with it.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	if err := s.learnTable(ctx); err != nil {
		return err
	}
	return s.reading(ctx, func(tx pgx.Tx) error {
		for _, check := range []func(context.Context, pgx.Tx) error{s.checkTable, s.checkColumns, s.checkGrants, s.checkOurs} {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		// Whoever row level security binds is told by the server.
		if _, err := tx.Exec(ctx, s.sql(`SELECT 1 FROM {logs} e LIMIT 1`)); err != nil {
			return fmt.Errorf("read %s: %w", s.table, err)
		}
		return nil
	})
}

// unfit says what is wrong with the table of export logs.
func unfit(message, hint string) error {
	return &exportops.Error{Kind: exportops.KindUnavailable, Field: logsTable, Message: message, Hint: hint}
}

// The bits of pg_relation_is_updatable for UPDATE and DELETE.
const updatable = 4 | 16

func (s *Store) checkTable(ctx context.Context, tx pgx.Tx) error {
	var kind string
	var can int
	err := tx.QueryRow(ctx, `SELECT coalesce(max(c.relkind::text), ''), coalesce(max(pg_relation_is_updatable(c.oid, false)), 0)
		FROM pg_class c WHERE c.oid = to_regclass($1)`, s.sql(`{logs}`)).Scan(&kind, &can)
	switch {
	case err != nil:
		return fmt.Errorf("look at %s: %w", s.table, err)
	case kind == "":
		return unfit(fmt.Sprintf("there is no table %s in %s, or role %s may not see its schema", s.table, s.name, s.role),
			"name the table that holds the export logs, or create it with: exportops migrate --create-export-logs")
	case !strings.Contains("rpv", kind):
		return unfit(fmt.Sprintf("%s is neither a table nor a view", s.table), "name a table, or a view over a single table")
	case can&updatable != updatable:
		return unfit(fmt.Sprintf("view %s cannot be changed: it is not over a single table, or computes too much", s.table),
			"make it a plain view over a single table, without DISTINCT, GROUP BY, LIMIT and joins")
	}
	return nil
}

// logColumns are the columns that the export logs must have, and the types that
// they may have.
var logColumns = []struct {
	name  string
	types []string
}{
	{"id", uuids},
	{"export_id", uuids},
	{"user_id", uuids},
	{"timestamp", instants},
	{"format", texts},
	{"config", []string{"jsonb", "json"}},
	{"conversation_count", integers},
	{"file_size", integers},
	{"status", texts},
	{"file_url", texts},
	{"expires_at", instants},
	{"error_message", texts},
	{"created_at", instants},
	{"updated_at", instants},
	{"downloaded_count", integers},
}

var (
	uuids    = []string{"uuid"}
	instants = []string{"timestamp with time zone"}
	texts    = []string{"text", "character varying"}
	integers = []string{"bigint", "integer", "smallint"}
)

// changed are the columns that we write, which a view must pass on.
var changed = []string{"status", "updated_at"}

func (s *Store) checkColumns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT a.attname::text, format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END, NULL),
			pg_column_is_updatable(a.attrelid, a.attnum, false)
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, s.sql(`{logs}`))
	if err != nil {
		return fmt.Errorf("look at the columns of %s: %w", s.table, err)
	}
	types, fixed := map[string]string{}, map[string]bool{}
	var name, kind string
	var can bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &can}, func() error {
		types[name], fixed[name] = kind, !can
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at the columns of %s: %w", s.table, err)
	}
	var missing, wrong []string
	for _, c := range logColumns {
		switch have := types[c.name]; {
		case have == "" && c.name != "downloaded_count":
			missing = append(missing, c.name)
		case have != "" && !slices.Contains(c.types, have):
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", c.name, have, strings.Join(c.types, " or ")))
		case s.view && slices.Contains(changed, c.name) && fixed[c.name]:
			wrong = append(wrong, c.name+" cannot be changed")
		}
	}
	switch {
	case len(missing) > 0:
		return unfit(fmt.Sprintf("table %s lacks %s", s.table, strings.Join(missing, ", ")),
			"name a table, or a view over a single table, that has these columns")
	case len(wrong) > 0:
		return unfit(fmt.Sprintf("table %s has other columns than it should: %s", s.table, strings.Join(wrong, "; ")),
			"name a view over it that casts them, all but status and updated_at, which we change")
	}
	return nil
}

// checkGrants says what the role may not do with the table.
func (s *Store) checkGrants(ctx context.Context, tx pgx.Tx) error {
	lacks, err := s.lacks(ctx, tx, `SELECT p FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p
		WHERE NOT has_table_privilege(to_regclass($1), p)`, s.sql(`{logs}`))
	if err != nil || len(lacks) == 0 {
		return err
	}
	return unfit(fmt.Sprintf("role %s lacks %s on %s", s.role, strings.Join(lacks, ", "), s.table),
		fmt.Sprintf("GRANT %s ON %s TO %s; exportops migrate --print-grants prints all that a role needs",
			strings.Join(lacks, ", "), s.sql(`{logs}`), pgx.Identifier{s.role}.Sanitize()))
}

// checkOurs says what the role may not do with our own tables.
func (s *Store) checkOurs(ctx context.Context, tx pgx.Tx) error {
	lacks, err := s.lacks(ctx, tx, `SELECT 'SELECT, INSERT, UPDATE or DELETE on ' || c.oid::regclass::text FROM pg_class c
		WHERE c.relnamespace = 'exportops'::regnamespace AND c.relkind = 'r' AND c.oid <> $1::text::regclass
			AND NOT (has_schema_privilege('exportops', 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
				AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
		ORDER BY 1`, versionsTable)
	if err != nil || len(lacks) == 0 {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: databaseURL,
		Message: fmt.Sprintf("role %s lacks %s", s.role, strings.Join(lacks, "; ")),
		Hint:    "grant them; exportops migrate --print-grants prints what a role needs",
	}
}

func (s *Store) lacks(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look at what role %s may do: %w", s.role, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look at what role %s may do: %w", s.role, err)
	}
	return list, nil
}
