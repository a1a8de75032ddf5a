package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// withZone is timestamptz by the name that the server tells.
const withZone = "timestamp with time zone"

// besideColumns are those of a table beside the export logs. Texts of JSON stay as they
// were archived.
var besideColumns = []string{
	"id uuid", "export_id uuid", "user_id uuid", "timestamp " + withZone, "format text", "config json",
	"conversation_count bigint", "file_size bigint", "status text", "file_url text", "expires_at " + withZone,
	"error_message text", "created_at " + withZone, "updated_at " + withZone, "downloaded_count bigint",
	"metric json", "archived_in text",
}

// RestoreBeside implements exportops.BesideStore. Who erases a user turns the epoch, and
// waits for what is under way here; what comes later is in another epoch.
func (s *Store) RestoreBeside(ctx context.Context, table string, rows []exportops.FoundRow, epoch int64, now exportops.Time) (added []bool, err error) {
	if table, err = s.besideName(table); err != nil {
		return nil, err
	}
	list, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("restore log rows: %w", err)
	}
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockArchives); err != nil {
				return fmt.Errorf("restore log rows: %w", err)
			}
			if err := inEpoch(ctx, tx, epoch); err != nil {
				return err
			}
			if err := s.makeBeside(ctx, tx, table, now); err != nil || len(rows) == 0 {
				return err
			}
			ids, err := putBeside(ctx, tx, table, string(list))
			if err != nil {
				return fmt.Errorf("restore log rows into %s: %w", table, err)
			}
			added = make([]bool, len(rows))
			for i, r := range rows {
				at := slices.Index(ids, r.ID)
				if added[i] = at >= 0; added[i] {
					ids = slices.Delete(ids, at, at+1) // the same twice is new once
				}
			}
			return nil
		})
	})
	return added, err
}

// besideName is the name of a table with its schema, which is that of the export logs
// where it has none. Only such names are ever put into a statement.
func (s *Store) besideName(name string) (string, error) {
	if !strings.Contains(name, ".") {
		name = s.place[0] + "." + name
	}
	if name == s.table {
		return "", exportops.Invalid("table", "%s holds the export logs; --to-table puts rows back into it", s.table)
	}
	return name, exportops.CheckBeside(name)
}

// quoted is the name of a table as a statement has it.
func quoted(table string) string { return pgx.Identifier(strings.Split(table, ".")).Sanitize() }

// makeBeside makes a table where there is none. Row level security keeps it from
// everybody but its owner: there may be roles to which every new table is open.
func (s *Store) makeBeside(ctx context.Context, tx pgx.Tx, name string, now exportops.Time) error {
	there, err := besideTable(ctx, tx, name)
	if err != nil || there {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockSchema); err != nil {
		return fmt.Errorf("make the table %s: %w", name, err)
	}
	if there, err = besideTable(ctx, tx, name); err != nil || there { // somebody else was faster
		return err
	}
	if err := s.roomBeside(ctx, tx, name); err != nil {
		return err
	}
	if err := forgetBeside(ctx, tx); err != nil {
		return err
	}
	for _, ddl := range []string{
		`CREATE TABLE ` + quoted(name) + ` (` + strings.Join(besideColumns, ", ") + `, PRIMARY KEY (id))`,
		`ALTER TABLE ` + quoted(name) + ` ENABLE ROW LEVEL SECURITY`,
	} {
		if _, err := tx.Exec(ctx, ddl); err != nil {
			return fmt.Errorf("make the table %s: %w", name, err)
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO exportops.restored_tables (name, created_at) VALUES ($1, $2::timestamptz)`, name, now.String())
	if err != nil {
		return fmt.Errorf("register the table %s: %w", name, err)
	}
	return nil
}

// besideTable reports whether a table is there, and KindConflict where it was changed.
func besideTable(ctx context.Context, tx pgx.Tx, name string) (bool, error) {
	all, err := besideTables(ctx, tx)
	if err != nil {
		return false, err
	}
	for _, t := range all {
		if t.Name == name {
			return true, t.Usable()
		}
	}
	return false, nil
}

// roomBeside reports why a table cannot be made.
func (s *Store) roomBeside(ctx context.Context, tx pgx.Tx, name string) error {
	schema, table, _ := strings.Cut(name, ".")
	var there, may, taken bool
	err := tx.QueryRow(ctx, `SELECT count(*) > 0,
			coalesce(bool_and(has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE')), false),
			coalesce(bool_or(EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = $2)), false)
		FROM pg_namespace n WHERE n.nspname = $1`, schema, table).Scan(&there, &may, &taken)
	switch {
	case err != nil:
		return fmt.Errorf("look for %s: %w", name, err)
	case !there:
		return exportops.Invalid("table", "there is no schema %s in the database %s", schema, s.Name())
	case taken:
		return exportops.BesideTaken(name)
	case !may:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("the role %q may not make tables in the schema %s", s.role(), schema),
			Hint: fmt.Sprintf("name another schema in front, or let an administrator run: GRANT USAGE, CREATE ON SCHEMA %s TO %s",
				pgx.Identifier{schema}.Sanitize(), pgx.Identifier{s.role()}.Sanitize()),
		}
	}
	return nil
}

// forgetBeside forgets the tables that somebody dropped.
func forgetBeside(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `DELETE FROM exportops.restored_tables t WHERE NOT EXISTS (SELECT 1 FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
			AND n.nspname = split_part(t.name, '.', 1)::name AND c.relname = split_part(t.name, '.', 2)::name)`)
	if err != nil {
		return fmt.Errorf("forget tables that were dropped: %w", err)
	}
	return nil
}

// putBeside returns the ids of the rows that are new.
func putBeside(ctx context.Context, tx pgx.Tx, table, list string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		INSERT INTO `+quoted(table)+` AS r (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
			file_url, expires_at, error_message, created_at, updated_at, downloaded_count, metric, archived_in)
		SELECT n.id, n.export_id, n.user_id, n.timestamp, n.format, n.config::json, n.conversation_count, n.file_size, n.status,
			n.file_url, n.expires_at, n.error_message, n.created_at, n.updated_at, n.downloaded_count,
			CASE WHEN json_typeof(n.metric) = 'object' THEN n.metric END, n.archive
		FROM json_to_recordset($1::json) AS n (id uuid, export_id uuid, user_id uuid, timestamp timestamptz, format text, config text,
			conversation_count bigint, file_size bigint, status text, file_url text, expires_at timestamptz, error_message text,
			created_at timestamptz, updated_at timestamptz, downloaded_count bigint, metric json, archive text)
		ON CONFLICT (id) DO NOTHING RETURNING r.id::text`, list)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// BesideTables implements exportops.BesideStore.
func (s *Store) BesideTables(ctx context.Context) (all []exportops.BesideTable, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, err = besideTables(ctx, tx)
		return err
	})
	return all, err
}

func besideTables(ctx context.Context, tx pgx.Tx) (all []exportops.BesideTable, err error) {
	rows, err := tx.Query(ctx, `SELECT t.name, t.created_at, pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE'), ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
			FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
		FROM exportops.restored_tables t JOIN pg_namespace n ON n.nspname = split_part(t.name, '.', 1)::name
			JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' AND c.relname = split_part(t.name, '.', 2)::name
		ORDER BY t.name`)
	if err != nil {
		return nil, fmt.Errorf("look for restored tables: %w", err)
	}
	var name, owner string
	var ours bool
	var created time.Time
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&name, &created, &owner, &ours, &columns}, func() error {
		fault := exportops.BesideFault(besideColumns, columns)
		if !ours { // to whom row level security shows nothing, whatever was granted
			fault = fmt.Sprintf("it belongs to the role %q, which is not the one that is logged in", owner)
		}
		all = append(all, exportops.BesideTable{Name: name, CreatedAt: exportops.At(created), Fault: fault})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for restored tables: %w", err)
	}
	return all, nil
}

// DropBeside implements exportops.BesideStore. It waits for what is being restored.
func (s *Store) DropBeside(ctx context.Context, table string) error {
	if !strings.Contains(table, ".") {
		table = s.place[0] + "." + table
	}
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockArchives); err != nil {
			return fmt.Errorf("drop the table %s: %w", table, err)
		}
		there, err := besideTable(ctx, tx, table)
		if err != nil {
			return err
		}
		if !there {
			all, err := besideTables(ctx, tx)
			if err != nil {
				return err
			}
			return exportops.NoBeside(table, all)
		}
		if _, err := tx.Exec(ctx, `DROP TABLE `+quoted(table)); err != nil {
			return fmt.Errorf("drop the table %s: %w", table, err)
		}
		return forgetBeside(ctx, tx)
	})
}

// besideTraces are how rows of tables beside the export logs are found and erased.
func besideTraces(ctx context.Context, tx pgx.Tx) (all []trace, err error) {
	there, err := besideTables(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, t := range there {
		if err := t.Usable(); err != nil {
			return nil, err
		}
		all = append(all, trace{
			exportops.TraceBeside, t.Name,
			`SELECT r.id::text FROM ` + quoted(t.Name) + ` r WHERE r.user_id = $1::text::uuid
				AND ($2::text = '' OR r.id > nullif($2::text, '')::uuid) ORDER BY r.id LIMIT $3`, ``,
			`DELETE FROM ` + quoted(t.Name) + ` r WHERE r.user_id = $1::text::uuid AND r.id = ANY($2::text[]::uuid[])
				AND NOT (` + heldBy("r.export_id", "r.user_id") + `)`, nil,
		})
	}
	return all, nil
}
