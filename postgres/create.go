package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed export_logs.sql
var exportLogsDDL string

//go:embed export_logs_auth.sql
var exportLogsAuthDDL string

// CreateExportLogs creates the table of export logs where there is none, and
// never touches one that is there. Where the database has Supabase's users, rows
// belong to them and row level security guards them. Notes say what an operator
// should know about what was done, or not.
func (s *Store) CreateExportLogs(ctx context.Context) (notes []string, err error) {
	err = s.changing(ctx, func(tx pgx.Tx) error {
		notes = nil
		var there, users bool
		err := tx.QueryRow(ctx, `SELECT
			EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2),
			EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'auth' AND c.relname = 'users')
				AND EXISTS (SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
					WHERE n.nspname = 'auth' AND p.proname = 'uid' AND p.pronargs = 0)`,
			s.place[0], s.place[1]).Scan(&there, &users)
		if err != nil {
			return fmt.Errorf("look for table %s: %w", s.table, err)
		}
		if there {
			notes = append(notes, fmt.Sprintf("%s is there already, and stays as it is", s.table))
			return nil
		}
		ddl := exportLogsDDL
		if users {
			ddl += exportLogsAuthDDL
			notes = append(notes, fmt.Sprintf("row level security is on for %s: users see the rows that are theirs, and a role of ours needs BYPASSRLS", s.table))
		} else {
			notes = append(notes, fmt.Sprintf("row level security is off for %s, because the database has no auth.users and auth.uid(): whoever has privileges on it sees all rows", s.table))
		}
		if _, err := tx.Exec(ctx, s.ddl(ddl), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("create %s: %w", s.table, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return notes, s.learnTable(ctx)
}

var ddlName = regexp.MustCompile(`\{name:(\w+)\}`)

// ddl puts the names into the table's DDL.
func (s *Store) ddl(text string) string {
	text = ddlName.ReplaceAllStringFunc(text, func(m string) string {
		return s.indexName(ddlName.FindStringSubmatch(m)[1])
	})
	touch := pgx.Identifier{s.place[0], s.place[1] + "_touch"}.Sanitize()
	return strings.NewReplacer("{logs}", s.place.Sanitize(), "{touch}", touch).Replace(text)
}

// indexName names what belongs to the table and one of its columns.
func (s *Store) indexName(column string) string {
	return pgx.Identifier{s.place[1] + "_" + column}.Sanitize()
}
