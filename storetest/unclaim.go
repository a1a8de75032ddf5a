package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// unclaim takes back a page of one row that has failed before, one that is new, and
// one that is refused. fail has a run of its own fail with the one row there is.
func unclaim(t *testing.T, f Fixture, fail func(*testing.T, Fixture) exportops.Deletion) {
	early, old, refused := due(after(noon, -3*time.Hour)), due(after(noon, -2*time.Hour)), due(after(noon, -time.Hour))
	f.Insert(t, old)
	was := fail(t, f)
	f.Insert(t, early, refused)

	later := after(noon, time.Minute)
	_, fence := begin(t, f, exportops.Started, at(later))
	_, _, err := f.Store.ChainDeletions(t.Context(), check(fence, later), 0, 10)
	must(t, err)
	r := claimAll
	r.Decide = func(page, others []exportops.Candidate) []exportops.Decision {
		all := claimEach(page, others)
		all[2] = exportops.Decision{Verdict: exportops.Refuse, Reason: "not ours"}
		return all
	}
	page, err := f.Store.ClaimFiles(t.Context(), check(fence, later), r)
	must(t, err)
	if len(page.Claims) != 3 || len(ledger(t, f)) != 3 {
		t.Fatalf("the page is %+v", page)
	}
	late := after(later, time.Minute)
	must(t, f.Store.Unclaim(t.Context(), check(fence, late), page))
	if d := cmp.Diff([]exportops.Deletion{*page.Claims[2], was}, ledger(t, f)); d != "" {
		t.Fatalf("the ledger (-want +got):\n%s", d)
	}
	// It is linked again, as it says once more what it said before.
	n, _, err := f.Store.ChainDeletions(t.Context(), check(fence, late), 0, 10)
	must(t, err)
	if n != 2 {
		t.Fatalf("%d entries are linked, want both", n)
	}
	wantWhole(t, f)
	// Nothing is left to be taken back, and what was is claimed by the next.
	wantFenced(t, "Unclaim", f.Store.Unclaim(t.Context(), check(fence, late), page))
	finish(t, f, fence, late, exportops.RunPartial)
	_, fence = begin(t, f, exportops.Started, at(after(late, time.Minute)))
	page = claim(t, f, fence)
	for i, attempts := range []int{1, 2, 2} {
		if c := page.Claims[i]; c == nil || c.Attempts != attempts {
			t.Fatalf("claim %d of the next run is %+v, want attempt %d", i, c, attempts)
		}
	}
}
