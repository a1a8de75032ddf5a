package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testGuards(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("counts_candidates_no_further_than_asked", func(t *testing.T) {
		f := open(t)
		for range 5 {
			expired := after(noon, -time.Hour).String()
			f.Insert(t, Row{CreatedAt: after(noon, -2*time.Hour).String(), ExpiresAt: &expired}.Complete(after(noon, -2*time.Hour)))
		}
		f.Insert(t, Row{}.Complete(noon))
		sel := exportops.Selection{Mode: exportops.ByExpiry, Now: noon}
		logs := exportops.LogSelection{Cut: after(noon, -time.Minute)}
		for most, want := range map[int64]int64{1: 1, 4: 4, 5: 5, 6: 5, 100: 5} {
			n, err := f.Store.CountCandidatesUpTo(t.Context(), sel, most)
			must(t, err)
			rows, err := f.Store.CountLogRowsUpTo(t.Context(), logs, most)
			must(t, err)
			if n != want || rows != want {
				t.Errorf("%d candidates and %d rows up to %d, want %d", n, rows, most, want)
			}
		}
	})
	t.Run("returns_the_last_runs_that_nothing_refused", func(t *testing.T) {
		f := open(t)
		var want []string
		states := []exportops.RunState{
			exportops.RunDone, exportops.RunRefused, exportops.RunPartial, exportops.RunFailed, exportops.RunDone,
		}
		for i, state := range states {
			now := after(noon, time.Duration(i)*time.Hour)
			_, fence := begin(t, f, exportops.Started, at(now))
			run := finish(t, f, fence, now, state)
			if state != exportops.RunRefused && i > 0 { // the first is one too many
				want = append([]string{run.ID}, want...)
			}
		}
		must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{after(noon, 6*time.Hour)}, exportops.RunMissed, after(noon, 7*time.Hour)))
		begin(t, f, exportops.Started, at(after(noon, 8*time.Hour)))
		begin(t, f, exportops.Started, ofJob(exportops.LogCleanup), at(after(noon, 8*time.Hour)))
		runs, err := f.Store.FinishedRuns(t.Context(), exportops.FileCleanup, 3)
		must(t, err)
		var got []string
		for _, r := range runs {
			got = append(got, r.ID)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
	})
	t.Run("knows_when_the_newest_cleanup_was", func(t *testing.T) {
		f := open(t)
		newest := func(runID string) *exportops.Time {
			t.Helper()
			r, err := f.Store.Clock(t.Context(), runID)
			must(t, err)
			if r.Now != nil && time.Since(r.Now.Time).Abs() > time.Minute {
				t.Errorf("its clock says %s", r.Now)
			}
			return r.Newest
		}
		wantTime := func(what string, got *exportops.Time, want *exportops.Time) {
			t.Helper()
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
		}
		wantTime("nothing", newest(""), nil)
		run, fence := begin(t, f, exportops.Started, at(noon))
		wantTime("itself", newest(run.ID), nil)
		wantTime("begun", newest("another"), &noon)
		later := after(noon, time.Hour)
		finish(t, f, fence, later, exportops.RunDone)
		wantTime("ended", newest("another"), &later)
		begin(t, f, exportops.Started, ofJob(exportops.MetricsAggregate), at(after(noon, 2*time.Hour)))
		wantTime("an aggregation", newest("another"), &later)
		_, fence = begin(t, f, exportops.Started, at(after(noon, 3*time.Hour)))
		finish(t, f, fence, after(noon, 3*time.Hour), exportops.RunRefused)
		wantTime("a refusal", newest("another"), &later)
	})
}
