package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Ready implements exportops.Database. A schema one version ahead is fine, so
// that replicas can be replaced one after the other.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.supported(ctx); err != nil {
		return err
	}
	have, want, err := s.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if err := s.checkVersion(have, want); err != nil {
		return err
	}
	var t tableFacts
	err = s.reading(ctx, func(tx pgx.Tx) error {
		if t, err = s.tableFacts(ctx, tx); err != nil || t.kind == "" {
			return err
		}
		return s.checkRights(ctx, tx, t.oid)
	})
	if err != nil {
		return err
	}
	if err := s.checkTable(t); err != nil {
		return err
	}
	if err := s.checkRows(ctx); err != nil {
		return err
	}
	return s.learnTable(ctx)
}

func (s *Store) checkVersion(have, want int64) error {
	switch {
	case have < want:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("the database %s has schema version %d, and this program needs %d", s.Name(), have, want),
			Hint:    "bring it up to date with: exportops migrate",
		}
	case have > want+1:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("the database %s has schema version %d, and this program knows those up to %d", s.Name(), have, want+1),
			Hint:    "run a newer version of exportops",
		}
	}
	return nil
}

// tableFacts is what the table of export logs is.
type tableFacts struct {
	oid     uint32
	kind    string            // as in pg_class.relkind; "" for no table
	columns map[string]string // their types, domains as what they are made of
	fixed   bool              // it is a view that passes no changes on
}

// kinds are the types that a column may have.
var (
	uuids  = []string{"uuid"}
	times  = []string{"timestamptz"}
	texts  = []string{"text", "varchar"}
	counts = []string{"int2", "int4", "int8"}
)

// contract lists the columns, in the order of the contract.
var contract = []struct {
	name  string
	types []string
}{
	{"id", uuids},
	{"export_id", uuids},
	{"user_id", uuids},
	{"timestamp", times},
	{"format", texts},
	{"config", []string{"jsonb", "json"}},
	{"conversation_count", counts},
	{"file_size", counts},
	{"status", texts},
	{"file_url", texts},
	{"expires_at", times},
	{"error_message", texts},
	{"created_at", times},
	{"updated_at", times},
}

func (s *Store) tableFacts(ctx context.Context, tx pgx.Tx) (t tableFacts, err error) {
	const changes = 1<<3 | 1<<2 | 1<<4 // INSERT, UPDATE and DELETE, of pg_relation_is_updatable
	rows, err := tx.Query(ctx, `
		SELECT c.oid, c.relkind::text, a.attname, coalesce(b.typname, t.typname),
			c.relkind = 'v' AND (pg_relation_is_updatable(c.oid, false) & $3::integer <> $3::integer
				OR a.attname = 'status' AND NOT pg_column_is_updatable(c.oid, a.attnum, false))
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd'
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'f', 'm')`, s.place[0], s.place[1], changes)
	if err != nil {
		return t, fmt.Errorf("look at table %s: %w", s.table, err)
	}
	t.columns = map[string]string{}
	var column, kind string
	var fixed bool
	_, err = pgx.ForEachRow(rows, []any{&t.oid, &t.kind, &column, &kind, &fixed}, func() error {
		t.columns[column], t.fixed = kind, t.fixed || fixed
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("look at table %s: %w", s.table, err)
	}
	return t, nil
}

func (s *Store) checkTable(t tableFacts) error {
	unusable := func(hint, message string, args ...any) error {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE", Message: fmt.Sprintf(message, args...), Hint: hint,
		}
	}
	if t.kind == "" {
		return unusable("name the table that holds the export logs in EXPORT_LOGS_TABLE, or create one with: exportops migrate --create-export-logs",
			"there is no table %s in the database %s", s.table, s.Name())
	}
	var missing, wrong []string
	for _, c := range contract {
		switch have := t.columns[c.name]; {
		case have == "":
			missing = append(missing, c.name)
		case !slices.Contains(c.types, have):
			wrong = append(wrong, fmt.Sprintf("%s is %s instead of %s", c.name, have, c.types[0]))
		}
	}
	if have := t.columns["downloaded_count"]; have != "" && !slices.Contains(counts, have) {
		wrong = append(wrong, fmt.Sprintf("downloaded_count is %s instead of int4", have))
	}
	const hint = "name a table, or a view over a single table, that has these columns in EXPORT_LOGS_TABLE"
	var faults []string
	if len(missing) > 0 {
		faults = append(faults, "lacks "+strings.Join(missing, ", "))
	}
	if len(wrong) > 0 {
		faults = append(faults, "does not fit: "+strings.Join(wrong, ", "))
	}
	switch {
	case len(faults) > 0:
		return unusable(hint, "table %s %s", s.table, strings.Join(faults, " and "))
	case t.kind == "m" || t.kind == "f":
		return unusable(hint, "%s is a materialized view or a foreign table, whose rows cannot be locked", s.table)
	case t.fixed:
		return unusable("make it a view over a single table, without aggregates, DISTINCT, LIMIT or set operations",
			"the view %s passes no changes on to its table", s.table)
	}
	return nil
}

// checkRights says which privileges the role lacks on the export logs and on our
// tables.
func (s *Store) checkRights(ctx context.Context, tx pgx.Tx, logs uint32) error {
	rows, err := tx.Query(ctx, `
		SELECT 'USAGE on schema ' || n.nspname FROM pg_namespace n
		WHERE n.nspname IN ('exportops', $2) AND NOT has_schema_privilege(n.oid, 'USAGE')
		UNION ALL
		SELECT string_agg(p.privilege, ', ' ORDER BY p.place) || ' on ' || n.nspname || '.' || c.relname
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE')) p (place, privilege)
		WHERE (c.oid = $1::oid OR n.nspname = 'exportops' AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_version')
			AND NOT CASE WHEN p.place IN (2, 3) THEN has_any_column_privilege(c.oid, p.privilege)
				ELSE has_table_privilege(c.oid, p.privilege) END
		GROUP BY n.nspname, c.relname`, logs, s.place[0])
	if err != nil {
		return fmt.Errorf("look at privileges: %w", err)
	}
	lacking, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look at privileges: %w", err)
	}
	if len(lacking) == 0 {
		return nil
	}
	slices.Sort(lacking)
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
		Message: fmt.Sprintf("the role %q lacks %s", s.role(), strings.Join(lacking, "; ")),
		Hint:    "exportops migrate --print-grants shows what it needs",
	}
}

// checkRows looks at the rows as every statement does, and finds none: where row
// level security applies to us, or to the owner of a view, that is an error.
func (s *Store) checkRows(ctx context.Context) error {
	return s.reading(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, s.sql(`SELECT 1 FROM {logs} e LIMIT 0`))
		return err
	})
}
