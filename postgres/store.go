// Package postgres keeps everything in one Postgres database: the application's
// export_logs where it is, and our own tables in the schema exportops. Any
// number of replicas may use it at once, directly or through a transaction
// pooler: nothing is kept in a session.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/exportops/exportops"
)

// DefaultTable is the table that holds the export logs.
const DefaultTable = "public.export_logs"

// Options says which database to open and how.
type Options struct {
	URL              string        // postgres://…
	Table            string        // that holds the export logs, schema.table; "" means DefaultTable
	PoolSize         int           // connections; 0 means ten
	LockTimeout      time.Duration // how long a statement waits for a lock; 0 means five seconds
	StatementTimeout time.Duration // how long a statement may take; 0 means a minute
	ConfigKeys       []string      // of exports' configs that candidates come with
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	pool     *pgxpool.Pool
	jobs     *sql.DB // the same connections, for a job engine
	stage    *stage  // where everything happens in a rehearsal; nil otherwise
	opened   Options
	table    string         // as configured, with its schema
	place    pgx.Identifier // of the table
	replacer *strings.Replacer

	view      bool // the table is a view
	downloads bool // it has a downloaded_count
}

var _ exportops.Database = (*Store)(nil)

// Open opens the database. It is KindUnavailable when that cannot be reached or
// refuses us, and KindInvalid for a name of a table that is none. Call Migrate
// or Ready before anything else.
func Open(ctx context.Context, o Options) (*Store, error) { return open(ctx, o, nil) }

// open is Open; a tracer sees every statement.
func open(ctx context.Context, o Options, tracer pgx.QueryTracer) (*Store, error) {
	o = o.withDefaults()
	s := &Store{opened: o, table: o.Table}
	schema, name, ok := strings.Cut(o.Table, ".")
	if !ok || schema == "" || name == "" || strings.Contains(name, ".") || schema == "exportops" {
		return nil, exportops.Invalid("EXPORT_LOGS_TABLE", "%q is not the name of a table of yours, such as %s", o.Table, DefaultTable)
	}
	s.place = pgx.Identifier{schema, name}
	cfg, err := o.config()
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.Tracer = tracer
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open a pool of connections: %w", err)
	}
	s.jobs = stdlib.OpenDBFromPool(s.pool)
	s.learned(false, true, false)
	if err := s.learnTable(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if o.PoolSize <= 0 {
		o.PoolSize = 10
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = 5 * time.Second
	}
	if o.StatementTimeout <= 0 {
		o.StatementTimeout = time.Minute
	}
	return o
}

// config reads the URL. What is wrong with it is not repeated: it may hold a
// password.
func (o Options) config() (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, exportops.Invalid("DATABASE_URL",
			"it cannot be read; use postgres://user:password@host:5432/database, with special characters of the password as %%21 and so on")
	}
	// Behind a transaction pooler the next statement may meet another server
	// process, which knows nothing of what was prepared.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.MaxConns = int32(min(o.PoolSize, 1<<15))
	// The job engine reads times as text. Poolers keep these two of each client.
	cfg.ConnConfig.RuntimeParams["datestyle"] = "ISO"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "exportops"
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	return cfg, nil
}

// learnTable finds out what the table at hand is and offers: older installs have
// no downloaded_count.
func (s *Store) learnTable(ctx context.Context) error {
	var kind string
	var downloads, plain bool
	err := s.reading(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT c.relkind::text, c.relkind = 'r' AND NOT c.relhassubclass, EXISTS (SELECT 1 FROM pg_attribute a
				WHERE a.attrelid = c.oid AND a.attname = 'downloaded_count' AND NOT a.attisdropped)
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2`, s.place[0], s.place[1]).Scan(&kind, &plain, &downloads)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("look at table %s: %w", s.table, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.learned(kind == "v", plain, downloads)
	return nil
}

// learned notes what the table is. Which row it is, and which version of it, a
// plain table says by itself, and the server finds it without an index. Of a view,
// or a table in parts, that has no meaning: there the row's id and all that matters
// of it are compared.
func (s *Store) learned(view, plain, downloads bool) {
	count := "0"
	if downloads {
		count = "coalesce(e.downloaded_count, 0)"
	}
	config := "NULL"
	if len(s.opened.ConfigKeys) > 0 { // what no export of ours can have is not read
		config = fmt.Sprintf("CASE WHEN octet_length(e.config::text) <= %d THEN e.config::text END", exportops.MaxConfigBytes)
	}
	row, rowtype, version := "id", "uuid",
		"md5(ROW(e.export_id, e.user_id, e.status, e.file_url, e.expires_at, e.timestamp, e.format, e.file_size, "+config+")::text)"
	if plain {
		row, rowtype, version = "ctid", "tid", "e.xmin::text"
	}
	s.view, s.downloads = view, downloads
	s.replacer = strings.NewReplacer("{logs}", s.place.Sanitize(), "{downloaded}", count,
		"{row}", row, "{rowtype}", rowtype, "{version}", version, "{config}", config)
}

// Close closes the database. No operation may be under way.
func (s *Store) Close() error {
	err := s.jobs.Close()
	s.pool.Close()
	return err
}

// Name implements exportops.Database.
func (s *Store) Name() string { return nameOf(s.pool.Config().ConnConfig) }

// LockFor implements exportops.DeletionStore. Nobody waits for a batch but who wants one
// of its rows, records metrics or places a hold, and each batch has costs of its own of
// some 10 ms. No lock should be held for a second, and a batch can take several times what
// the one before it did.
func (s *Store) LockFor() time.Duration { return 150 * time.Millisecond }

func nameOf(c *pgx.ConnConfig) string {
	u := url.URL{Scheme: "postgres", Host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), Path: "/" + c.Database}
	if strings.HasPrefix(c.Host, "/") { // the folder of a socket
		u.Host, u.RawQuery = "", url.Values{"host": {c.Host}}.Encode()
	}
	return u.String()
}

// JobPool gives a job engine connections of the same pool. It is closed with the
// store.
func (s *Store) JobPool() *sql.DB { return s.jobs }

// role is who we log in as.
func (s *Store) role() string { return s.pool.Config().ConnConfig.User }

// sql puts the names that depend on the installation into a query: {logs} is
// the table of the export logs, {downloaded} its downloaded_count or, in older
// installs, 0, of a row e; for the others see learned.
func (s *Store) sql(query string) string { return s.replacer.Replace(query) }
