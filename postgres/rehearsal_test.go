package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func begin(ctx context.Context, s exportops.Store, job exportops.Job) error {
	_, _, how, err := s.BeginRun(ctx, exportops.RunRequest{
		Job: job, Lane: string(job), Params: []byte(`{}`), Trigger: exportops.ByCommand, Holder: "test",
		Now: at("2026-01-01T00:00:00Z"), Lease: time.Minute,
	})
	if err == nil && how != exportops.Started {
		return errors.New("it was " + string(how))
	}
	return err
}

func runsIn(t *testing.T, s exportops.Store) int {
	t.Helper()
	page, _, err := s.Runs(t.Context(), exportops.RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(page)
}

func TestRehearsal(t *testing.T) {
	s := openStore(t, newDatabase(t))
	errAct := errors.New("the second act is missing")

	t.Run("sees_what_it_does_and_leaves_nothing", func(t *testing.T) {
		err := s.Rehearse(t.Context(), func(play exportops.Store) error {
			if err := begin(t.Context(), play, exportops.LogCleanup); err != nil {
				return err
			}
			if n := runsIn(t, play); n != 1 {
				t.Errorf("inside there are %d runs, want 1", n)
			}
			if n := runsIn(t, s); n != 0 {
				t.Errorf("others see %d runs meanwhile, want none", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := runsIn(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want none", n)
		}
	})
	t.Run("keeps_what_came_before_a_failure_inside_it", func(t *testing.T) {
		err := s.Rehearse(t.Context(), func(play exportops.Store) error {
			if err := begin(t.Context(), play, exportops.FileCleanup); err != nil {
				return err
			}
			fence := exportops.Fence{RunID: exportops.NewID(), Token: 1}
			if err := play.Renew(t.Context(), exportops.Checkpoint{Fence: fence}); !errors.Is(err, exportops.ErrFenced) {
				t.Errorf("got %v, want it fenced", err)
			}
			bad := metricOf(exportops.NewID(), exportops.Completed, -1) // which the database refuses
			if _, err := play.RecordMetrics(t.Context(), []exportops.Metric{bad}); err == nil {
				t.Error("an impossible attempt was taken")
			}
			if n := runsIn(t, play); n != 1 {
				t.Errorf("there are %d runs, want 1", n)
			}
			return errAct
		})
		if !errors.Is(err, errAct) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("answers_while_a_stream_is_read", func(t *testing.T) {
		err := s.Rehearse(t.Context(), func(play exportops.Store) error {
			m := metricOf(exportops.NewID(), exportops.Completed, 1)
			if _, err := play.RecordMetrics(t.Context(), []exportops.Metric{m, metricOf(exportops.NewID(), exportops.Completed, 1)}); err != nil {
				return err
			}
			n := 0
			span := exportops.Span{From: m.Timestamp.Hour(), To: exportops.At(m.Timestamp.Add(time.Hour))}
			for _, err := range play.Outcomes(t.Context(), span) {
				if err != nil {
					return err
				}
				n++
				if n := runsIn(t, play); n != 0 {
					t.Errorf("there are %d runs", n)
				}
			}
			if n != 2 {
				t.Errorf("%d outcomes, want 2", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Run("rolls_back_when_its_context_ends", func(t *testing.T) {
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
		if n := runsIn(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want none", n)
		}
	})
	t.Run("rolls_back_when_it_panics", func(t *testing.T) {
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
		if n := runsIn(t, s); n != 0 {
			t.Errorf("afterwards there are %d runs, want none", n)
		}
		if err := begin(t.Context(), s, exportops.FileCleanup); err != nil {
			t.Errorf("the lane is not free afterwards: %v", err)
		}
	})
}
