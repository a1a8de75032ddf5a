package storetest

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// due returns a completed row with a file that expired at the time given.
func due(expired exportops.Time, change ...func(*Row)) Row {
	r := Row{ExpiresAt: ptr(expired.String())}
	for _, c := range change {
		c(&r)
	}
	r = r.Complete(after(expired, -24*time.Hour))
	if r.FileURL == nil {
		r.FileURL = ptr("a/" + r.ExportID + ".jsonl")
	}
	return r
}

// claim claims a page, with what claimAll leaves open filled in by change.
func claim(t testing.TB, f Fixture, fence exportops.Fence, change ...func(*exportops.ClaimRequest)) exportops.ClaimPage {
	t.Helper()
	r := claimAll
	for _, c := range change {
		c(&r)
	}
	page, err := f.Store.ClaimFiles(t.Context(), check(fence, noon), r)
	must(t, err)
	if len(page.Decisions) != len(page.Candidates) || len(page.Claims) != len(page.Candidates) {
		t.Fatalf("%d decisions and %d claims for %d candidates", len(page.Decisions), len(page.Claims), len(page.Candidates))
	}
	return page
}

// ledger reads all entries, newest first.
func ledger(t testing.TB, f Fixture) []exportops.Deletion {
	t.Helper()
	all, err := f.Store.Deletions(t.Context(), exportops.DeletionFilter{Limit: exportops.MaxPage})
	must(t, err)
	return all
}
