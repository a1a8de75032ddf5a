package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

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
	return s.checkView(ctx)
}

// checkView refuses a view without triggers for what is done to its rows. Only the
// compiler of statements says so.
func (s *Store) checkView(ctx context.Context) error {
	if !s.view {
		return nil
	}
	for _, change := range []string{
		`INSERT INTO {logs} (id) VALUES ('')`, `DELETE FROM {logs}`, `UPDATE {logs} SET status = ''`, `UPDATE {logs} SET expires_at = ''`,
	} {
		switch _, err := s.read.ExecContext(ctx, `EXPLAIN `+s.sql(change)); {
		case err != nil && strings.Contains(err.Error(), "it is a view"):
			return &exportops.Error{
				Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE", Err: err,
				Message: fmt.Sprintf("the view %s passes no changes on to its table", s.table),
				Hint:    "give it triggers INSTEAD OF INSERT, UPDATE and DELETE, or name a table",
			}
		case err != nil:
			return s.explain(fmt.Errorf("look at the view %s: %w", s.table, err))
		}
	}
	return nil
}

// unpassed says that the table, by a trigger perhaps, did not do what it was told.
func (s *Store) unpassed(what string) error {
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_LOGS_TABLE",
		Message: fmt.Sprintf("%s does not pass changes on: %s", s.table, what),
		Hint:    "name a table whose triggers keep no change from being made, or a view whose triggers make it, in EXPORT_LOGS_TABLE",
	}
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
	if s.view = kind == "view"; s.view {
		row = "id"
	}
	s.replacer = strings.NewReplacer("{logs}", `"`+s.table+`"`, "{downloaded}", downloaded, "{downloads}", downloads, "{row}", row,
		"{config}", s.config())
	return nil
}
