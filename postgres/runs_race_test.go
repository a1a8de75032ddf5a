package postgres

import (
	"sync"
	"testing"

	"github.com/exportops/exportops"
)

func TestRunsOfSeveralReplicas(t *testing.T) {
	dead := after(noon, exportops.LeaseLength)
	t.Run("of_fifty_requests_one_starts", func(t *testing.T) {
		w := newWorld(t)
		stores := []*Store{w.a, w.b, openStore(t, w.url), openStore(t, w.url), openStore(t, w.url)}
		for _, key := range []string{"", "k"} {
			met := atOnce(t, 50, func(i int) (exportops.Run, exportops.Beginning, error) {
				run, _, how, err := stores[i%len(stores)].BeginRun(t.Context(), runRequest(exportops.FileCleanup, func(r *exportops.RunRequest) {
					r.IdempotencyKey, r.Lane = key, "lane"+key
				}))
				return run, how, err
			})
			if len(met) != 2 || met[exportops.Started] != 1 || met[exportops.Joined] != 49 {
				t.Fatalf("the requests were met with %v", met)
			}
		}
		if n := w.count(`SELECT count(*) FROM exportops.runs`); n != 2 {
			t.Fatalf("%d runs were begun", n)
		}
	})
	t.Run("an_abandoned_run_is_taken_over_once", func(t *testing.T) {
		w := newWorld(t)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.runs WHERE id = $1 FOR UPDATE`, c.RunID)
		met := make(chan map[exportops.Beginning]int)
		go func() {
			met <- atOnce(t, 2, func(i int) (exportops.Run, exportops.Beginning, error) {
				run, _, how, err := []*Store{w.a, w.b}[i].BeginRun(t.Context(), runRequest(exportops.FileCleanup, func(r *exportops.RunRequest) { r.Now = dead }))
				return run, how, err
			})
		}()
		w.blockedBy(tx, 2)
		w.commit(tx)
		if m := <-met; m[exportops.TookOver] != 1 || m[exportops.Joined] != 1 {
			t.Fatalf("the requests were met with %v", m)
		}
	})
	t.Run("a_dead_run_with_other_parameters_is_ended_once", func(t *testing.T) {
		w := newWorld(t)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.runs WHERE id = $1 FOR UPDATE`, c.RunID)
		met := make(chan map[exportops.Beginning]int)
		go func() {
			met <- atOnce(t, 2, func(i int) (exportops.Run, exportops.Beginning, error) {
				run, _, how, err := []*Store{w.a, w.b}[i].BeginRun(t.Context(), runRequest(exportops.FileCleanup, func(r *exportops.RunRequest) {
					r.Now, r.Params = dead, []byte(`{"retention_hours":3}`)
				}))
				return run, how, err
			})
		}()
		w.blockedBy(tx, 2)
		w.commit(tx)
		if m := <-met; m[exportops.Started] != 1 || m[exportops.Joined] != 1 {
			t.Fatalf("the requests were met with %v", m)
		}
	})
	for name, c := range map[string]struct {
		end  string // what becomes of the run that another begins
		want exportops.Beginning
	}{
		"joins_it":                       {"", exportops.Joined},
		"joins_it_when_it_ended_since":   {"done", exportops.Joined},
		"joins_it_when_it_failed_since":  {"failed", exportops.Joined},
		"starts_when_it_was_never_begun": {"rollback", exportops.Started},
	} {
		t.Run("who_asks_while_another_begins_"+name, func(t *testing.T) {
			w := newWorld(t)
			tx := w.app()
			// Looking is possible, beginning is not.
			w.exec(tx, `LOCK TABLE exportops.runs IN SHARE MODE`)
			done := make(chan exportops.Beginning)
			var run exportops.Run
			go func() {
				r, _, how, err := w.a.BeginRun(t.Context(), runRequest(exportops.FileCleanup))
				if err != nil {
					t.Error(err)
				}
				run = r
				done <- how
			}()
			w.blockedBy(tx, 1)
			w.exec(tx, `INSERT INTO exportops.runs (id, job, lane, state, trigger, params, holder, token, lease_until, started_at)
				VALUES ('winner', 'file-cleanup', 'file-cleanup', 'running', 'cron', '{}', 'b', 1, $1::timestamptz, $2::timestamptz)`, dead.String(), noon.String())
			switch c.end {
			case "rollback":
				must(t, tx.Rollback(t.Context()))
			case "":
				w.commit(tx)
			default:
				w.exec(tx, `UPDATE exportops.runs SET state = $1, finished_at = now(), lease_until = NULL`, c.end)
				w.commit(tx)
			}
			if how := <-done; how != c.want || (run.ID == "winner") != (how == exportops.Joined) {
				t.Fatalf("the request was met with %q by %+v, want %q", how, run, c.want)
			}
		})
	}
	t.Run("a_slot_that_ended_while_one_asked_is_replayed", func(t *testing.T) {
		w := newWorld(t)
		tx := w.app()
		w.exec(tx, `INSERT INTO exportops.runs (id, job, lane, state, trigger, slot, params, holder, token, started_at, finished_at)
			VALUES ('winner', 'file-cleanup', 'file-cleanup', 'done', 'cron', $1::timestamptz, '{}', 'b', 1, $1::timestamptz, $1::timestamptz)`, noon.String())
		done := make(chan exportops.Beginning)
		go func() {
			slot := noon
			_, _, how, err := w.a.BeginRun(t.Context(), runRequest(exportops.FileCleanup, func(r *exportops.RunRequest) { r.Slot = &slot }))
			if err != nil {
				t.Error(err)
			}
			done <- how
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if how := <-done; how != exportops.Replayed {
			t.Fatalf("the request was met with %q", how)
		}
	})
	t.Run("a_key_stands_for_one_request_across_jobs", func(t *testing.T) {
		w := newWorld(t)
		failed := make(chan int, 1)
		var mu sync.Mutex
		conflicts := 0
		jobs := []exportops.Job{exportops.FileCleanup, exportops.LogCleanup, exportops.MetricsAggregate}
		met := atOnce(t, 12, func(i int) (exportops.Run, exportops.Beginning, error) {
			run, _, how, err := []*Store{w.a, w.b}[i%2].BeginRun(t.Context(), runRequest(jobs[i%3], func(r *exportops.RunRequest) { r.IdempotencyKey = "k" }))
			if exportops.IsKind(err, exportops.KindConflict) {
				mu.Lock()
				defer mu.Unlock()
				conflicts++
				return run, "conflict", nil
			}
			return run, how, err
		})
		failed <- conflicts
		if <-failed != 8 || met[exportops.Started] != 1 || met[exportops.Joined] != 3 {
			t.Fatalf("the requests were met with %v", met)
		}
	})
}

// atOnce calls f so many times at once, and counts how the requests were met.
func atOnce(t testing.TB, n int, f func(int) (exportops.Run, exportops.Beginning, error)) map[exportops.Beginning]int {
	how := make([]exportops.Beginning, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, h, err := f(i)
			if err != nil {
				t.Error(err)
			}
			how[i] = h
		})
	}
	wg.Wait()
	met := map[exportops.Beginning]int{}
	for _, h := range how {
		met[h]++
	}
	return met
}
