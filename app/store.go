package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/postgres"
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
		s, err := postgres.Open(ctx, postgresOptions(c))
		if err != nil {
			return database{}, err
		}
		return database{s, scheduler.Postgres(s.JobPool(), "exportops")}, nil
	}
	s, err := sqlite.Open(ctx, sqlite.Options{Path: c.DatabasePath, Table: c.LogsTable, Create: create, ConfigKeys: c.Policy.ConfigKeys()})
	if err != nil {
		return database{}, err
	}
	return database{s, scheduler.SQLite(s.Writer())}, nil
}

func postgresOptions(c config.Config) postgres.Options {
	return postgres.Options{
		URL: c.Postgres.URL.Reveal(), Table: c.LogsTable, PoolSize: c.Postgres.PoolSize,
		LockTimeout: c.Postgres.LockTimeout, StatementTimeout: c.Postgres.StatementTimeout,
		ConfigKeys: c.Policy.ConfigKeys(),
	}
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

// Migrated says what a migration did.
type Migrated struct {
	Database string   `json:"database"` // its name, without a password
	Before   int64    `json:"schema_before"`
	After    int64    `json:"schema"`
	Notes    []string `json:"notes,omitempty"` // what the operator should know
}

// Migrate creates a SQLite database where it is missing and brings the schema up
// to date. On Postgres it creates the table of export logs only where createLogs
// asks for it; on SQLite it always does.
func Migrate(ctx context.Context, c config.Config, createLogs bool) (m Migrated, err error) {
	d, err := openDatabase(ctx, c, true)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	m.Database = d.Name()
	if m.Before, _, err = d.SchemaVersion(ctx); err != nil {
		return m, err
	}
	if err = d.migrateAll(ctx); err != nil {
		return m, err
	}
	if pg, ok := d.Database.(*postgres.Store); ok && createLogs {
		if m.Notes, err = pg.CreateExportLogs(ctx); err != nil {
			return m, err
		}
	}
	// So that it is in every backup: receipts of erasures name a user by its hash
	// alone, and are compared by it with what a backup brings back.
	if _, err = d.UserHash(ctx, exportops.Erased); err != nil {
		return m, err
	}
	m.After, _, err = d.SchemaVersion(ctx)
	if ready := d.Ready(ctx); err == nil && ready != nil {
		m.Notes = append(m.Notes, ready.Error())
	}
	return m, err
}

// Grants returns the statements that make two roles with the least they need: one
// that migrates, and one that runs. It is KindInvalid for SQLite, which has no
// roles.
func Grants(ctx context.Context, c config.Config, migrator, runner string) (sql string, err error) {
	if c.Postgres.URL == "" {
		return "", exportops.Invalid("DATABASE_URL", "SQLite has no roles to grant anything to")
	}
	s, err := postgres.Open(ctx, postgresOptions(c))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Grants(ctx, migrator, runner)
}
