package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testAttempts(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	// fail lets a run of its own claim the one row, and fail.
	fail := func(t *testing.T, f Fixture) exportops.Deletion {
		t.Helper()
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionFailed, Error: "disk on fire"}})
		must(t, err)
		finish(t, f, fence, noon, exportops.RunFailed)
		l := ledger(t, f)
		if len(l) != 1 || l[0].FinishedAt == nil || l[0].Error != "disk on fire" || !l[0].FailedIn(fence.RunID) {
			t.Fatalf("the ledger holds %+v, want one entry that failed", l)
		}
		return l[0]
	}
	t.Run("an_entry_is_quarantined_after_five_failed_runs", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour))
		for n := 1; n <= exportops.QuarantineAfter; n++ {
			want := exportops.DeletionFailed
			if n == exportops.QuarantineAfter {
				want = exportops.DeletionQuarantined
			}
			if d := fail(t, f); d.State != want || d.Attempts != n || d.Failures != n {
				t.Fatalf("after %d failures: %+v, want it %s", n, d, want)
			}
		}
		page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 5)
		must(t, err)
		if p := page[0].Prior; p == nil || p.State != exportops.DeletionQuarantined || p.Failures != 5 || p.Attempts != 5 || p.Error != "disk on fire" {
			t.Fatalf("the row comes with %+v", p)
		}
	})
	t.Run("a_refusal_is_a_failure_of_its_run", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour))
		for n := 1; n <= exportops.QuarantineAfter; n++ {
			_, fence := begin(t, f, exportops.Started)
			claim(t, f, fence, func(r *exportops.ClaimRequest) {
				r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
					return []exportops.Decision{{Verdict: exportops.Refuse, Reason: "not ours"}}
				}
			})
			finish(t, f, fence, noon, exportops.RunFailed)
			d := ledger(t, f)
			if len(d) != 1 || d[0].Failures != n || d[0].Attempts != n || !d[0].FailedIn(fence.RunID) || (d[0].State == exportops.DeletionQuarantined) != (n == 5) {
				t.Fatalf("after %d refusals: %+v", n, d)
			}
		}
	})
	t.Run("five_crashes_quarantine_nothing", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour))
		_, fence := begin(t, f, exportops.Started)
		claim(t, f, fence)
		now := noon
		for n := 2; n <= 7; n++ {
			now = after(now, lease)
			_, fence = begin(t, f, exportops.TookOver, at(now))
			open, _, err := f.Store.Reclaim(t.Context(), check(fence, now), 5, func(exportops.OpenClaim) bool { return true })
			must(t, err)
			if len(open) != 1 || open[0].Attempts != n || open[0].Failures != 0 || open[0].Interrupted() != n {
				t.Fatalf("after %d crashes: %+v", n-1, open)
			}
		}
		d := ledger(t, f)[0]
		if d.State != exportops.DeletionClaimed || d.Attempts != 7 {
			t.Fatalf("after seven attempts: %+v", d)
		}
		_, err := f.Store.Settle(t.Context(), check(fence, now), []exportops.Settlement{{Claim: &d, State: exportops.DeletionFailed}})
		must(t, err)
		if d := ledger(t, f)[0]; d.State != exportops.DeletionFailed || d.Failures != 1 || d.Interrupted() != 6 {
			t.Fatalf("after one failure: %+v", d)
		}
	})
	t.Run("what_failed_is_claimed_again", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour))
		for range exportops.QuarantineAfter { // the last is quarantined, and claimed all the same where one says so
			failed := fail(t, f)
			run, fence := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup))
			page := claim(t, f, fence, func(r *exportops.ClaimRequest) {
				r.Selection.Mode = exportops.ByErasure
				r.ExportIDs = []string{failed.ExportID}
				r.Store = "moved"
			})
			want := failed
			want.State, want.RunID, want.Attempts, want.Error, want.FinishedAt, want.Mode, want.Store = exportops.DeletionClaimed, run.ID, failed.Attempts+1, "", nil, exportops.ByErasure, "moved"
			if d := cmp.Diff([]exportops.Deletion{want}, ledger(t, f)); d != "" {
				t.Fatalf("claimed again (-want +got):\n%s", d)
			}
			if d := cmp.Diff(&want, page.Claims[0]); d != "" {
				t.Fatalf("claimed again (-want +got):\n%s", d)
			}
			// It is left open, and recovered as a failure, so that attempts rise by two a turn.
			_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionFailed}})
			must(t, err)
			finish(t, f, fence, noon, exportops.RunFailed)
			if failed.State == exportops.DeletionQuarantined {
				return
			}
		}
	})
	t.Run("what_was_not_sent_is_given_back", func(t *testing.T) { unclaim(t, open(t), fail) })
	t.Run("a_later_generation_has_an_entry_of_its_own", func(t *testing.T) { generations(t, open) })
}

func generations(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	for name, again := range map[string]string{
		"another_file": `file_url = 'again'`, "another_expiry": `expires_at = '2025-10-31T11:30:00.000Z'`,
	} {
		for _, state := range []exportops.DeletionState{exportops.DeletionFailed, exportops.DeletionDone, exportops.DeletionChanged} {
			t.Run(name+"_after_"+string(state), func(t *testing.T) {
				f := open(t)
				f.Insert(t, due(hour))
				_, fence := begin(t, f, exportops.Started)
				page := claim(t, f, fence)
				_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: page.Claims[0], State: state}})
				must(t, err)
				f.Exec(t, `UPDATE {logs} SET status = 'completed', `+again)
				page = claim(t, f, fence)
				if p := page.Candidates[0].Prior; p != nil {
					t.Fatalf("the new file comes with the old one's entry: %+v", p)
				}
				l := ledger(t, f)
				if len(l) != 2 || l[0].Attempts != 1 || l[0].Failures != 0 || l[0].State != exportops.DeletionClaimed || l[1].State != state {
					t.Fatalf("the ledger holds %+v", l)
				}
			})
		}
	}
	t.Run("the_same_again_after_success", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour))
		_, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone, Bytes: 3}})
		must(t, err)
		f.Exec(t, `UPDATE {logs} SET status = 'completed'`)
		page = claim(t, f, fence)
		if p := page.Candidates[0].Prior; p == nil || p.State != exportops.DeletionDone {
			t.Fatalf("it comes with the entry %+v, want its deletion", p)
		}
		if l := ledger(t, f); len(l) != 2 || l[0].State != exportops.DeletionClaimed || l[0].Attempts != 1 || l[1].Bytes != 3 || l[1].State != exportops.DeletionDone {
			t.Fatalf("the ledger holds %+v", l)
		}
		if p := claim(t, f, fence).Candidates[0].Prior; p == nil || p.State != exportops.DeletionClaimed {
			t.Fatalf("it comes with the entry %+v, want the newest", p)
		}
	})
}
