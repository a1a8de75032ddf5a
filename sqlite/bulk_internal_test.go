package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
)

// A bulk change leaves a checkpoint under way, beside which there can be no other.
func TestScrubWaitsForTheCheckpointOfABulkChange(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		err := s.bulk(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO exportops_run_keys VALUES (?, hex(randomblob(20000)), '')`, i)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Scrub(t.Context()); err != nil {
			t.Fatalf("after change %d: %v", i, err)
		}
	}
}

// Whatever becomes of a bulk change, what is acknowledged after it is synced.
func TestTheWriterSyncsAfterABulkChange(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	level := func() (n int) {
		t.Helper()
		if err := s.write.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const normal, full = 1, 2
	ended, end := context.WithCancel(t.Context())
	for name, change := range map[string]func(*sql.Tx) error{
		"done": func(tx *sql.Tx) error {
			var n int
			if err := tx.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&n); err != nil || n != normal {
				t.Errorf("level %d inside, %v", n, err)
			}
			return nil
		},
		"failed":      func(*sql.Tx) error { return errors.New("no") },
		"interrupted": func(*sql.Tx) error { end(); return ended.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if name == "interrupted" {
				ctx = ended
			}
			if err := s.bulk(ctx, change); (err == nil) != (name == "done") {
				t.Error(err)
			}
			if got := level(); got != full {
				t.Errorf("the writer is left at level %d, want %d", got, full)
			}
		})
	}
	s.endBulk()
	var pages int
	if err := s.write.QueryRowContext(t.Context(), `PRAGMA wal_autocheckpoint`).Scan(&pages); err != nil || pages != autoCheckpoint {
		t.Errorf("checkpoints come after %d pages, %v", pages, err)
	}
}
