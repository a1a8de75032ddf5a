package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
)

func openForRehearsal(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "r.db"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(ctx context.Context, s exportops.Store, job exportops.Job) error {
	_, _, how, err := s.BeginRun(ctx, exportops.RunRequest{
		Job: job, Lane: string(job), Params: []byte(`{}`), Trigger: exportops.ByCommand, Holder: "test",
		Now: exportops.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), Lease: time.Minute,
	})
	if err == nil && how != exportops.Started {
		return errors.New("it was " + string(how))
	}
	return err
}

func runs(t *testing.T, s exportops.Store) int {
	t.Helper()
	page, _, err := s.Runs(t.Context(), exportops.RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(page)
}

func TestRehearsal(t *testing.T) {
	errAct := errors.New("the second act is missing")

	t.Run("sees what is there and what it does, and leaves nothing", func(t *testing.T) {
		s := openForRehearsal(t)
		if err := begin(t.Context(), s, exportops.FileCleanup); err != nil {
			t.Fatal(err)
		}
		err := s.Rehearse(t.Context(), func(play exportops.Store) error {
			if err := begin(t.Context(), play, exportops.LogCleanup); err != nil {
				return err
			}
			if n := runs(t, play); n != 2 {
				t.Errorf("inside there are %d runs, want 2", n)
			}
			if n := runs(t, s); n != 1 {
				t.Errorf("others see %d runs meanwhile, want 1", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := runs(t, s); n != 1 {
			t.Errorf("afterwards there are %d runs, want 1", n)
		}
		if err := begin(t.Context(), s, exportops.LogCleanup); err != nil {
			t.Errorf("the writer is not free afterwards: %v", err)
		}
	})

	t.Run("keeps what came before a transaction that failed inside it", func(t *testing.T) {
		s := openForRehearsal(t)
		err := s.Rehearse(t.Context(), func(play exportops.Store) error {
			if err := begin(t.Context(), play, exportops.FileCleanup); err != nil {
				return err
			}
			fence := exportops.Fence{RunID: exportops.NewID(), Token: 1}
			if err := play.Renew(t.Context(), exportops.Checkpoint{Fence: fence}); !errors.Is(err, exportops.ErrFenced) {
				t.Errorf("got %v, want it fenced", err)
			}
			if n := runs(t, play); n != 1 {
				t.Errorf("there are %d runs, want 1", n)
			}
			return errAct
		})
		if !errors.Is(err, errAct) {
			t.Errorf("got %v", err)
		}
		if n := runs(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want 0", n)
		}
	})

	t.Run("rolls back when its context ends", func(t *testing.T) {
		s := openForRehearsal(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Rehearse(ctx, func(play exportops.Store) error {
			if err := begin(ctx, play, exportops.FileCleanup); err != nil {
				return err
			}
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := runs(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want 0", n)
		}
		if err := begin(t.Context(), s, exportops.FileCleanup); err != nil {
			t.Errorf("the writer is not free afterwards: %v", err)
		}
	})

	t.Run("rolls back when it panics", func(t *testing.T) {
		s := openForRehearsal(t)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = s.Rehearse(t.Context(), func(play exportops.Store) error {
				if err := begin(t.Context(), play, exportops.FileCleanup); err != nil {
					return err
				}
				panic("a programmer's mistake")
			})
		}()
		if n := runs(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want 0", n)
		}
		if err := begin(t.Context(), s, exportops.FileCleanup); err != nil {
			t.Errorf("the writer is not free afterwards: %v", err)
		}
	})
}
