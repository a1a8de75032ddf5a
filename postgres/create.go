package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed create_logs.sql
var createLogs string

//go:embed create_policies.sql
var createPolicies string

// CreateExportLogs creates the table of export logs, in one transaction, where
// there is none of that name, and returns notes on what an operator should know
// of it. What exists is left as it is. Where the schema auth of Supabase is
// there, users belong to it and see and change their own rows alone.
func (s *Store) CreateExportLogs(ctx context.Context) (notes []string, err error) {
	err = s.alone(ctx, func(tx pgx.Tx) error {
		notes = nil
		var exists, auth bool
		err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL,
			to_regclass('auth.users') IS NOT NULL AND to_regprocedure('auth.uid()') IS NOT NULL`, s.sql(`{logs}`)).Scan(&exists, &auth)
		if err != nil {
			return fmt.Errorf("look for %s: %w", s.table, err)
		}
		if exists {
			notes = append(notes, fmt.Sprintf("%s exists and was left as it is", s.table))
			return nil
		}
		statements, note := createLogs, fmt.Sprintf(
			"row level security of %s is off, because there is no schema auth to tell users apart: who may read the table reads every user's rows", s.table)
		if auth {
			statements += createPolicies
			note = fmt.Sprintf("row level security of %s is on: users see and change their own rows, and nobody whom it binds deletes any", s.table)
		}
		notes = append(notes, note)
		if _, err := tx.Exec(ctx, s.names().Replace(statements), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("create %s: %w", s.table, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return notes, s.learnTable(ctx)
}

// names are those of the table and of what belongs to it.
func (s *Store) names() *strings.Replacer {
	schema, table := s.parts()
	list := make([]string, 0, 4+2*len(logColumns))
	list = append(list, "{logs}", s.sql(`{logs}`), "{touch}", pgx.Identifier{schema, table + "_touch"}.Sanitize())
	for _, c := range logColumns {
		list = append(list, "{index_"+c.name+"}", pgx.Identifier{table + "_" + c.name}.Sanitize())
	}
	return strings.NewReplacer(list...)
}

// parts are the schema and the name of the table of export logs.
func (s *Store) parts() (schema, table string) {
	schema, table, _ = strings.Cut(s.table, ".")
	return schema, table
}
