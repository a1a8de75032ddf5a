// Package postgres keeps everything in one Postgres database: the application's
// export_logs where it is, and our own tables in the schema exportops. Any
// number of replicas may use it at once, directly or through a transaction
// pooler: nothing is kept in a session.
package postgres

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/exportops/exportops"
)

// DefaultTable is the table that holds the export logs.
const DefaultTable = "public.export_logs"

// Options says which database to open and how.
type Options struct {
	URL              string // postgres://…
	Table            string // that holds the export logs, schema.table; "" means DefaultTable
	PoolSize         int    // connections; 0 means ten
	LockTimeout      time.Duration
	StatementTimeout time.Duration
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	pool     *pgxpool.Pool
	table    string // as configured
	view     bool   // it is a view
	settings string // what each transaction begins with

	downloads bool // the table has a downloaded_count: older installs lack it

	name, database, role string // for people
	stage                *stage // in a rehearsal, else nil

	replacer *strings.Replacer
}

var _ exportops.Database = (*Store)(nil)

// What a connection may take, and the least connections: who migrates waits on
// one and works on another.
const (
	connectTimeout = 10 * time.Second
	poolLeast      = 2
	poolUsual      = 10
)

// Open opens the database. It is KindInvalid for a URL that cannot be read, and
// KindUnavailable for a server that cannot be used. Call Migrate or Ready before
// anything else.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if !strings.Contains(o.Table, ".") {
		o.Table = "public." + o.Table
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil { // which repeats the URL, and the password with it
		return nil, exportops.Invalid(databaseURL, "it cannot be read as a postgres:// URL")
	}
	c := cfg.ConnConfig
	// What is prepared would be missing on the next connection that a pooler gives.
	c.DefaultQueryExecMode, c.StatementCacheCapacity, c.DescriptionCacheCapacity = pgx.QueryExecModeExec, 0, 0
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "exportops"
	}
	cfg.MaxConns = poolUsual
	if o.PoolSize > 0 {
		cfg.MaxConns = int32(max(o.PoolSize, poolLeast))
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 5 * time.Second
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = time.Minute
	}
	s := &Store{
		table: o.Table, settings: settings(o.LockTimeout, o.StatementTimeout), database: c.Database, role: c.User,
		name: fmt.Sprintf("postgres://%s@%s/%s", c.User, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database),
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, s.explain(fmt.Errorf("open %s: %w", s.name, err))
	}
	if err := s.learnTable(ctx); err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// Name implements exportops.Database.
func (s *Store) Name() string { return s.name }

// learnTable finds out what the table at hand is.
func (s *Store) learnTable(ctx context.Context) error {
	name := pgx.Identifier(strings.Split(s.table, ".")).Sanitize()
	s.replacer = strings.NewReplacer("{logs}", name) // until it is known
	err := s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(bool_or(c.relkind = 'v'), false), coalesce(bool_or(a.attnum IS NOT NULL), false)
			FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'downloaded_count' AND NOT a.attisdropped
			WHERE c.oid = to_regclass($1)`, name).Scan(&s.view, &s.downloads)
	})
	downloaded := "0"
	if s.downloads {
		downloaded = "coalesce(e.downloaded_count, 0)"
	}
	s.replacer = strings.NewReplacer("{logs}", name, "{downloaded}", downloaded)
	return err
}

// Close closes the database. No operation may be under way.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// sql puts the names that depend on the installation into a query: {logs} is
// the table of the export logs, {downloaded} its downloaded_count or, in older
// installs, 0.
func (s *Store) sql(query string) string { return s.replacer.Replace(query) }

// pageSize applies the default and the bound of a list's page.
func pageSize(limit int) int {
	if limit <= 0 {
		return exportops.DefaultPage
	}
	return min(limit, exportops.MaxPage)
}
