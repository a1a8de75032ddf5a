package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/exportops/exportops"
)

//go:embed migrations/*.sql
var migrations embed.FS

// versionsTable is where goose keeps which migrations were applied.
const versionsTable = "exportops.schema_versions"

// Migrate brings our tables to this version's schema. It never touches the
// application's table: see CreateExportLogs. Of processes that migrate at once,
// one does and the others wait, on a lock that its transaction holds: behind a
// transaction pooler, a lock of the session would outlive the process.
func (s *Store) Migrate(ctx context.Context) error {
	return s.alone(ctx, func(tx pgx.Tx) error {
		exists := false
		err := tx.QueryRow(ctx, `SELECT to_regnamespace('exportops') IS NOT NULL`).Scan(&exists)
		if err != nil {
			return fmt.Errorf("look for our schema: %w", err)
		}
		// What follows is done on other connections, so it is committed by itself.
		db := s.JobPool()
		defer func() { _ = db.Close() }()
		if !exists {
			if _, err := db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS exportops`); err != nil {
				return fmt.Errorf("create our schema: %w", err)
			}
		}
		p, err := provider(db)
		if err != nil {
			return err
		}
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		return nil
	})
}

// alone runs fn while no other process migrates.
func (s *Store) alone(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		// Who is before us takes as long as it takes.
		_, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true),
			set_config('idle_in_transaction_session_timeout', '0', true)`)
		if err == nil {
			_, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockSchema)
		}
		if err != nil {
			return fmt.Errorf("wait for others that migrate: %w", err)
		}
		return fn(tx)
	})
}

func provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	versions, err := database.NewStore(goose.DialectPostgres, versionsTable)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider("", db, files, goose.WithStore(versions), goose.WithDisableGlobalRegistry(true))
}

// JobPool returns a pool for a job engine, which wants one of the standard
// library. It takes its connections from the store's, and is closed before it.
func (s *Store) JobPool() *sql.DB { return stdlib.OpenDBFromPool(s.pool) }

// SchemaVersion implements exportops.Database.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	db := s.JobPool()
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := provider(db)
	if err != nil {
		return 0, 0, err
	}
	for _, src := range p.ListSources() {
		want = max(want, src.Version)
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		exists := false
		err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, versionsTable).Scan(&exists)
		if err == nil && exists {
			err = tx.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+versionsTable+` WHERE is_applied`).Scan(&have)
		}
		if err != nil {
			return fmt.Errorf("read the schema's version: %w", err)
		}
		return nil
	})
	return have, want, err
}

// checkVersion takes the schema of this version, and of the one after it: while
// replicas are replaced one by one, the new ones have migrated already.
func (s *Store) checkVersion(ctx context.Context) error {
	have, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case have < want:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: databaseURL,
			Message: fmt.Sprintf("the database %s has schema version %d, and this program needs %d", s.name, have, want),
			Hint:    "bring it up to date with: exportops migrate",
		}
	case have > want+1:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: databaseURL,
			Message: fmt.Sprintf("the database %s has schema version %d, and this program knows %d and the next alone", s.name, have, want),
			Hint:    "run a newer version of exportops",
		}
	}
	return nil
}
