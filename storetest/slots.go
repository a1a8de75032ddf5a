package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testSlots(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("a_slot_never_runs_twice", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started, forSlot(noon))
		begin(t, f, exportops.Joined, forSlot(noon), by("b"))
		finish(t, f, fence, noon, exportops.RunFailed)
		for _, now := range []exportops.Time{noon, after(noon, 1000*time.Hour)} { // there is no day's end to it
			if got, _ := begin(t, f, exportops.Replayed, forSlot(noon), at(now)); got.ID != run.ID || got.State != exportops.RunFailed {
				t.Fatalf("the slot was answered by %+v", got)
			}
		}
		begin(t, f, exportops.Started, forSlot(noon), ofJob(exportops.LogCleanup)) // another job's slot
		begin(t, f, exportops.Started, forSlot(after(noon, time.Hour)))
	})
	t.Run("a_slot_of_a_dead_run_is_taken_over", func(t *testing.T) {
		f := open(t)
		run, _ := begin(t, f, exportops.Started, forSlot(noon))
		if got, _ := begin(t, f, exportops.TookOver, forSlot(noon), at(dead)); got.ID != run.ID {
			t.Fatalf("the slot runs as %s, too", got.ID)
		}
	})
	t.Run("a_slot_of_a_dead_run_with_other_parameters_is_over", func(t *testing.T) {
		f := open(t)
		run, _ := begin(t, f, exportops.Started, forSlot(noon))
		got, _ := begin(t, f, exportops.Replayed, forSlot(noon), at(dead), withParams(`{"retention_hours":3}`))
		if got.ID != run.ID || got.State != exportops.RunFailed {
			t.Fatalf("the slot was answered by %+v, want the dead run, failed", got)
		}
	})
	t.Run("of_many_who_ask_at_once_one_starts", func(t *testing.T) {
		f := open(t)
		for range 3 {
			race(t, f)
		}
	})
	t.Run("a_recorded_slot_does_not_run", func(t *testing.T) {
		f := open(t)
		must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{noon}, exportops.RunMissed, noon))
		if got, _ := begin(t, f, exportops.Replayed, forSlot(noon)); got.State != exportops.RunMissed {
			t.Fatalf("the slot was answered by %+v", got)
		}
	})
	t.Run("each_slot_is_recorded_once", func(t *testing.T) { recordSlots(t, open(t)) })
	t.Run("watermark", func(t *testing.T) { watermark(t, open) })
	t.Run("ends_since", func(t *testing.T) { endsSince(t, open(t)) })
	t.Run("the_last_run_of_a_lane_that_ended_with_a_result", func(t *testing.T) { lastRun(t, open(t)) })
}

// lastRun ends runs in two lanes, with results and without.
func lastRun(t *testing.T, f Fixture) {
	in := func(lane string) func(*exportops.RunRequest) {
		return func(r *exportops.RunRequest) { r.Job, r.Lane = exportops.EraseUser, lane }
	}
	wantLast := func(lane, want string) {
		t.Helper()
		got, err := f.Store.LastRun(t.Context(), exportops.EraseUser, lane)
		must(t, err)
		if string(got.Result) != want || (got.ID != "") != (want != "") {
			t.Errorf("the last run in %s is %+v, want the result %q", lane, got, want)
		}
	}
	wantLast("a", "")
	for n := 1; n <= 3; n++ {
		for _, lane := range []string{"a", "b"} {
			_, fence := begin(t, f, exportops.Started, in(lane))
			c := check(fence, noon)
			if n < 3 { // the last ends without a result
				c.Progress = json.RawMessage(fmt.Sprintf(`{"%s":%d}`, lane, n))
			}
			_, err := f.Store.FinishRun(t.Context(), c, exportops.RunFailed, "")
			must(t, err)
		}
	}
	_, fence := begin(t, f, exportops.Started, in("a"))
	c := check(fence, noon)
	c.Progress = json.RawMessage(`{"a":4}`)
	must(t, f.Store.Renew(t.Context(), c))
	wantLast("a", `{"a":2}`) // the fourth is at work
	wantLast("b", `{"b":2}`)
	if got, err := f.Store.LastRun(t.Context(), exportops.FileCleanup, "a"); err != nil || got.ID != "" {
		t.Errorf("of another job: %+v, %v", got, err)
	}
}

// race lets many holders ask for the same slot, which the last one ended.
func race(t *testing.T, f Fixture) {
	t.Helper()
	const n = 24
	slot := after(noon, time.Duration(f.Count(t, `SELECT count(*) FROM exportops_runs`))*time.Hour)
	how, fences, errs := make([]exportops.Beginning, n), make([]exportops.Fence, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, fences[i], how[i], errs[i] = f.Store.BeginRun(t.Context(), request(forSlot(slot)))
		})
	}
	wg.Wait()
	started := 0
	for i := range n {
		must(t, errs[i])
		switch how[i] {
		case exportops.Started:
			started++
			finish(t, f, fences[i], noon, exportops.RunDone)
		case exportops.Joined:
		default:
			t.Fatalf("a request was met with %q", how[i])
		}
	}
	if started != 1 {
		t.Fatalf("%d of %d requests for one slot started it, want 1", started, n)
	}
}

func recordSlots(t *testing.T, f Fixture) {
	job := exportops.LogCleanup
	var slots []exportops.Time
	for i := range 1203 { // more than one transaction holds
		slots = append(slots, after(noon, time.Duration(i)*time.Minute))
	}
	_, fence := begin(t, f, exportops.Started, ofJob(job), forSlot(slots[3]))
	finish(t, f, fence, noon, exportops.RunDone)
	must(t, f.Store.RecordSlots(t.Context(), job, slots, exportops.RunMissed, noon))
	must(t, f.Store.RecordSlots(t.Context(), job, slots, exportops.RunSkipped, noon))
	must(t, f.Store.RecordSlots(t.Context(), job, nil, exportops.RunSkipped, noon))
	must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, slots[:2], exportops.RunSkipped, noon))
	for state, want := range map[exportops.RunState]int64{
		exportops.RunDone: 1, exportops.RunMissed: 1202, exportops.RunSkipped: 0,
	} {
		if n := f.Count(t, `SELECT count(*) FROM exportops_runs WHERE job = ? AND state = ?`, string(job), string(state)); n != want {
			t.Fatalf("%d slots are %s, want %d", n, state, want)
		}
	}
	page, _, err := f.Store.Runs(t.Context(), exportops.RunFilter{Job: exportops.FileCleanup})
	must(t, err)
	if len(page) != 2 || page[0].State != exportops.RunSkipped || page[0].Slot == nil || page[0].Trigger != exportops.BySchedule || !page[0].Finished() {
		t.Fatalf("recorded %+v", page)
	}
	for _, state := range []exportops.RunState{exportops.RunDone, exportops.RunRunning, ""} {
		if f.Store.RecordSlots(t.Context(), job, []exportops.Time{after(noon, -time.Hour)}, state, noon) == nil {
			t.Fatalf("a slot was recorded as %q without a run", state)
		}
	}
}

func watermark(t *testing.T, open func(testing.TB) Fixture) {
	want := func(t *testing.T, f Fixture, j exportops.Job, expression string, now, want exportops.Time) {
		t.Helper()
		got, err := f.Store.Schedule(t.Context(), j, expression, now)
		must(t, err)
		if !got.Equal(want.Time) {
			t.Fatalf("slots of %q are due after %s, want %s", expression, got, want)
		}
	}
	later := func(h int) exportops.Time { return after(noon, time.Duration(h)*time.Hour) }
	job := exportops.FileCleanup
	t.Run("it_starts_now_and_stays", func(t *testing.T) {
		f := open(t)
		want(t, f, job, "0 2 * * *", noon, noon)
		want(t, f, job, "0 2 * * *", later(5), noon)
		want(t, f, exportops.LogCleanup, "0 2 * * *", later(6), later(6)) // each job its own
		want(t, f, job, "0 2 * * *", later(7), noon)
	})
	t.Run("a_new_expression_starts_at_now", func(t *testing.T) {
		f := open(t)
		want(t, f, job, "0 2 * * *", noon, noon)
		want(t, f, job, "0 3 * * *", later(5), later(5))
		want(t, f, job, "0 3 * * *", later(6), later(5))
		want(t, f, job, "0 2 * * *", later(7), later(7)) // the old one again is a new one
	})
	t.Run("the_last_slot_with_a_row_moves_it", func(t *testing.T) {
		f := open(t)
		want(t, f, job, "0 * * * *", noon, noon)
		_, fence := begin(t, f, exportops.Started, forSlot(later(2)), at(later(2)))
		want(t, f, job, "0 * * * *", later(3), later(2)) // running counts
		finish(t, f, fence, later(3), exportops.RunFailed)
		must(t, f.Store.RecordSlots(t.Context(), job, []exportops.Time{later(4), later(3)}, exportops.RunMissed, later(5)))
		want(t, f, job, "0 * * * *", later(5), later(4))
		// Neither another job's slots nor a run without one do.
		must(t, f.Store.RecordSlots(t.Context(), exportops.LogCleanup, []exportops.Time{later(9)}, exportops.RunMissed, later(9)))
		begin(t, f, exportops.Started, at(later(9)))
		want(t, f, job, "0 * * * *", later(9), later(4))
		want(t, f, job, "5 * * * *", later(9), later(9))
	})
}

func endsSince(t *testing.T, f Fixture) {
	end := func(j exportops.Job, now exportops.Time, state exportops.RunState) {
		_, fence := begin(t, f, exportops.Started, ofJob(j), at(after(now, -time.Second)))
		finish(t, f, fence, now, state)
	}
	minute := func(n int) exportops.Time { return after(noon, time.Duration(n)*time.Minute) }
	// However it ended, and whatever started it.
	end(exportops.FileCleanup, minute(3), exportops.RunFailed)
	end(exportops.FileCleanup, minute(1), exportops.RunDone)
	end(exportops.FileCleanup, after(minute(1), -time.Millisecond), exportops.RunDone)
	end(exportops.FileCleanup, minute(2), exportops.RunPartial)
	end(exportops.LogCleanup, minute(2), exportops.RunDone)
	must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{minute(2)}, exportops.RunMissed, minute(4)))
	must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{minute(3)}, exportops.RunSkipped, minute(4)))
	begin(t, f, exportops.Started, at(minute(5)))
	got, err := f.Store.EndsSince(t.Context(), exportops.FileCleanup, minute(1))
	must(t, err)
	if d := cmp.Diff([]exportops.Time{minute(1), minute(2), minute(3)}, got); d != "" {
		t.Fatalf("ends (-want +got):\n%s", d)
	}
	if got, err := f.Store.EndsSince(t.Context(), exportops.FileCleanup, minute(4)); err != nil || len(got) != 0 {
		t.Fatalf("ends %v %v, want none", got, err)
	}
}
