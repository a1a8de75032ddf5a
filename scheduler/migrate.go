package scheduler

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river/rivermigrate"
)

// migrateAttempts bounds how often the migration is begun again: once for each
// step that another process may take first.
const migrateAttempts = 20

// Migrate creates the tables of the job engine, or brings them up to date. It
// may run in several processes at once.
func Migrate(ctx context.Context, db DB, log *slog.Logger) error {
	m, err := rivermigrate.New(db.driver, &rivermigrate.Config{
		Schema: db.schema, Logger: newEngineLog(log.Handler()).logger(),
	})
	if err != nil {
		return fmt.Errorf("migrate the job engine: %w", err)
	}
	// Each step and its version are one transaction, but what is to be done is
	// read before them. Where another process took a step meanwhile, ours fails
	// and leaves nothing; what is left is read again.
	for range migrateAttempts {
		if _, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("migrate the job engine: %w", err)
	}
	return nil
}
