package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/exportops/exportops"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed export_logs.sql
var exportLogsDDL string

// Migrate brings our tables to this version's schema, and creates export_logs
// where there is none. It never alters a table that exists. It may run in
// several processes at once.
func (s *Store) Migrate(ctx context.Context) error {
	p, err := s.migrations()
	if err != nil {
		return err
	}
	// Each step and its version are one transaction, but what is to be done is
	// read before them. Where another process took a step meanwhile, ours fails
	// and leaves nothing; what is left is read again.
	for range len(p.ListSources()) + 5 {
		if _, err = p.Up(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return s.explain(fmt.Errorf("migrate: %w", err))
	}
	if s.table == DefaultTable {
		if err := s.createLogs(ctx); err != nil {
			return err
		}
	}
	return s.learnTable(ctx)
}

// createLogs looks and creates under the write lock, so that two processes do
// not both create.
func (s *Store) createLogs(ctx context.Context) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		var n int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = ?`, DefaultTable).Scan(&n)
		if err != nil || n > 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, exportLogsDDL); err != nil {
			return fmt.Errorf("create %s: %w", DefaultTable, err)
		}
		return nil
	})
}

func (s *Store) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	versions, err := database.NewStore(goose.DialectSQLite3, "exportops_schema")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider("", s.write, files, goose.WithStore(versions), goose.WithDisableGlobalRegistry(true))
}

// SchemaVersion implements exportops.Database.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	p, err := s.migrations()
	if err != nil {
		return 0, 0, err
	}
	for _, src := range p.ListSources() {
		want = max(want, src.Version)
	}
	var n int
	if err := s.read.QueryRowContext(ctx,
		`SELECT count(*) FROM sqlite_schema WHERE name = 'exportops_schema'`).Scan(&n); err != nil || n == 0 {
		return 0, want, err
	}
	err = s.read.QueryRowContext(ctx, `SELECT max(version_id) FROM exportops_schema WHERE is_applied`).Scan(&have)
	return have, want, err
}

// Ready implements exportops.Database.
func (s *Store) Ready(ctx context.Context) error {
	have, want, err := s.SchemaVersion(ctx)
	if err != nil {
		return s.explain(err)
	}
	if have < want {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("the database %s has schema version %d, and this program needs %d", s.path, have, want),
			Hint:    "bring it up to date with: exportops migrate",
		}
	}
	columns, err := s.columns(ctx)
	if err != nil {
		return s.explain(err)
	}
	if len(columns) == 0 {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE",
			Message: fmt.Sprintf("there is no table %s in %s", s.table, s.path),
			Hint:    "create it, or name the table that holds the export logs in EXPORT_LOGS_TABLE",
		}
	}
	var missing []string
	for _, c := range strings.Fields(requiredColumns) {
		if !columns[c] {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE",
			Message: fmt.Sprintf("table %s lacks %s", s.table, strings.Join(missing, ", ")),
			Hint:    "name a table, or a view, that has these columns in EXPORT_LOGS_TABLE",
		}
	}
	return nil
}

const requiredColumns = `id export_id user_id timestamp format config conversation_count file_size status
	file_url expires_at error_message created_at updated_at`

func (s *Store) columns(ctx context.Context) (map[string]bool, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name FROM pragma_table_info(?)`, s.table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := map[string]bool{}
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		names[n] = true
	}
	return names, rows.Err()
}

// learnTable finds out what the table at hand offers: older installs have no
// downloaded_count, and a view has no rowid to break ties by.
func (s *Store) learnTable(ctx context.Context) error {
	columns, err := s.columns(ctx)
	if err != nil {
		return s.explain(err)
	}
	downloaded, downloads, row := "0", "NULL", "rowid"
	if columns["downloaded_count"] {
		downloaded, downloads = "coalesce(downloaded_count, 0)", "e.downloaded_count"
	}
	var kind string
	err = s.read.QueryRowContext(ctx, `SELECT type FROM sqlite_schema WHERE name = ?`, s.table).Scan(&kind)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s.explain(err)
	}
	if kind == "view" {
		row = "id"
	}
	s.replacer = strings.NewReplacer("{logs}", `"`+s.table+`"`, "{downloaded}", downloaded, "{downloads}", downloads, "{row}", row,
		"{config}", s.config())
	return nil
}
