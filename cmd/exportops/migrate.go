package main

import (
	"fmt"
	"os"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type migrateCmd struct {
	CreateExportLogs bool   `name:"create-export-logs" help:"on Postgres, create the table of export logs where it is missing; one that is there is never altered"`
	PrintGrants      bool   `name:"print-grants" help:"on Postgres, print the statements that make two roles with the least they need, and change nothing"`
	Migrator         string `name:"migrator" default:"exportops_migrator" placeholder:"ROLE" help:"role that migrates, for --print-grants (${default})"`
	Runner           string `name:"runner" default:"exportops_runner" placeholder:"ROLE" help:"role that serves and runs jobs, for --print-grants (${default})"`
}

// Run creates the database where it is missing, and brings the schema up to
// date.
func (m *migrateCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if m.PrintGrants {
		if m.CreateExportLogs {
			return &usageError{exportops.Invalid("print-grants", "it changes nothing, and so goes without --create-export-logs")}
		}
		sql, err := app.Grants(e.ctx, cfg, m.Migrator, m.Runner)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(e.stdout, sql)
		return err
	}
	done, err := app.Migrate(e.ctx, cfg, m.CreateExportLogs)
	if err != nil {
		return err
	}
	if cfg.Storage.Root != "" {
		if _, err := os.Stat(cfg.Storage.Root); err != nil {
			done.Notes = append(done.Notes, fmt.Sprintf("the storage folder %s is not there yet", cfg.Storage.Root))
		}
	}
	return e.show(done, func() {
		if done.Before == done.After {
			e.stdout.printf("%s is up to date (schema %d)\n", done.Database, done.After)
		} else {
			e.stdout.printf("%s: schema %d → %d\n", done.Database, done.Before, done.After)
		}
		for _, n := range done.Notes {
			e.stdout.printf("note: %s\n", n)
		}
	})
}
