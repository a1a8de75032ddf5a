// Package sqlite keeps everything in one SQLite file: the application's
// export_logs where it is, and our own tables under the prefix exportops_.
//
// One connection writes, because SQLite has one writer and a queue in front of
// it is faster and fairer than lock errors; several read beside it, through
// WAL. No storage call happens inside a transaction, and batches are sized so
// that none holds the write lock for long.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/exportops/exportops"
)

// DefaultTable is the table that holds the export logs.
const DefaultTable = "export_logs"

// Options says which database to open and how.
type Options struct {
	Path   string // of the file
	Table  string // that holds the export logs; "" means DefaultTable
	Create bool   // make the file where it is missing
	// ConfigKeys are the keys of exports' configs that candidates come with.
	ConfigKeys []string
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path   string
	table  string // as configured
	write  *sql.DB
	read   *sql.DB
	copier *sql.DB // makes the checkpoints of bulk changes; nil in a rehearsal

	turn *semaphore.Weighted // the writer's, of one

	copying *semaphore.Weighted // guards what follows; held while bulk changes wait for a checkpoint
	copied  time.Time           // the last one
	beside  chan error          // ends the sync of the log before the next; nil where none is under way
	idle    *time.Timer

	configKeys []string
	view       bool // the table of export logs is one
	replacer   *strings.Replacer
}

var _ exportops.Database = (*Store)(nil)

// useOFDLocks makes SQLite's locks survive an unrelated close of the file by
// the same process, such as a backup that reads it.
var useOFDLocks = sync.OnceValue(func() error {
	if runtime.GOOS != "linux" {
		return nil
	}
	_, err := sqlite.OFDLocking(true)
	return err
})

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Open opens the database. It is KindUnavailable when the file is missing and
// not to be created, or cannot be opened, and KindInvalid for a table name
// that is no plain identifier. Call Migrate or Ready before anything else.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if !identifier.MatchString(o.Table) || strings.HasPrefix(o.Table, "exportops_") {
		return nil, exportops.Invalid("EXPORT_LOGS_TABLE", "%q is not the name of a table in a SQLite database", o.Table)
	}
	if err := useOFDLocks(); err != nil {
		return nil, fmt.Errorf("switch to open file description locks: %w", err)
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("locate database %q: %w", o.Path, err)
	}
	if err := checkFile(path, o.Create); err != nil {
		return nil, err
	}
	s := &Store{
		path: path, table: o.Table, configKeys: o.ConfigKeys, turn: semaphore.NewWeighted(1), copying: semaphore.NewWeighted(1),
	}
	if s.write, err = open(ctx, path, "rwc", 1); err != nil {
		return nil, unavailable(path, err)
	}
	if s.read, err = open(ctx, path, "ro", 4); err != nil {
		return nil, errors.Join(unavailable(path, err), s.write.Close())
	}
	s.copier, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(5000)"}).String())
	if err != nil {
		return nil, errors.Join(unavailable(path, err), s.read.Close(), s.write.Close())
	}
	s.copier.SetMaxOpenConns(1)
	if err := s.learnTable(ctx); err != nil {
		return nil, errors.Join(err, s.Close()) //nolint:contextcheck // no context ends it
	}
	return s, nil
}

func checkFile(path string, create bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && !create:
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("there is no database at %s", path),
			Hint:    "create it with: exportops migrate",
		}
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return &exportops.Error{
				Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
				Message: fmt.Sprintf("there is no folder %s to create the database in", filepath.Dir(path)),
				Hint:    "create the folder, or name another file in DATABASE_URL",
			}
		}
		return nil
	case err != nil:
		return unavailable(path, err)
	case info.IsDir():
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
			Message: fmt.Sprintf("%s is a folder, not a database file", path),
			Hint:    "name a file, such as sqlite:///srv/exportops.db",
		}
	}
	return nil
}

// open opens a pool of at most n connections. What is acknowledged must be
// durable, so every commit is synced in full; secure_delete overwrites what a
// person asked us to forget.
func open(ctx context.Context, path, mode string, n int) (*sql.DB, error) {
	q := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(5000)", "cache_size(-1000)"}}
	if mode != "ro" {
		q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)",
			// Rows with random ids touch a page of every index each: twice the cache and
			// half the checkpoints delete a quarter more of them. Twice that again shows
			// in the memory, and in how long one checkpoint keeps ingest waiting. What one
			// transaction dirties may take more, 4000 pages: one that is written early and
			// then changes has the log's checksums computed again.
			"cache_size(-4000)", "cache_spill(4000)", fmt.Sprintf("wal_autocheckpoint(%d)", autoCheckpoint))
		q.Set("_txlock", "immediate")
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	if err := connect(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// connect makes the first connection. The switch of a new file to WAL needs the
// file for itself and does not wait for it, as everything later does, so it is
// tried again while other processes do the same.
func connect(ctx context.Context, db *sql.DB) error {
	const every, most = 20 * time.Millisecond, 5 * time.Second
	for tries := most / every; ; tries-- {
		err := db.PingContext(ctx)
		var e *sqlite.Error
		if tries == 0 || !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}

// Close closes the database. No operation may be under way.
func (s *Store) Close() error {
	var err error
	if s.copier != nil { // this is no rehearsal
		if err = s.copying.Acquire(context.Background(), 1); err == nil {
			if s.idle != nil {
				s.idle.Stop()
			}
			err = s.awaitSync()
			s.copying.Release(1)
		}
		err = errors.Join(err, s.copier.Close())
	}
	return errors.Join(err, s.read.Close(), s.write.Close())
}

// Path returns the absolute path of the database file.
func (s *Store) Path() string { return s.path }

// Name implements exportops.Database.
func (s *Store) Name() string { return s.path }

// LockFor implements exportops.DeletionStore. There is one writer, and everybody else
// waits: 100 ms are the most that a batch may keep them. What is left to that is for
// those that a disk is slow about.
func (s *Store) LockFor() time.Duration { return 60 * time.Millisecond }

// Writer returns the one connection that may write, for a job engine that
// shares it: a second writing pool would fail with lock errors. It waits for the
// connection beside those of us who wait for their turn.
func (s *Store) Writer() *sql.DB { return s.write }

// sql puts the names that depend on the installation into a query: {logs} is
// the table of the export logs, {downloaded} its downloaded_count or, in older
// installs, 0, {downloads} that of a row e, or null, and {row} what breaks ties
// between its rows.
func (s *Store) sql(query string) string { return s.replacer.Replace(query) }

// unavailable turns an error of the driver into one that names the database.
func unavailable(path string, err error) error {
	e := &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "DATABASE_URL",
		Message: fmt.Sprintf("the database %s cannot be used", path), Err: err,
		Hint: "check that the file and its folder can be read and written, and that the disk has room",
	}
	return e
}
