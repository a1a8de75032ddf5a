package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What a bulk change does to the log must not be in its way.
func TestScrubEmptiesTheLogAfterABulkChange(t *testing.T) {
	s := migrated(t)
	for i := range 100 {
		if err := s.bulk(t.Context(), insert(t, i, 20_000)); err != nil {
			t.Fatal(err)
		}
		if err := s.Scrub(t.Context()); err != nil {
			t.Fatalf("after change %d: %v", i, err)
		}
	}
}

// Otherwise the log would grow for as long as a bulk change takes.
func TestTheLogBeginsAnewWhileOthersRecord(t *testing.T) {
	s := migrated(t)
	ctx, stop := context.WithCancel(t.Context())
	recorded := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := s.tx(t.Context(), insert(t, -n, 100)); err != nil {
				t.Error(err)
			}
		}
		recorded <- n
	}()
	for i := range 20 {
		s.copied = time.Time{} // as if the time had passed
		for n := range 5 {
			if err := s.bulk(t.Context(), insert(t, 5*i+n+1, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	if n := <-recorded; n < 20 {
		t.Errorf("%d changes beside", n)
	}
	// Each of the changes takes some 50 frames, of which there were 100.
	if frames := frames(t, s); frames > 2000 {
		t.Errorf("the log has grown to %d frames", frames)
	}
}

func TestABulkChangeWaitsForReadersToLeaveTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := migrated(t)
		for i := range 5 {
			if err := s.bulk(t.Context(), insert(t, i, 100_000)); err != nil {
				t.Fatal(err)
			}
		}
		reader, err := s.read.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reader.ExecContext(t.Context(), `BEGIN; SELECT count(*) FROM exportops_run_keys`); err != nil {
			t.Fatal(err)
		}
		// As if the time had passed, and the log had been synced.
		s.copied, s.beside = time.Time{}, make(chan error, 1)
		s.beside <- nil
		done := make(chan error, 2)
		for i := range 2 { // one waits for the other, and can be told not to
			go func() { done <- s.bulk(t.Context(), insert(t, 5+i, 1)) }()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Fatalf("it did not wait, %v", <-done)
		}
		if _, err := reader.ExecContext(t.Context(), `COMMIT`); err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Fatal(err)
		}
		if frames := frames(t, s); frames > 50 {
			t.Errorf("the log has %d frames, more than the last changes'", frames)
		}
	})
}

// frames returns how many the log has.
func frames(t *testing.T, s *Store) (n int) {
	t.Helper()
	var busy, done int
	if err := s.copier.QueryRowContext(t.Context(), `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &n, &done); err != nil {
		t.Fatal(err)
	}
	return n
}

// Otherwise one could wait for two others' transactions, or more.
func TestTheWriterIsGivenOutInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := migrated(t)
		release := make(chan struct{})
		var order []int
		for i := range 20 {
			go func() {
				err := s.onWriter(t.Context(), func(*sql.Conn) error {
					order = append(order, i)
					if i == 0 {
						<-release
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		close(release)
		synctest.Wait()
		if len(order) != 20 || !slices.IsSorted(order) {
			t.Errorf("in the order %v", order)
		}
	})
}

func migrated(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func insert(t *testing.T, i, size int) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO exportops_run_keys VALUES (?, hex(randomblob(?)), '')`, i, size)
		return err
	}
}

// Whatever becomes of a bulk change, what is acknowledged after it is synced.
func TestTheWriterSyncsAfterABulkChange(t *testing.T) {
	s := migrated(t)
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
