package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/exportops/exportops"
)

// besideColumns are those of a table beside the export logs.
var besideColumns = []string{
	"id TEXT", "export_id TEXT", "user_id TEXT", "timestamp TEXT", "format TEXT", "config TEXT", "conversation_count INTEGER",
	"file_size INTEGER", "status TEXT", "file_url TEXT", "expires_at TEXT", "error_message TEXT", "created_at TEXT",
	"updated_at TEXT", "downloaded_count INTEGER", "metric TEXT", "archived_in TEXT",
}

// RestoreBeside implements exportops.BesideStore.
func (s *Store) RestoreBeside(ctx context.Context, table string, rows []exportops.FoundRow, epoch int64, now exportops.Time) ([]bool, error) {
	if err := s.checkBeside(table); err != nil {
		return nil, err
	}
	added := make([]bool, len(rows))
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if err := inEpoch(ctx, tx, epoch); err != nil {
			return err
		}
		if err := makeBeside(ctx, tx, table, now); err != nil {
			return err
		}
		for i := range rows {
			var err error
			if added[i], err = putBeside(ctx, tx, table, &rows[i]); err != nil {
				return fmt.Errorf("restore log row %q into %s: %w", rows[i].ID, table, err)
			}
		}
		return nil
	})
	return added, err
}

// checkBeside reports why a table cannot have a name. Only such names are ever put
// into a statement.
func (s *Store) checkBeside(name string) error {
	switch {
	case strings.Contains(name, "."):
		return exportops.Invalid("table", "%q names a schema, and a SQLite database has none", name)
	case strings.EqualFold(name, s.table):
		return exportops.Invalid("table", "%s holds the export logs; --to-table puts rows back into it", s.table)
	}
	return exportops.CheckBeside(name)
}

// makeBeside makes a table where there is none.
func makeBeside(ctx context.Context, tx *sql.Tx, name string, now exportops.Time) error {
	there, err := besideTables(ctx, tx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(there, func(t exportops.BesideTable) bool { return t.Name == name }); i >= 0 {
		return there[i].Usable()
	}
	var taken bool
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE)`, name).Scan(&taken)
	switch {
	case err != nil:
		return fmt.Errorf("look for %s: %w", name, err)
	case taken:
		return exportops.BesideTaken(name)
	}
	if err := forgetBeside(ctx, tx); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS "`+name+`" (`+strings.Join(besideColumns, ", ")+`, PRIMARY KEY (id))`)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO exportops_restored_tables (name, created_at) VALUES (?, ?)`, name, now.String())
	}
	if err != nil {
		return fmt.Errorf("make the table %s: %w", name, err)
	}
	return nil
}

// forgetBeside forgets the tables that somebody dropped.
func forgetBeside(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM exportops_restored_tables AS t WHERE NOT EXISTS (
		SELECT 1 FROM sqlite_schema s WHERE s.type = 'table' AND s.name = t.name COLLATE NOCASE)`)
	if err != nil {
		return fmt.Errorf("forget tables that were dropped: %w", err)
	}
	return nil
}

func putBeside(ctx context.Context, tx *sql.Tx, table string, r *exportops.FoundRow) (bool, error) {
	var metric []byte
	if r.Metric != nil {
		var err error
		if metric, err = json.Marshal(r.Metric); err != nil {
			return false, err
		}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO "`+table+`" (id, export_id, user_id, timestamp, format, config, conversation_count,
			file_size, status, file_url, expires_at, error_message, created_at, updated_at, downloaded_count, metric, archived_in)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		r.ID, r.ExportID, r.UserID, r.Timestamp, r.Format, r.Config, r.ConversationCount, r.FileSize, r.Status, r.FileURL,
		r.ExpiresAt, r.ErrorMessage, r.CreatedAt, r.UpdatedAt, r.DownloadedCount, nullJSON(metric), r.Archive)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// BesideTables implements exportops.BesideStore.
func (s *Store) BesideTables(ctx context.Context) ([]exportops.BesideTable, error) {
	all, err := besideTables(ctx, s.read)
	return all, s.explain(err)
}

func besideTables(ctx context.Context, q queryer) (all []exportops.BesideTable, err error) {
	rows, err := q.QueryContext(ctx, `SELECT t.name, t.created_at,
			coalesce((SELECT group_concat(c.name || ' ' || c.type, char(10)) FROM pragma_table_info(t.name) c), '')
		FROM exportops_restored_tables t
		WHERE EXISTS (SELECT 1 FROM sqlite_schema s WHERE +s.type = 'table' AND +s.name = t.name COLLATE NOCASE) ORDER BY t.name`)
	if err != nil {
		return nil, fmt.Errorf("look for restored tables: %w", err)
	}
	err = scanAll(rows, func() error {
		var t exportops.BesideTable
		var created, columns string
		err := rows.Scan(&t.Name, &created, &columns)
		if err == nil {
			t.CreatedAt, err = exportops.ParseTime(created)
		}
		t.Fault = exportops.BesideFault(besideColumns, strings.Split(columns, "\n"))
		all = append(all, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for restored tables: %w", err)
	}
	return all, nil
}

// DropBeside implements exportops.BesideStore.
func (s *Store) DropBeside(ctx context.Context, table string) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		there, err := besideTables(ctx, tx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(there, func(t exportops.BesideTable) bool { return t.Name == table })
		if i < 0 {
			return exportops.NoBeside(table, there)
		}
		if err := there[i].Usable(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DROP TABLE IF EXISTS "`+table+`"`); err != nil {
			return fmt.Errorf("drop the table %s: %w", table, err)
		}
		return forgetBeside(ctx, tx)
	})
}

// besideTraces are how rows of tables beside the export logs are found and erased. What
// an archive holds of a user is the rows with this id, in whichever case.
func besideTraces(ctx context.Context, q queryer) (all []trace, err error) {
	there, err := besideTables(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, t := range there {
		if err := t.Usable(); err != nil {
			return nil, err
		}
		all = append(all, trace{
			exportops.TraceBeside, t.Name,
			`SELECT r.rowid FROM "` + t.Name + `" r WHERE r.rowid > CAST(?2 AS INTEGER) AND lower(r.user_id) = ?1 ORDER BY r.rowid LIMIT ?3`,
			`DELETE FROM "` + t.Name + `" AS r WHERE lower(r.user_id) = ?1 AND r.rowid` + oneOfIDs + `
				AND NOT (` + heldBy("r.export_id", "r.user_id") + `)`, nil,
		})
	}
	return all, nil
}
