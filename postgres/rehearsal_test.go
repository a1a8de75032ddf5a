package postgres

import (
	"context"
	"errors"
	"testing"

	"github.com/exportops/exportops"
)

func TestRehearsal(t *testing.T) {
	errAct := errors.New("the second act is missing")
	begin := func(ctx context.Context, s *Store, job exportops.Job) error {
		_, _, how, err := s.BeginRun(ctx, runRequest(job))
		if err == nil && how != exportops.Started {
			err = errors.New("it was " + string(how))
		}
		return err
	}
	runs := func(t *testing.T, s *Store) int {
		t.Helper()
		page, _, err := s.Runs(context.WithoutCancel(t.Context()), exportops.RunFilter{})
		must(t, err)
		return len(page)
	}
	url := newDatabase(t)
	open := func(t *testing.T) *Store {
		t.Helper()
		run(t, url, `TRUNCATE exportops.runs`)
		return openStore(t, url)
	}
	free := func(t *testing.T, s *Store) {
		t.Helper()
		if n := runs(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want 0", n)
		}
		must(t, begin(t.Context(), s, exportops.FileCleanup))
	}

	t.Run("sees_what_is_there_and_what_it_does_and_leaves_nothing", func(t *testing.T) {
		s := open(t)
		must(t, begin(t.Context(), s, exportops.FileCleanup))
		must(t, s.rehearse(t.Context(), func(play *Store) error {
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
		}))
		if n := runs(t, s); n != 1 {
			t.Errorf("afterwards there are %d runs, want 1", n)
		}
		must(t, begin(t.Context(), s, exportops.LogCleanup))
	})
	t.Run("keeps_what_came_before_a_transaction_that_failed_inside_it", func(t *testing.T) {
		s := open(t)
		err := s.rehearse(t.Context(), func(play *Store) error {
			if err := begin(t.Context(), play, exportops.FileCleanup); err != nil {
				return err
			}
			fence := exportops.Fence{RunID: exportops.NewID(), Token: 1}
			if err := play.Renew(t.Context(), exportops.Checkpoint{Fence: fence}); !errors.Is(err, exportops.ErrFenced) {
				t.Errorf("got %v, want it fenced", err)
			}
			if _, err := play.Run(t.Context(), "'"); err == nil {
				t.Error("there is a run of no id")
			}
			if n := runs(t, play); n != 1 {
				t.Errorf("there are %d runs, want 1", n)
			}
			return errAct
		})
		if !errors.Is(err, errAct) {
			t.Errorf("got %v", err)
		}
		free(t, s)
	})
	t.Run("several_at_once_take_turns", func(t *testing.T) {
		s := open(t)
		must(t, s.rehearse(t.Context(), func(play *Store) error {
			errs := make(chan error)
			for range 8 {
				go func() {
					_, _, err := play.Runs(t.Context(), exportops.RunFilter{})
					errs <- err
				}()
			}
			for range 8 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			return nil
		}))
	})
	t.Run("rolls_back_when_its_context_ends", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := s.rehearse(ctx, func(play *Store) error {
			if err := begin(ctx, play, exportops.FileCleanup); err != nil {
				return err
			}
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		free(t, s)
	})
	t.Run("rolls_back_when_it_panics", func(t *testing.T) {
		s := open(t)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = s.rehearse(t.Context(), func(play *Store) error {
				must(t, begin(t.Context(), play, exportops.FileCleanup))
				panic("a programmer's mistake")
			})
		}()
		free(t, s)
	})
}
