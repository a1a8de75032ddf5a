package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/scheduler"
	"github.com/exportops/exportops/sqlite"
)

// OpenStore opens the database, which must be there and up to date. It is
// KindUnavailable otherwise, and the hint says what to do.
func OpenStore(ctx context.Context, c config.Config) (*sqlite.Store, error) {
	return openStore(ctx, c, false, false)
}

// openStore migrates the database, and creates it, where it is told to.
func openStore(ctx context.Context, c config.Config, migrate, create bool) (*sqlite.Store, error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: c.DatabasePath, Table: c.LogsTable, Create: create})
	if err != nil {
		return nil, err
	}
	if migrate {
		err = migrateAll(ctx, s)
	}
	if err == nil {
		err = s.Ready(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Migrate creates the database where it is missing and brings its schema up to
// date. It returns the schema's version before and after.
func Migrate(ctx context.Context, c config.Config) (before, after int64, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: c.DatabasePath, Table: c.LogsTable, Create: true})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if before, _, err = s.SchemaVersion(ctx); err != nil {
		return 0, 0, err
	}
	if err = migrateAll(ctx, s); err != nil {
		return before, 0, err
	}
	after, _, err = s.SchemaVersion(ctx)
	return before, after, err
}

// migrateAll brings our tables and the job engine's up to date.
func migrateAll(ctx context.Context, s *sqlite.Store) error {
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	return scheduler.Migrate(ctx, s.Writer(), slog.New(slog.DiscardHandler))
}
