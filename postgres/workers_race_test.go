package postgres

import (
	"errors"
	"testing"

	"github.com/exportops/exportops"
)

func TestWorkersOfOneRun(t *testing.T) {
	t.Run("who_ends_the_run_waits_for_a_worker_in_a_batch", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		holder := w.begin(w.a, exportops.FileCleanup, noon)
		fence, err := w.b.JoinRun(t.Context(), holder.RunID, "w", noon, exportops.LeaseLength)
		must(t, err)
		worker := exportops.Checkpoint{Fence: fence, Now: noon, Lease: exportops.LeaseLength}
		ended := make(chan error, 1)
		page := w.claim(w.b, worker, claimAllOf(func() {
			go func() {
				_, err := w.a.FinishRun(t.Context(), holder, exportops.RunDone, "")
				ended <- err
			}()
			w.blocked()
		}))
		must(t, <-ended)
		_, err = w.b.Settle(t.Context(), worker, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
		if !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("a worker of a run that ended settled: %v", err)
		}
		w.status(id, "completed")
	})
	t.Run("a_worker_that_waits_while_the_run_ends_commits_nothing", func(t *testing.T) {
		w := newWorld(t)
		w.due(1)
		holder := w.begin(w.a, exportops.FileCleanup, noon)
		fence, err := w.b.JoinRun(t.Context(), holder.RunID, "w", noon, exportops.LeaseLength)
		must(t, err)
		tx := w.app()
		w.exec(tx, `UPDATE exportops.workers SET left_at = now()`)
		w.exec(tx, `UPDATE exportops.runs SET state = 'done'`)
		done := make(chan error, 1)
		go func() {
			_, err := w.b.ClaimFiles(t.Context(), exportops.Checkpoint{Fence: fence, Now: noon, Lease: exportops.LeaseLength}, claimAllOf(nil))
			done <- err
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if err := <-done; !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("it claimed: %v", err)
		}
	})
	t.Run("two_who_join_at_once_are_two", func(t *testing.T) {
		w := newWorld(t)
		holder := w.begin(w.a, exportops.FileCleanup, noon)
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.runs FOR UPDATE`)
		tokens := make(chan int64, 2)
		for _, s := range []*Store{w.a, w.b} {
			go func() {
				f, err := s.JoinRun(t.Context(), holder.RunID, "w", noon, exportops.LeaseLength)
				if err != nil {
					t.Error(err)
				}
				tokens <- f.Token
			}()
		}
		w.blockedBy(tx, 2)
		w.commit(tx)
		if a, b := <-tokens, <-tokens; a == b || a >= 0 || b >= 0 {
			t.Fatalf("they have the tokens %d and %d", a, b)
		}
	})
	t.Run("nobody_joins_while_the_run_is_being_closed", func(t *testing.T) {
		w := newWorld(t)
		holder := w.begin(w.a, exportops.FileCleanup, noon)
		tx := w.app()
		w.exec(tx, `UPDATE exportops.runs SET closing = true`)
		done := make(chan error, 1)
		go func() {
			_, err := w.b.JoinRun(t.Context(), holder.RunID, "w", noon, exportops.LeaseLength)
			done <- err
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if err := <-done; !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("it joined: %v", err)
		}
	})
}
