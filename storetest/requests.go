package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testRequests(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("a_failed_entry_is_tried_again", func(t *testing.T) { retryEntries(t, open(t)) })
	t.Run("a_run_is_asked_to_stop", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started)
		later := after(noon, time.Second)
		got, err := f.Store.CancelRun(t.Context(), run.ID, "me", later)
		must(t, err)
		want := run
		want.CancelledAt, want.CancelledBy = &later, "me"
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		got, err = f.Store.CancelRun(t.Context(), run.ID, "another", after(noon, time.Minute))
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("asked again (-want +got):\n%s", d)
		}
		must(t, f.Store.Renew(t.Context(), check(fence, later))) // it is its holder's to the end
		taken, _ := begin(t, f, exportops.TookOver, by("b"), at(after(dead, time.Minute)),
			func(r *exportops.RunRequest) { r.Resumes = run.ID })
		if taken.CancelledAt == nil {
			t.Fatal("whoever takes the run over does not know that it is to stop")
		}
	})
	t.Run("a_run_that_has_ended_is_not_cancelled", func(t *testing.T) {
		f := open(t)
		run, fence := begin(t, f, exportops.Started)
		finish(t, f, fence, noon, exportops.RunDone)
		_, err := f.Store.CancelRun(t.Context(), run.ID, "me", noon)
		wantKind(t, err, exportops.KindConflict, "")
		_, err = f.Store.CancelRun(t.Context(), exportops.NewID(), "me", noon)
		wantKind(t, err, exportops.KindNotFound, "")
	})
}

func retryEntries(t *testing.T, f Fixture) {
	for i := range 3 {
		f.Insert(t, due(after(noon, time.Duration(i-9)*time.Minute)))
	}
	_, fence := begin(t, f, exportops.Started)
	page := claim(t, f, fence)
	for i, c := range page.Claims {
		s := exportops.Settlement{Claim: c, State: exportops.DeletionFailed, Error: "no"}
		if i == 2 {
			s.State, s.Error = exportops.DeletionDone, ""
		}
		c.Failures = i * (exportops.QuarantineAfter - 1) // the second is quarantined by one more
		c.Attempts = c.Failures + 3                      // and two were interrupted
		f.Exec(t, `UPDATE exportops_deletions SET attempts = ? WHERE id = ?`, c.Attempts, c.ID)
		_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{s})
		must(t, err)
	}
	chainAll(t, f, check(fence, noon), noon)
	var ids []int64
	before := ledger(t, f)
	for _, d := range before {
		ids = append(ids, d.ID)
	}
	later := after(noon, time.Hour)
	done, err := f.Store.RetryDeletions(t.Context(), append(ids, 999), "me", later)
	must(t, err)
	slices.Sort(done)
	want := []int64{page.Claims[0].ID, page.Claims[1].ID}
	slices.Sort(want)
	if d := cmp.Diff(want, done); d != "" {
		t.Fatalf("tried again (-want +got):\n%s", d)
	}
	wantWhole(t, f)
	if got := ledger(t, f); len(got) != 3 {
		t.Fatalf("%d entries", len(got))
	}
	for i, d := range ledger(t, f) {
		was := before[i]
		if was.State == exportops.DeletionDone {
			if diff := cmp.Diff(was, d); diff != "" {
				t.Fatalf("a file that is gone (-want +got):\n%s", diff)
			}
			continue
		}
		if d.State != exportops.DeletionFailed || d.Failures != 0 || d.Interrupted() != was.Interrupted() || d.RetriedBy != "me" ||
			d.RetriedAt == nil || !d.RetriedAt.Equal(later.Time) || d.Error != was.Error {
			t.Fatalf("tried again is %+v, was %+v", d, was)
		}
	}
	if n := chainAll(t, f, check(fence, noon), later); n != 2 {
		t.Fatalf("%d entries were linked anew, want 2", n)
	}
	wantWhole(t, f)
	if _, err := f.Store.RetryDeletions(t.Context(), nil, "me", later); err != nil {
		t.Fatal(err)
	}
}
