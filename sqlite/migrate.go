package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"

	"github.com/exportops/exportops/internal/schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed export_logs.sql
var exportLogsDDL string

// The table of versions is goose's, so that its command can show and undo them.
const versionTable = `CREATE TABLE IF NOT EXISTS exportops_schema (
	id         INTEGER   PRIMARY KEY AUTOINCREMENT,
	version_id INTEGER   NOT NULL,
	is_applied INTEGER   NOT NULL,
	tstamp     TIMESTAMP DEFAULT (datetime('now'))
)`

// Migrate brings our tables to this version's schema, and creates export_logs
// where there is none. It never alters a table that exists. Everything happens
// in one transaction under the write lock: of several processes the first
// migrates, and the others find it done.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := schema.Read(migrations, "migrations")
	if err != nil {
		return err
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, versionTable); err != nil {
			return fmt.Errorf("create the table of versions: %w", err)
		}
		have, err := versionIn(ctx, tx)
		if err != nil {
			return err
		}
		for _, m := range steps {
			if m.Version <= have {
				continue
			}
			if _, err := tx.ExecContext(ctx, m.Up); err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO exportops_schema (version_id, is_applied) VALUES (?, 1)`, m.Version)
			if err != nil {
				return fmt.Errorf("record %s: %w", m.Name, err)
			}
		}
		if s.table != DefaultTable {
			return nil
		}
		return createLogs(ctx, tx)
	})
	if err != nil {
		return err
	}
	return s.learnTable(ctx)
}

func createLogs(ctx context.Context, tx *sql.Tx) error {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = ?`, DefaultTable).Scan(&n)
	if err != nil || n > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, exportLogsDDL); err != nil {
		return fmt.Errorf("create %s: %w", DefaultTable, err)
	}
	return nil
}

// versionIn returns the schema's version, 0 where nothing was applied.
func versionIn(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (have int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM exportops_schema WHERE is_applied`).Scan(&have)
	if err != nil {
		return 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return have, nil
}

// SchemaVersion implements exportops.Database.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	steps, err := schema.Read(migrations, "migrations")
	if err != nil {
		return 0, 0, err
	}
	want = schema.Newest(steps)
	var n int
	if err := s.read.QueryRowContext(ctx,
		`SELECT count(*) FROM sqlite_schema WHERE name = 'exportops_schema'`).Scan(&n); err != nil || n == 0 {
		return 0, want, err
	}
	have, err = versionIn(ctx, s.read)
	return have, want, err
}
