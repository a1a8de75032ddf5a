package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testRunList(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	var all []exportops.Run // newest last
	jobs := []exportops.Job{exportops.FileCleanup, exportops.LogCleanup}
	for i := range 23 {
		run, fence := begin(t, f, exportops.Started, ofJob(jobs[i%2]), at(after(noon, time.Duration(i)*time.Minute)))
		if i < 21 {
			state := exportops.RunDone
			if i%3 == 0 {
				state = exportops.RunFailed
			}
			run = finish(t, f, fence, after(noon, time.Duration(i)*time.Minute), state)
		}
		all = append(all, run)
	}
	slices.Reverse(all)
	for name, filter := range map[string]exportops.RunFilter{
		"all": {}, "job": {Job: exportops.LogCleanup}, "state": {State: exportops.RunFailed},
		"active": {State: exportops.RunRunning}, "both": {Job: exportops.FileCleanup, State: exportops.RunDone},
	} {
		t.Run(name, func(t *testing.T) {
			var want, got []exportops.Run
			for _, r := range all {
				if (filter.Job == "" || r.Job == filter.Job) && (filter.State == "" || r.State == filter.State) {
					want = append(want, r)
				}
			}
			for filter.Limit = 4; ; {
				page, next, err := f.Store.Runs(t.Context(), filter)
				must(t, err)
				if len(page) > 4 || (len(page) < 4 && next != "") {
					t.Fatalf("a page of %d with the cursor %q", len(page), next)
				}
				got = append(got, page...)
				if filter.Cursor = next; next == "" {
					break
				}
			}
			if d := cmp.Diff(want, got); d != "" || len(got) == 0 {
				t.Fatalf("runs (-want +got):\n%s", d)
			}
		})
	}
	t.Run("what_begins_meanwhile_does_not_shift_the_pages", func(t *testing.T) {
		first, next, err := f.Store.Runs(t.Context(), exportops.RunFilter{Limit: 2})
		must(t, err)
		begin(t, f, exportops.Started, ofJob(exportops.MetricsAggregate), at(after(noon, time.Hour)))
		second, _, err := f.Store.Runs(t.Context(), exportops.RunFilter{Limit: 2, Cursor: next})
		must(t, err)
		if d := cmp.Diff(all[:4], append(first, second...)); d != "" {
			t.Fatalf("two pages (-want +got):\n%s", d)
		}
	})
	t.Run("a_cursor_of_something_else_is_refused", func(t *testing.T) {
		_, _, err := f.Store.Runs(t.Context(), exportops.RunFilter{Cursor: "' OR 1=1"})
		wantKind(t, err, exportops.KindInvalid, "cursor")
	})
	t.Run("a_page_has_its_bounds", func(t *testing.T) {
		var slots []exportops.Time
		for i := range exportops.MaxPage + 9 {
			slots = append(slots, after(noon, time.Duration(i)*time.Minute))
		}
		must(t, f.Store.RecordSlots(t.Context(), exportops.LogCleanup, slots, exportops.RunMissed, noon))
		for limit, want := range map[int]int{0: exportops.DefaultPage, 1: 1, exportops.MaxPage: exportops.MaxPage, exportops.MaxPage + 1: exportops.MaxPage} {
			page, next, err := f.Store.Runs(t.Context(), exportops.RunFilter{Limit: limit})
			must(t, err)
			if len(page) != want || next == "" {
				t.Fatalf("limit %d gives %d runs and the cursor %q, want %d and more", limit, len(page), next, want)
			}
		}
	})
}

func testAbandoned(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	lost, fence := begin(t, f, exportops.Started)
	released, other := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup), at(after(noon, -time.Second)))
	_, third := begin(t, f, exportops.Started, ofJob(exportops.MetricsAggregate))
	done := finish(t, f, third, noon, exportops.RunDone)
	must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{noon}, exportops.RunMissed, noon))
	want := func(now exportops.Time, want ...string) {
		t.Helper()
		runs, err := f.Store.ActiveRuns(t.Context())
		must(t, err)
		var got []string
		for _, r := range runs {
			if r.Finished() {
				t.Fatalf("%+v is not active", r)
			}
			if r.Abandoned(now) {
				got = append(got, r.ID)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("abandoned at %s (-want +got):\n%s", now, d)
		}
	}
	want(after(noon, 0))
	c := check(other, noon)
	c.Lease = 0
	must(t, f.Store.Renew(t.Context(), c))
	want(noon, released.ID)
	want(alive, released.ID)
	want(dead, released.ID, lost.ID)

	// Ended are those whose lease is over; nothing happens to any other.
	for _, id := range []string{lost.ID, done.ID, exportops.NewID()} {
		must(t, f.Store.EndAbandoned(t.Context(), id, alive))
	}
	if r := runOf(t, f, lost.ID); r.Finished() {
		t.Fatalf("a living run was ended: %+v", r)
	}
	must(t, f.Store.EndAbandoned(t.Context(), lost.ID, dead))
	must(t, f.Store.EndAbandoned(t.Context(), lost.ID, after(dead, time.Hour))) // again is nothing
	r := runOf(t, f, lost.ID)
	if r.State != exportops.RunFailed || r.Error == "" || r.FinishedAt == nil || !r.FinishedAt.Equal(dead.Time) {
		t.Fatalf("the dead run is %+v, want it failed at %s", r, dead)
	}
	wantFenced(t, "its holder", f.Store.Renew(t.Context(), check(fence, dead)))
	want(dead, released.ID)
	if d := cmp.Diff(done, runOf(t, f, done.ID)); d != "" {
		t.Fatalf("a run that had ended was changed:\n%s", d)
	}
}
