package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// join adds a worker to a run.
func join(t testing.TB, f Fixture, run string, now exportops.Time) exportops.Fence {
	t.Helper()
	fence, err := f.Store.JoinRun(t.Context(), run, "w", now, lease)
	must(t, err)
	if fence.RunID != run || fence.Token >= 0 {
		t.Fatalf("a worker's fence is %+v", fence)
	}
	return fence
}

func testWorkers(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("each_has_claims_and_a_result_of_its_own", func(t *testing.T) { workersShare(t, open(t)) })
	t.Run("a_worker_that_died_is_fenced_by_the_holder", func(t *testing.T) { deadWorker(t, open(t)) })
	t.Run("a_worker_goes_on_under_another_holder", func(t *testing.T) {
		f := open(t)
		run, first := begin(t, f, exportops.Started)
		worker := join(t, f, run.ID, noon)
		c := check(first, noon)
		_, err := f.Store.CloseRun(t.Context(), c)
		must(t, err)
		_, holder := begin(t, f, exportops.TookOver, by("b"), at(dead))
		must(t, f.Store.Renew(t.Context(), check(worker, dead)))
		join(t, f, run.ID, dead) // closed by a holder that is dead: it has begun anew
		wantFenced(t, "Renew", f.Store.Renew(t.Context(), check(first, dead)))
		finish(t, f, holder, dead, exportops.RunDone)
		wantFenced(t, "Renew", f.Store.Renew(t.Context(), check(worker, dead)))
	})
	t.Run("nobody_joins", func(t *testing.T) {
		for name, end := range map[string]func(t *testing.T, f Fixture, fence exportops.Fence) exportops.Time{
			"a_run_that_ended": func(t *testing.T, f Fixture, fence exportops.Fence) exportops.Time {
				finish(t, f, fence, noon, exportops.RunDone)
				return noon
			},
			"an_abandoned_run": func(*testing.T, Fixture, exportops.Fence) exportops.Time { return dead },
			"a_closing_run": func(t *testing.T, f Fixture, fence exportops.Fence) exportops.Time {
				all, err := f.Store.CloseRun(t.Context(), check(fence, noon))
				must(t, err)
				if len(all) != 0 || !runOf(t, f, fence.RunID).Closing {
					t.Fatalf("closed with %+v: %+v", all, runOf(t, f, fence.RunID))
				}
				return noon
			},
		} {
			t.Run(name, func(t *testing.T) {
				f := open(t)
				_, fence := begin(t, f, exportops.Started)
				now := end(t, f, fence)
				got, err := f.Store.JoinRun(t.Context(), fence.RunID, "w", now, lease)
				wantFenced(t, "JoinRun", err)
				if got.Token != 0 {
					t.Fatalf("it got the fence %+v", got)
				}
			})
		}
		f := open(t)
		_, err := f.Store.JoinRun(t.Context(), exportops.NewID(), "w", noon, lease)
		wantFenced(t, "JoinRun", err)
	})
}

// workersShare lets a holder and a worker claim from the same rows.
func workersShare(t *testing.T, f Fixture) {
	for range 4 {
		f.Insert(t, due(after(noon, -time.Hour)))
	}
	run, holder := begin(t, f, exportops.Started)
	worker, second := join(t, f, run.ID, noon), join(t, f, run.ID, noon)
	if worker.Token == second.Token {
		t.Fatalf("two workers have the fence %+v", worker)
	}
	mine := claim(t, f, holder, func(r *exportops.ClaimRequest) { r.Limit = 2 })
	theirs := claim(t, f, worker, func(r *exportops.ClaimRequest) { r.After = mine.Next })
	if len(mine.Claims) != 2 || len(theirs.Claims) != 2 {
		t.Fatalf("claimed %d and %d of 4", len(mine.Claims), len(theirs.Claims))
	}
	// What one of them has claimed is nothing that a dead run left.
	open, _, err := f.Store.Reclaim(t.Context(), check(holder, alive), 9, func(exportops.OpenClaim) bool { return true })
	must(t, err)
	if len(open) != 0 {
		t.Fatalf("the holder reclaims %+v", open)
	}
	settleOne(t, f, worker, exportops.Settlement{Claim: theirs.Claims[0], State: exportops.DeletionDone})
	c := check(worker, noon)
	c.Progress = json.RawMessage(`{"deleted_count":1}`)
	must(t, f.Store.Renew(t.Context(), c))
	works := func(want ...exportops.Work) {
		t.Helper()
		all, err := f.Store.CloseRun(t.Context(), check(holder, noon))
		must(t, err)
		if d := cmp.Diff(want, all); d != "" {
			t.Fatalf("the workers (-want +got):\n%s", d)
		}
	}
	works(exportops.Work{Result: c.Progress}, exportops.Work{})
	if got := runOf(t, f, run.ID); got.Result != nil || !got.LeaseUntil.Equal(after(noon, lease).Time) {
		t.Fatalf("a worker changed the run: %+v", got)
	}
	settleOne(t, f, worker, exportops.Settlement{Claim: theirs.Claims[1], State: exportops.DeletionDone})
	c.Progress = json.RawMessage(`{"deleted_count":2}`)
	must(t, f.Store.LeaveRun(t.Context(), c))
	works(exportops.Work{Result: c.Progress, Left: true}, exportops.Work{})
	wantFenced(t, "Renew", f.Store.Renew(t.Context(), c))
}

// deadWorker lets the lease of a worker run out.
func deadWorker(t *testing.T, f Fixture) {
	f.Insert(t, due(after(noon, -time.Hour)))
	run, holder := begin(t, f, exportops.Started)
	worker := join(t, f, run.ID, noon)
	claimed := claim(t, f, worker).Claims[0]
	must(t, f.Store.Renew(t.Context(), check(holder, alive)))
	// Nobody has told it so: until the holder looks, it may go on.
	must(t, f.Store.Renew(t.Context(), exportops.Checkpoint{Fence: worker, Now: noon, Lease: lease}))
	all, err := f.Store.CloseRun(t.Context(), check(holder, dead))
	must(t, err)
	if len(all) != 1 || !all[0].Left {
		t.Fatalf("the workers are %+v", all)
	}
	open, _, err := f.Store.Reclaim(t.Context(), check(holder, dead), 9, func(exportops.OpenClaim) bool { return true })
	must(t, err)
	if len(open) != 1 || open[0].ID != claimed.ID {
		t.Fatalf("the holder reclaims %+v", open)
	}
	_, err = f.Store.Settle(t.Context(), check(worker, dead), []exportops.Settlement{{Claim: claimed, State: exportops.DeletionDone}})
	wantFenced(t, "Settle", err)
	if l := ledger(t, f); l[0].State != exportops.DeletionClaimed || !errors.Is(err, exportops.ErrFenced) {
		t.Fatalf("the late worker left %+v", l)
	}
}
