package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testReclaim(t *testing.T, open func(testing.TB) Fixture) {
	resume := func(exportops.OpenClaim) bool { return true }
	for name, c := range map[string]struct {
		end   func(t *testing.T, f Fixture, fence exportops.Fence)
		now   exportops.Time
		found bool
	}{
		"a_living_run_keeps_its_claims":   {now: alive},
		"a_lease_that_is_over_frees_them": {now: dead, found: true},
		"a_lease_given_back_frees_them": {now: noon, found: true, end: func(t *testing.T, f Fixture, fence exportops.Fence) {
			c := check(fence, noon)
			c.Lease = 0
			must(t, f.Store.Renew(t.Context(), c))
		}},
		"a_run_that_ended_frees_them": {now: noon, found: true, end: func(t *testing.T, f Fixture, fence exportops.Fence) {
			finish(t, f, fence, noon, exportops.RunFailed)
		}},
		"a_run_that_was_given_up_frees_them": {now: dead, found: true, end: func(t *testing.T, f Fixture, fence exportops.Fence) {
			must(t, f.Store.EndAbandoned(t.Context(), fence.RunID, dead))
		}},
		"a_run_that_was_taken_over_frees_them": {now: dead, found: true, end: func(t *testing.T, f Fixture, _ exportops.Fence) {
			begin(t, f, exportops.TookOver, by("c"), at(dead)) // alive, and yet its claims are its dead holder's
		}},
		"a_run_nobody_knows_frees_them": {now: noon, found: true, end: func(t *testing.T, f Fixture, fence exportops.Fence) {
			f.Exec(t, `DELETE FROM exportops_runs WHERE id = ?`, fence.RunID)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := due(after(noon, -time.Hour))
			f.Insert(t, r)
			_, old := begin(t, f, exportops.Started)
			was := claim(t, f, old).Claims[0]
			if c.end != nil {
				c.end(t, f, old)
			}
			run, fence := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup), at(c.now))
			open, resumed, err := f.Store.Reclaim(t.Context(), check(fence, c.now), 5, resume)
			must(t, err)
			if !c.found {
				if len(open) != 0 || ledger(t, f)[0].RunID != old.RunID {
					t.Fatalf("reclaimed %+v", open)
				}
				return
			}
			want := *was
			want.RunID, want.Attempts = run.ID, 2
			if len(open) != 1 || len(resumed) != 1 || !resumed[0] {
				t.Fatalf("reclaimed %+v %v, want the one claim", open, resumed)
			}
			if d := cmp.Diff([]exportops.Deletion{want, want}, append(ledger(t, f), open[0].Deletion)); d != "" {
				t.Fatalf("reclaimed (-want +got):\n%s", d)
			}
			if row := open[0].Row; row == nil || row.ExportID != r.ExportID || row.Status != exportops.Completed || *row.FileURL != *r.FileURL {
				t.Fatalf("it comes with the row %+v", row)
			}
			if more, _, err := f.Store.Reclaim(t.Context(), check(fence, c.now), 5, resume); err != nil || len(more) != 0 {
				t.Fatalf("its own claims are handed out again: %+v %v", more, err)
			}
			// The dead holder comes too late, whatever it is told.
			_, err = f.Store.Settle(t.Context(), check(old, c.now), []exportops.Settlement{{Claim: was, State: exportops.DeletionDone}})
			wantFenced(t, "the old holder", err)
			if got := settleOne(t, f, fence, exportops.Settlement{Claim: &open[0].Deletion, State: exportops.DeletionDone}); !got.RowExpired {
				t.Fatalf("settled as %+v", got)
			}
		})
	}
	t.Run("the_next_holder_of_the_run_recovers_it", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(after(noon, -time.Hour)))
		_, old := begin(t, f, exportops.Started)
		claim(t, f, old)
		if open, _, err := f.Store.Reclaim(t.Context(), check(old, noon), 5, resume); err != nil || len(open) != 0 {
			t.Fatalf("a holder was handed its own claims: %+v %v", open, err)
		}
		_, fence := begin(t, f, exportops.TookOver, at(dead))
		open, _, err := f.Store.Reclaim(t.Context(), check(fence, dead), 5, resume)
		must(t, err)
		if len(open) != 1 || open[0].Attempts != 2 || open[0].RunID != fence.RunID {
			t.Fatalf("reclaimed %+v", open)
		}
	})
	t.Run("what_is_not_resumed_ends_as_changed", func(t *testing.T) { notResumed(t, open(t)) })
	t.Run("of_named_exports_alone", func(t *testing.T) {
		f := open(t)
		first, second := due(after(noon, -time.Hour)), due(after(noon, -2*time.Hour))
		f.Insert(t, first, second)
		_, old := begin(t, f, exportops.Started)
		claim(t, f, old)
		_, fence := begin(t, f, exportops.TookOver, at(dead))
		all := func(exportops.OpenClaim) bool { return true }
		open, _, err := f.Store.Reclaim(t.Context(), check(fence, dead), 9, all, second.ExportID, exportops.NewID())
		must(t, err)
		if len(open) != 1 || open[0].ExportID != second.ExportID {
			t.Fatalf("the named one is not what it found: %+v", open)
		}
		open, _, err = f.Store.Reclaim(t.Context(), check(fence, dead), 9, all)
		must(t, err)
		if len(open) != 1 || open[0].ExportID != first.ExportID {
			t.Fatalf("the other was not left: %+v", open)
		}
	})
	t.Run("batch_by_batch_until_none_is_left", func(t *testing.T) {
		f := open(t)
		for i := range 7 {
			f.Insert(t, due(after(noon, time.Duration(i-9)*time.Minute)))
		}
		_, old := begin(t, f, exportops.Started)
		claim(t, f, old)
		_, fence := begin(t, f, exportops.TookOver, at(dead))
		seen := map[int64]bool{}
		for _, want := range []int{3, 3, 1, 0} {
			open, resumed, err := f.Store.Reclaim(t.Context(), check(fence, dead), 3, func(o exportops.OpenClaim) bool { return o.ID%2 == 0 })
			must(t, err)
			if len(open) != want || len(resumed) != want {
				t.Fatalf("%d claims and %d answers, want %d", len(open), len(resumed), want)
			}
			for i, o := range open {
				if seen[o.ID] || resumed[i] != (o.ID%2 == 0) {
					t.Fatalf("claim %d comes twice, or with another's answer", o.ID)
				}
				seen[o.ID] = true
			}
		}
	})
}

func notResumed(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	gone, again, kept := due(hour), due(after(hour, time.Second)), due(after(hour, 2*time.Second))
	f.Insert(t, gone, again, kept)
	_, old := begin(t, f, exportops.Started)
	claim(t, f, old)
	f.Exec(t, `DELETE FROM {logs} WHERE export_id = ?`, gone.ExportID)
	f.Exec(t, `UPDATE {logs} SET file_url = 'again', updated_at = 'theirs' WHERE export_id = ?`, again.ExportID)
	_, fence := begin(t, f, exportops.TookOver, at(dead))
	open, resumed, err := f.Store.Reclaim(t.Context(), check(fence, dead), 9, func(o exportops.OpenClaim) bool {
		return o.Row != nil && *o.Row.FileURL == *o.FileURL // what the claim saw, and the row as it is now
	})
	must(t, err)
	if len(open) != 3 {
		t.Fatalf("%d claims, want 3", len(open))
	}
	for i, o := range open {
		if resumed[i] != (o.ExportID == kept.ExportID) || (o.Row == nil) != (o.ExportID == gone.ExportID) {
			t.Fatalf("claim %+v with the row %+v: resumed %v", o.Deletion, o.Row, resumed[i])
		}
	}
	for _, d := range ledger(t, f) {
		want := exportops.DeletionChanged
		if d.ExportID == kept.ExportID {
			want = exportops.DeletionClaimed
		}
		if d.State != want || (want == exportops.DeletionChanged) != (d.FinishedAt != nil) || (d.Error != "") != (d.FinishedAt != nil) {
			t.Fatalf("entry %+v, want it %s", d, want)
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE status = 'completed' AND updated_at = 'theirs'`); n != 1 {
		t.Fatal("the row that was changed was touched")
	}
	// The key is free for the new file.
	page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.ExportIDs = []string{again.ExportID} })
	if page.Claims[0] == nil || page.Claims[0].Attempts != 1 {
		t.Fatalf("the new file's claim is %+v", page.Claims[0])
	}
}
