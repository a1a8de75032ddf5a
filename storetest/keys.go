package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testKeys(t *testing.T, open func(testing.TB) Fixture) {
	const other = `{"retention_hours":3}`
	day := after(noon, exportops.ReplayFor)
	inTime := after(day, -time.Millisecond)

	t.Run("a_success_is_replayed_for_a_day", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started, withKey("k"))
		c := check(fence, noon)
		c.Progress = json.RawMessage(`{"deleted_count":5}`)
		done, err := f.Store.FinishRun(t.Context(), c, exportops.RunDone, "")
		must(t, err)
		for _, now := range []exportops.Time{noon, inTime, inTime} { // replaying does not prolong it
			got, _ := begin(t, f, exportops.Replayed, withKey("k"), at(now), by("b"))
			if d := cmp.Diff(done, got); d != "" {
				t.Fatalf("replayed at %s (-want +got):\n%s", now, d)
			}
		}
		begin(t, f, exportops.Started, withKey("l"), at(day))
		if n := f.Count(t, `SELECT count(*) FROM exportops_run_keys`); n != 1 {
			t.Fatalf("%d keys are kept, want the one of today", n)
		}
		begin(t, f, exportops.Joined, withKey("k"), at(day))
	})
	t.Run("without_the_key_it_runs_again", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started, withKey("k"))
		finish(t, f, fence, noon, exportops.RunDone)
		_, fence = begin(t, f, exportops.Started)
		finish(t, f, fence, noon, exportops.RunDone)
		begin(t, f, exportops.Started, withKey("l"))
	})
	for _, state := range []exportops.RunState{exportops.RunFailed, exportops.RunRefused} {
		t.Run("what_"+string(state)+"_is_tried_again", func(t *testing.T) {
			f := open(t)
			first, fence := begin(t, f, exportops.Started, withKey("k"))
			finish(t, f, fence, noon, state)
			second, fence := begin(t, f, exportops.Started, withKey("k"), at(after(noon, time.Minute)))
			if first.ID == second.ID {
				t.Fatal("the run that had ended goes on")
			}
			// From here the key stands for the second run, and a day begins.
			finish(t, f, fence, after(noon, time.Minute), exportops.RunDone)
			if got, _ := begin(t, f, exportops.Replayed, withKey("k"), at(day)); got.ID != second.ID {
				t.Fatalf("replayed run %s, want %s", got.ID, second.ID)
			}
		})
	}
	t.Run("other_parameters_are_a_conflict", func(t *testing.T) {
		for _, state := range []exportops.RunState{exportops.RunDone, exportops.RunFailed, exportops.RunRefused, exportops.RunRunning} {
			f := open(t)
			_, fence := begin(t, f, exportops.Started, withKey("k"))
			if state != exportops.RunRunning {
				finish(t, f, fence, noon, state)
			}
			for what, change := range map[string]func(*exportops.RunRequest){
				"other parameters": withParams(other), "another job": ofJob(exportops.LogCleanup),
			} {
				_, _, _, err := f.Store.BeginRun(t.Context(), request(withKey("k"), change, at(inTime)))
				if !exportops.IsKind(err, exportops.KindConflict) {
					t.Fatalf("%s after a run that is %s: error %v, want a conflict", what, state, err)
				}
			}
			begin(t, f, exportops.Started, withKey("k"), withParams(other), at(day))
		}
	})
	t.Run("a_joined_run_answers_the_key_of_who_joined", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started, withKey("k"))
		begin(t, f, exportops.Joined, withKey("l"))
		begin(t, f, exportops.Joined, withKey("k"))
		finish(t, f, fence, noon, exportops.RunDone)
		for _, key := range []string{"k", "l"} {
			if got, _ := begin(t, f, exportops.Replayed, withKey(key)); got.ID != run.ID {
				t.Fatalf("key %q: run %s, want %s", key, got.ID, run.ID)
			}
		}
	})
	t.Run("a_run_that_was_taken_over_answers_its_key", func(t *testing.T) {
		f := open(t)
		begin(t, f, exportops.Started, withKey("k"))
		run, fence := begin(t, f, exportops.TookOver, withKey("k"), at(dead))
		finish(t, f, fence, dead, exportops.RunDone)
		if got, _ := begin(t, f, exportops.Replayed, withKey("k"), at(dead)); got.ID != run.ID {
			t.Fatalf("run %s, want %s", got.ID, run.ID)
		}
	})
	t.Run("a_request_that_is_refused_leaves_no_key", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		_, _, _, err := f.Store.BeginRun(t.Context(), request(withKey("k"), withParams(other)))
		wantKind(t, err, exportops.KindConflict, "")
		finish(t, f, fence, noon, exportops.RunDone)
		begin(t, f, exportops.Started, withKey("k"))
	})
	t.Run("any_text_is_a_key", func(t *testing.T) {
		f := open(t)
		for _, key := range []string{"'; DROP TABLE exportops_runs; --", "💥\n", "K", "k", " k"} {
			run, fence := begin(t, f, exportops.Started, withKey(key))
			finish(t, f, fence, noon, exportops.RunDone)
			if got, _ := begin(t, f, exportops.Replayed, withKey(key)); got.ID != run.ID {
				t.Fatalf("key %q stands for another run", key)
			}
		}
	})
}
