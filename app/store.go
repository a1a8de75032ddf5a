package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/scheduler"
	"github.com/exportops/exportops/sqlite"
)

// database is an open database, and what the job engine works with in it.
type database struct {
	exportops.Database
	engine scheduler.DB
}

// openDatabase opens the database that the settings name, and creates a SQLite
// file where it is told to.
func openDatabase(ctx context.Context, c config.Config, create bool) (database, error) {
	if c.Postgres.URL != "" {
		return database{}, exportops.Invalid("DATABASE_URL", "this version keeps everything in SQLite; Postgres is not in it yet")
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Path: c.DatabasePath, Table: c.LogsTable, Create: create})
	if err != nil {
		return database{}, err
	}
	return database{s, scheduler.SQLite(s.Writer())}, nil
}

// migrateAll brings our tables and the job engine's up to date.
func (d database) migrateAll(ctx context.Context) error {
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	return scheduler.Migrate(ctx, d.engine, slog.New(slog.DiscardHandler))
}

// OpenStore opens the database, which must be there and up to date. It is
// KindUnavailable otherwise, and the hint says what to do.
func OpenStore(ctx context.Context, c config.Config) (exportops.Database, error) {
	d, err := openReady(ctx, c, false, false)
	if err != nil {
		return nil, err
	}
	return d.Database, nil
}

// openReady migrates the database, and creates it, where it is told to.
func openReady(ctx context.Context, c config.Config, migrate, create bool) (database, error) {
	d, err := openDatabase(ctx, c, create)
	if err != nil {
		return d, err
	}
	if migrate {
		err = d.migrateAll(ctx)
	}
	if err == nil {
		err = d.Ready(ctx)
	}
	if err != nil {
		return database{}, errors.Join(err, d.Close())
	}
	return d, nil
}

// Migrate creates a SQLite database where it is missing and brings the schema up
// to date. It returns the schema's version before and after.
func Migrate(ctx context.Context, c config.Config) (name string, before, after int64, err error) {
	d, err := openDatabase(ctx, c, true)
	if err != nil {
		return "", 0, 0, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if before, _, err = d.SchemaVersion(ctx); err != nil {
		return d.Name(), 0, 0, err
	}
	if err = d.migrateAll(ctx); err != nil {
		return d.Name(), before, 0, err
	}
	after, _, err = d.SchemaVersion(ctx)
	return d.Name(), before, after, err
}
