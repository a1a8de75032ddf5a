package main

import (
	"os"

	"github.com/exportops/exportops/app"
)

type migrateCmd struct{}

// Run creates the database where it is missing, and the folder of the export
// files, and brings the schema up to date.
func (*migrateCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	name, before, after, err := app.Migrate(e.ctx, cfg)
	if err != nil {
		return err
	}
	answer := map[string]any{"database": name, "schema_before": before, "schema": after}
	return e.show(answer, func() {
		if before == after {
			e.stdout.printf("%s is up to date (schema %d)\n", name, after)
		} else {
			e.stdout.printf("%s: schema %d → %d\n", name, before, after)
		}
		if cfg.Storage.Root == "" {
			return
		}
		if _, err := os.Stat(cfg.Storage.Root); err != nil {
			e.stdout.printf("note: the storage folder %s is not there yet\n", cfg.Storage.Root)
		}
	})
}
