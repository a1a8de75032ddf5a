package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// claimAll claims whatever is due at noon, under the name of its export.
var claimAll = exportops.ClaimRequest{
	Selection: exportops.Selection{Mode: exportops.ByExpiry, Now: noon}, Store: "store", Limit: 100, Decide: claimEach,
}

// claimEach claims every row of a page.
func claimEach(page, _ []exportops.Candidate) []exportops.Decision {
	out := make([]exportops.Decision, len(page))
	for i, c := range page {
		out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "exports", Key: c.ExportID}}
	}
	return out
}

func testFence(t *testing.T, open func(testing.TB) Fixture) {
	for name, lose := range map[string]func(*testing.T, Fixture, exportops.Fence) exportops.Fence{
		"a_holder_that_was_replaced": func(t *testing.T, f Fixture, old exportops.Fence) exportops.Fence {
			begin(t, f, exportops.TookOver, by("b"), at(dead))
			return old
		},
		"a_run_that_has_ended": func(t *testing.T, f Fixture, old exportops.Fence) exportops.Fence {
			finish(t, f, old, noon, exportops.RunDone)
			return old
		},
		"a_run_that_was_given_up": func(t *testing.T, f Fixture, old exportops.Fence) exportops.Fence {
			must(t, f.Store.EndAbandoned(t.Context(), old.RunID, dead))
			return old
		},
		"a_token_of_the_future": func(_ *testing.T, _ Fixture, old exportops.Fence) exportops.Fence {
			return exportops.Fence{RunID: old.RunID, Token: old.Token + 1}
		},
		"a_run_that_never_was": func(_ *testing.T, _ Fixture, old exportops.Fence) exportops.Fence {
			return exportops.Fence{RunID: exportops.NewID(), Token: old.Token}
		},
	} {
		t.Run(name+"_commits_nothing", func(t *testing.T) { fencedOut(t, open(t), lose) })
	}
}

// fencedOut loses a run that has claimed a file, and tries everything that a
// holder can do.
func fencedOut(t *testing.T, f Fixture, lose func(*testing.T, Fixture, exportops.Fence) exportops.Fence) {
	past := after(noon, -time.Hour)
	claimed, fresh := due(past), due(past)
	f.Insert(t, claimed, fresh)
	run, old := begin(t, f, exportops.Started)
	page := claim(t, f, old, func(r *exportops.ClaimRequest) { r.ExportIDs = []string{claimed.ExportID} })
	archive := intend(t, f, old, 0)
	fence := lose(t, f, old)
	c := check(fence, dead)
	c.Progress = json.RawMessage(`{"deleted_count":99}`)
	want := runOf(t, f, run.ID)

	never := func() { t.Error("it was asked what to do") }
	wantFenced(t, "Renew", f.Store.Renew(t.Context(), c))
	_, err := f.Store.FinishRun(t.Context(), c, exportops.RunPartial, "late")
	wantFenced(t, "FinishRun", err)
	r := claimAll
	r.Decide = func(page, others []exportops.Candidate) []exportops.Decision { never(); return claimEach(page, others) }
	_, err = f.Store.ClaimFiles(t.Context(), c, r)
	wantFenced(t, "ClaimFiles", err)
	_, err = f.Store.Settle(t.Context(), c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
	wantFenced(t, "Settle", err)
	wantFenced(t, "Unclaim", f.Store.Unclaim(t.Context(), c, page))
	_, _, err = f.Store.Reclaim(t.Context(), c, 9, func(exportops.OpenClaim) bool { never(); return true })
	wantFenced(t, "Reclaim", err)
	rows, _, err := f.Store.LogRows(t.Context(), exportops.LogSelection{Cut: dead}, "", 9)
	must(t, err)
	_, err = f.Store.DeleteLogRows(t.Context(), c, rows, func(exportops.LogDeletion) (json.RawMessage, error) { never(); return nil, nil })
	wantFenced(t, "DeleteLogRows", err)
	_, err = f.Store.BeginArchive(t.Context(), c, exportops.Archive{Month: noon}, 0, func(int64) string { never(); return "" })
	wantFenced(t, "BeginArchive", err)
	_, err = f.Store.RegisterArchive(t.Context(), c, exportops.Archive{Month: noon}, 0, nil)
	wantFenced(t, "RegisterArchive", err)
	for what, err := range archiveChanges(t, f, c, archive.ID) {
		wantFenced(t, what, err)
	}
	_, err = f.Store.AdoptArchives(t.Context(), c)
	wantFenced(t, "AdoptArchives", err)

	if d := cmp.Diff(want, runOf(t, f, run.ID)); d != "" {
		t.Fatalf("the run was changed:\n%s", d)
	}
	if d := cmp.Diff(archive, archiveOf(t, f, archive.ID)); d != "" {
		t.Fatalf("the archive was changed:\n%s", d)
	}
	if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE status = 'completed'`); n != 2 {
		t.Fatalf("%d rows are left as they were, want both", n)
	}
	if l := ledger(t, f); len(l) != 1 || l[0].State != exportops.DeletionClaimed || l[0].Attempts != 1 {
		t.Fatalf("the ledger holds %+v, want the open claim alone", l)
	}
}
