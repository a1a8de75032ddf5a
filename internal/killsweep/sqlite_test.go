//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
)

// folder is a store in a folder.
type folder string

func (f folder) put(key string, content []byte) error {
	name := filepath.Join(string(f), filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return err
	}
	dayAgo := time.Now().Add(-24 * time.Hour)
	return os.Chtimes(name, dayAgo, dayAgo)
}

func (f folder) remove(key string) error {
	return os.Remove(filepath.Join(string(f), filepath.FromSlash(key)))
}

// all leaves out what is no file to anybody: what a write had begun that was killed.
func (f folder) all() (map[string][]byte, error) {
	all := map[string][]byte{}
	err := filepath.WalkDir(string(f), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".exportops-") {
			return err
		}
		key, err := filepath.Rel(string(f), path)
		if err == nil {
			all[filepath.ToSlash(key)], err = os.ReadFile(path)
		}
		return err
	})
	return all, err
}

// onDisk is a database in a file, and folders, all below one.
type onDisk struct{ live, kept string }

func (d onDisk) fresh() error {
	if err := os.RemoveAll(d.live); err != nil {
		return err
	}
	for _, name := range []string{"exports", "cold"} {
		if err := os.MkdirAll(filepath.Join(d.live, name), 0o750); err != nil {
			return err
		}
	}
	return nil
}

func (d onDisk) keep() error  { return copyTree(d.live, d.kept) }
func (d onDisk) reset() error { return copyTree(d.kept, d.live) }

// copyTree makes to what from is.
func copyTree(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(name, 0o750)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(name, info.ModTime(), info.ModTime())
	})
}

func (onDisk) settled()                             {}
func (onDisk) quiet(context.Context, *sql.DB) error { return nil }

func (d onDisk) settings() []string {
	return []string{
		"DATABASE_URL=sqlite://" + filepath.Join(d.live, "exportops.db"),
		"EXPORT_STORAGE_URL=file://" + filepath.Join(d.live, "exports"),
	}
}

func (d onDisk) archiveURL() string { return "file://" + filepath.Join(d.live, "cold") }

func (d onDisk) connect() (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.live, "exportops.db")+"?_pragma=busy_timeout(5000)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (d onDisk) database(ctx context.Context) (exportops.Database, error) {
	return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(d.live, "exportops.db")})
}

func (onDisk) own(table string) string { return "exportops_" + table }

func (onDisk) tables() string {
	return `SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'exportops_%' OR name = 'export_logs')`
}

func (onDisk) marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func (d onDisk) mask(text string) string { return strings.ReplaceAll(text, d.live, "LIVE") }

// TestSQLiteWithDisk sweeps every job on an embedded database and a folder.
func TestSQLiteWithDisk(t *testing.T) {
	t.Parallel()
	// The store locks files as no other user of the library does in one process, and
	// so has to come first.
	first, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "first.db"), Create: true})
	must(t, err)
	must(t, first.Close())
	for _, j := range allJobs {
		t.Run(j.name, func(t *testing.T) {
			dir := t.TempDir()
			live := filepath.Join(dir, "live")
			sweep(t, []*world{{
				backend: onDisk{live, filepath.Join(dir, "kept")}, dir: live, now: time.Now().UTC(),
				exports: folder(filepath.Join(live, "exports")), cold: folder(filepath.Join(live, "cold")),
			}}, j)
		})
	}
}
