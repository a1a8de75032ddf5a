package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testRuns(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("begin", func(t *testing.T) { testBegin(t, open) })
	t.Run("take_over", func(t *testing.T) { testTakeOver(t, open) })
	t.Run("fence", func(t *testing.T) { testFence(t, open) })
	t.Run("idempotency_key", func(t *testing.T) { testKeys(t, open) })
	t.Run("slots", func(t *testing.T) { testSlots(t, open) })
	t.Run("list", func(t *testing.T) { testRunList(t, open) })
	t.Run("abandoned", func(t *testing.T) { testAbandoned(t, open) })
	t.Run("workers", func(t *testing.T) { testWorkers(t, open) })
}

func testBegin(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_was_asked_for_is_kept", func(t *testing.T) {
		f := open(t)
		slot := after(noon, -time.Minute)
		run, _ := begin(t, f, exportops.Started, forSlot(slot), withParams(`{"retention_hours":3}`), func(r *exportops.RunRequest) { r.Forced = true })
		until := after(noon, lease)
		want := exportops.Run{
			ID: run.ID, Job: exportops.FileCleanup, State: exportops.RunRunning, Trigger: exportops.BySchedule, Slot: &slot,
			Params: json.RawMessage(`{"retention_hours":3}`), Forced: true, Holder: "a", LeaseUntil: &until, StartedAt: noon,
		}
		for how, got := range map[string]exportops.Run{"begun": run, "read": runOf(t, f, run.ID)} {
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s (-want +got):\n%s", how, d)
			}
		}
	})
	t.Run("the_same_work_is_joined", func(t *testing.T) {
		f := open(t)
		first, _ := begin(t, f, exportops.Started)
		joined, _ := begin(t, f, exportops.Joined, by("b"), at(alive))
		if d := cmp.Diff(first, joined); d != "" {
			t.Fatalf("the run that was joined (-started +joined):\n%s", d)
		}
	})
	t.Run("other_parameters_are_a_conflict", func(t *testing.T) {
		f := open(t)
		first, fence := begin(t, f, exportops.Started)
		_, got, _, err := f.Store.BeginRun(t.Context(), request(withParams(`{"retention_hours":3}`)))
		wantKind(t, err, exportops.KindConflict, "")
		if got != (exportops.Fence{}) {
			t.Fatalf("it got the fence %+v", got)
		}
		if d := cmp.Diff(first, runOf(t, f, first.ID)); d != "" {
			t.Fatalf("the active run was changed:\n%s", d)
		}
		finish(t, f, fence, noon, exportops.RunDone)
		begin(t, f, exportops.Started, withParams(`{"retention_hours":3}`))
	})
	t.Run("another_job_in_the_lane_is_a_conflict", func(t *testing.T) {
		f := open(t)
		begin(t, f, exportops.Started)
		_, _, _, err := f.Store.BeginRun(t.Context(), request(func(r *exportops.RunRequest) { r.Job = exportops.LogCleanup }))
		wantKind(t, err, exportops.KindConflict, "")
	})
	t.Run("lanes_do_not_wait_for_each_other", func(t *testing.T) {
		f := open(t)
		begin(t, f, exportops.Started)
		begin(t, f, exportops.Started, ofJob(exportops.LogCleanup))
		begin(t, f, exportops.Started, func(r *exportops.RunRequest) { r.Lane = "user-log-cleanup:x" })
	})
	t.Run("a_run_is_not_found_by_another_id", func(t *testing.T) {
		f := open(t)
		begin(t, f, exportops.Started)
		for _, id := range []string{"", exportops.NewID(), "' OR 1=1"} {
			_, err := f.Store.Run(t.Context(), id)
			wantKind(t, err, exportops.KindNotFound, "")
		}
	})
	t.Run("an_end_is_kept", func(t *testing.T) {
		f := open(t)
		for _, state := range []exportops.RunState{exportops.RunDone, exportops.RunPartial, exportops.RunFailed, exportops.RunRefused} {
			run, fence := begin(t, f, exportops.Started)
			c, ended := check(fence, after(noon, time.Second)), after(noon, time.Second)
			c.Progress = json.RawMessage(`{"deleted_count":2}`)
			got, err := f.Store.FinishRun(t.Context(), c, state, "why")
			must(t, err)
			want := run
			want.State, want.Error, want.Result, want.LeaseUntil, want.FinishedAt = state, "why", c.Progress, nil, &ended
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s (-want +got):\n%s", state, d)
			}
			if d := cmp.Diff(want, runOf(t, f, run.ID)); d != "" || !got.Finished() {
				t.Fatalf("%s, read again (-want +got):\n%s", state, d)
			}
		}
	})
}

func testTakeOver(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("once_the_lease_is_over_the_run_goes_on_elsewhere", func(t *testing.T) {
		f := open(t)
		first, old := begin(t, f, exportops.Started)
		c := check(old, noon)
		c.Progress = json.RawMessage(`{"deleted_count":5}`)
		must(t, f.Store.Renew(t.Context(), c))
		begin(t, f, exportops.Joined, by("b"), at(alive))
		run, fence := begin(t, f, exportops.TookOver, by("b"), at(dead), func(r *exportops.RunRequest) { r.Forced = true })
		until := after(dead, lease)
		want := first
		want.Holder, want.Takeovers, want.Forced, want.LeaseUntil, want.Result = "b", 1, true, &until, c.Progress
		if d := cmp.Diff(want, run); d != "" {
			t.Fatalf("the run goes on as (-want +got):\n%s", d)
		}
		if fence.Token <= old.Token {
			t.Fatalf("token %d after %d", fence.Token, old.Token)
		}
		// What was forced once stays so.
		run, _ = begin(t, f, exportops.TookOver, by("c"), at(until))
		if run.Takeovers != 2 || !run.Forced || string(run.Result) != string(c.Progress) {
			t.Fatalf("after the second take-over: %+v", run)
		}
	})
	t.Run("but_not_for_a_new_request_where_it_was_cancelled", func(t *testing.T) {
		f := open(t)
		first, _ := begin(t, f, exportops.Started)
		_, err := f.Store.CancelRun(t.Context(), first.ID, "me", alive)
		must(t, err)
		begin(t, f, exportops.Joined, by("b"), at(alive)) // it may still stop by itself
		if run, _ := begin(t, f, exportops.Started, by("b"), at(dead)); run.ID == first.ID || run.CancelledAt != nil {
			t.Fatalf("the request is met by %+v", run)
		}
		old, err := f.Store.Run(t.Context(), first.ID)
		must(t, err)
		if old.State != exportops.RunFailed || old.CancelledBy != "me" {
			t.Fatalf("the cancelled run is %+v", old)
		}
	})
	t.Run("a_lease_that_was_given_back_is_over_at_once", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started)
		c := check(fence, after(noon, time.Second))
		c.Lease = 0
		must(t, f.Store.Renew(t.Context(), c))
		if again, _ := begin(t, f, exportops.TookOver, by("b"), at(c.Now)); again.ID != run.ID {
			t.Fatal("another run went on")
		}
	})
	t.Run("renewal_and_every_checkpoint_keep_the_run", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started)
		now := noon
		for i, step := range []func(exportops.Checkpoint) error{
			func(c exportops.Checkpoint) error { return f.Store.Renew(t.Context(), c) },
			func(c exportops.Checkpoint) error { _, err := f.Store.ClaimFiles(t.Context(), c, claimAll); return err },
			func(c exportops.Checkpoint) error { _, err := f.Store.Settle(t.Context(), c, nil); return err },
			func(c exportops.Checkpoint) error { _, _, err := f.Store.Reclaim(t.Context(), c, 5, nil); return err },
			func(c exportops.Checkpoint) error {
				_, err := f.Store.DeleteLogRows(t.Context(), c, nil, nil)
				return err
			},
		} {
			now = after(now, lease-time.Millisecond)
			c := check(fence, now)
			if i%2 == 0 { // a checkpoint without progress leaves it as it is
				c.Progress = json.RawMessage(`{"deleted_count":` + string(rune('1'+i)) + `}`)
			}
			must(t, step(c))
			got := runOf(t, f, run.ID)
			if want := string(rune('1' + i - i%2)); string(got.Result) != `{"deleted_count":`+want+`}` {
				t.Fatalf("step %d: progress %s, want %s deleted", i, got.Result, want)
			}
			if want := after(now, lease); got.LeaseUntil == nil || !got.LeaseUntil.Equal(want.Time) {
				t.Fatalf("step %d: held until %v, want %s", i, got.LeaseUntil, want)
			}
		}
		begin(t, f, exportops.Joined, at(after(now, lease-time.Millisecond)))
	})
	t.Run("a_dead_run_with_other_parameters_is_ended", func(t *testing.T) {
		f := open(t)
		first, old := begin(t, f, exportops.Started)
		second, _ := begin(t, f, exportops.Started, withParams(`{"retention_hours":3}`), at(dead))
		if first.ID == second.ID {
			t.Fatal("it went on with other parameters")
		}
		got := runOf(t, f, first.ID)
		if got.State != exportops.RunFailed || got.Error == "" || got.FinishedAt == nil || !got.FinishedAt.Equal(dead.Time) || got.LeaseUntil != nil {
			t.Fatalf("the dead run is %+v, want it failed at %s", got, dead)
		}
		wantFenced(t, "its holder", f.Store.Renew(t.Context(), check(old, dead)))
	})
}
