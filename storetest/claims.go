package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testDeletions(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("modes", func(t *testing.T) { testModes(t, open) })
	t.Run("pages", func(t *testing.T) { testPages(t, open) })
	t.Run("claim", func(t *testing.T) { testClaims(t, open) })
	t.Run("count", func(t *testing.T) { testAttempts(t, open) })
	t.Run("settle", func(t *testing.T) { testSettle(t, open) })
	t.Run("reclaim", func(t *testing.T) { testReclaim(t, open) })
}

func testClaims(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	t.Run("a_claim_keeps_what_it_saw", func(t *testing.T) {
		f := open(t)
		r := due(hour, func(r *Row) { r.FileSize = ptr(int64(7)) })
		f.Insert(t, r)
		run, fence := begin(t, f, exportops.Started)
		page := claim(t, f, fence)
		want := exportops.Deletion{
			ExportID: r.ExportID, UserID: r.UserID, Mode: exportops.ByExpiry, State: exportops.DeletionClaimed, Store: "store",
			Bucket: "exports", Key: r.ExportID, FileURL: r.FileURL, ExpiresAt: r.ExpiresAt, FileSize: r.FileSize,
			RowStatus: exportops.Completed, RunID: run.ID, Attempts: 1, ClaimedAt: noon,
		}
		if len(page.Claims) != 1 || page.Claims[0] == nil {
			t.Fatalf("claims %+v, want one", page.Claims)
		}
		want.ID = page.Claims[0].ID
		if d := cmp.Diff([]exportops.Deletion{want}, []exportops.Deletion{*page.Claims[0]}); d != "" {
			t.Fatalf("claimed (-want +got):\n%s", d)
		}
		if d := cmp.Diff([]exportops.Deletion{want}, ledger(t, f)); d != "" {
			t.Fatalf("kept (-want +got):\n%s", d)
		}
	})
	t.Run("a_candidate_is_the_row_as_it_is_stored", func(t *testing.T) {
		f := open(t)
		r := due(hour, func(r *Row) { r.FileSize = ptr(int64(7)) })
		if !f.Typed {
			r.UserID = "'; DROP TABLE export_logs; --"
		}
		f.Insert(t, r)
		page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 5)
		must(t, err)
		want := exportops.Candidate{
			Cursor: page[0].Cursor, ID: r.ID, ExportID: r.ExportID, UserID: r.UserID, Status: exportops.Completed, FileURL: r.FileURL,
			ExpiresAt: r.ExpiresAt, CreatedAt: r.CreatedAt, Timestamp: r.Timestamp, FileSize: r.FileSize, Format: exportops.Format(r.Format),
			Config: exportops.ReadConfig([]byte(r.Config), FactKeys),
		}
		if d := cmp.Diff([]exportops.Candidate{want}, page); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
	t.Run("only_what_is_told_to_is_recorded", func(t *testing.T) { refusals(t, open(t)) })
	t.Run("a_decision_is_missing", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(hour), due(hour))
		_, fence := begin(t, f, exportops.Started)
		r := claimAll
		r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision { return claimEach(page[:1], nil) }
		if _, err := f.Store.ClaimFiles(t.Context(), check(fence, noon), r); err == nil || errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("error %v, want one about the decisions", err)
		}
		if l := ledger(t, f); len(l) != 0 {
			t.Fatalf("the ledger holds %+v", l)
		}
	})
	t.Run("a_key_has_one_open_claim", func(t *testing.T) { sharedKey(t, open(t)) })
	t.Run("two_runs_never_claim_the_same_key", func(t *testing.T) { racingClaims(t, open(t)) })
	t.Run("rows_that_are_named", func(t *testing.T) { namedRows(t, open(t)) })
	t.Run("rows_that_keep_a_key_alive", func(t *testing.T) { keyRows(t, open(t)) })
	t.Run("entries_are_listed_newest_first", func(t *testing.T) { listEntries(t, open(t)) })
}

// toKey claims every row of a page under one key.
func toKey(key string) func(*exportops.ClaimRequest) {
	return func(r *exportops.ClaimRequest) {
		r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
			out := claimEach(page, nil)
			for i := range out {
				out[i].Location.Key = key
			}
			return out
		}
	}
}

func refusals(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	rows := map[exportops.Verdict]Row{}
	for _, v := range []exportops.Verdict{exportops.Claim, exportops.Expire, exportops.Refuse, exportops.Postpone, exportops.PassOver} {
		rows[v] = due(hour)
		f.Insert(t, rows[v])
	}
	_, fence := begin(t, f, exportops.Started)
	page := claim(t, f, fence, func(r *exportops.ClaimRequest) {
		r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
			out := make([]exportops.Decision, len(page))
			for i, c := range page {
				for v, row := range rows {
					if row.ExportID == c.ExportID {
						out[i] = exportops.Decision{Verdict: v, Reason: "outside the bucket"}
					}
				}
				if out[i].Verdict == exportops.Claim {
					out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "b", Key: "k"}}
				}
			}
			return out
		}
	})
	for i, c := range page.Claims {
		if claimed := page.Decisions[i].Verdict == exportops.Claim; claimed && c == nil {
			t.Fatal("there is no claim")
		} else if v := page.Decisions[i].Verdict; c != nil && !claimed && v != exportops.Refuse {
			t.Fatalf("%s led to the entry %+v", v, c)
		}
	}
	l := ledger(t, f)
	if len(l) != 2 {
		t.Fatalf("the ledger holds %+v, want a claim and a refusal", l)
	}
	refused := l[0]
	if refused.ExportID != rows[exportops.Refuse].ExportID {
		refused = l[1]
	}
	want := exportops.Deletion{
		ID: refused.ID, ExportID: rows[exportops.Refuse].ExportID, UserID: rows[exportops.Refuse].UserID, Mode: exportops.ByExpiry,
		State: exportops.DeletionFailed, Store: "store", FileURL: rows[exportops.Refuse].FileURL, ExpiresAt: rows[exportops.Refuse].ExpiresAt,
		RowStatus: exportops.Completed, RunID: fence.RunID, Attempts: 1, Failures: 1, Error: "outside the bucket", ClaimedAt: noon, FinishedAt: &noon,
	}
	if d := cmp.Diff(want, refused); d != "" {
		t.Fatalf("the refusal (-want +got):\n%s", d)
	}
}

func sharedKey(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	f.Insert(t, due(hour), due(after(hour, time.Second)))
	_, fence := begin(t, f, exportops.Started)
	first := claim(t, f, fence, toKey("k"))
	if first.Claims[0] == nil || first.Claims[1] != nil {
		t.Fatalf("claims %+v, want the first row's alone", first.Claims)
	}
	// Another bucket or another store is another file.
	elsewhere := claim(t, f, fence, toKey("k"), func(r *exportops.ClaimRequest) {
		r.Store, r.ExportIDs = "other", []string{first.Candidates[1].ExportID}
	})
	if elsewhere.Claims[0] == nil {
		t.Fatal("the same key in another store was not claimed")
	}
	_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{
		{Claim: first.Claims[0], State: exportops.DeletionFailed}, {Claim: elsewhere.Claims[0], State: exportops.DeletionFailed},
	})
	must(t, err)
	// The key is free; the row that failed may be second this time.
	second := claim(t, f, fence, toKey("k"))
	if second.Claims[0] == nil || second.Claims[1] != nil {
		t.Fatalf("claims %+v, want the first row's alone", second.Claims)
	}
	page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 1)
	must(t, err)
	if p := page[0].Prior; p == nil || p.State != exportops.DeletionClaimed || p.ID != second.Claims[0].ID {
		t.Fatalf("the claim in flight shows as %+v", p)
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_deletions`); n != 2 {
		t.Fatalf("%d entries, want one a row", n)
	}
}

func racingClaims(t *testing.T, f Fixture) {
	rows := make([]Row, 40)
	for i := range rows {
		rows[i] = due(after(noon, -time.Hour))
	}
	f.Insert(t, rows...)
	_, a := begin(t, f, exportops.Started)
	_, b := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup))
	var wg sync.WaitGroup
	var mu sync.Mutex
	claimed := map[string]int{}
	for i, fence := range []exportops.Fence{a, b, a, b, a, b} {
		wg.Go(func() {
			r := claimAll
			if i < 2 {
				r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision { // from the end
					return claimEach(page, nil)
				}
			}
			page, err := f.Store.ClaimFiles(t.Context(), check(fence, noon), r)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, c := range page.Claims {
				if c != nil {
					claimed[c.Key]++
				}
			}
		})
	}
	wg.Wait()
	for key, n := range claimed {
		if n != 1 {
			t.Fatalf("%s was claimed %d times", key, n)
		}
	}
	if l := ledger(t, f); len(claimed) != len(rows) || len(l) != len(rows) {
		t.Fatalf("%d claims and %d entries for %d rows", len(claimed), len(l), len(rows))
	}
}

func namedRows(t *testing.T, f Fixture) {
	later, other, queued := due(after(noon, time.Hour)), due(after(noon, -time.Hour)), Row{Status: "queued"}.Complete(noon)
	f.Insert(t, later, other, queued)
	_, fence := begin(t, f, exportops.Started)
	var seen, watched []string
	page := claim(t, f, fence, func(r *exportops.ClaimRequest) {
		r.ExportIDs, r.Watch = []string{later.ExportID, exportops.NewID()}, []string{queued.ExportID, "", later.ExportID}
		r.Decide = func(page, others []exportops.Candidate) []exportops.Decision {
			seen, watched = nil, nil
			for _, c := range page {
				seen = append(seen, c.ExportID)
			}
			for _, c := range others {
				watched = append(watched, c.ExportID)
			}
			return claimEach(page, others)
		}
	})
	if d := cmp.Diff([]string{later.ExportID}, seen); d != "" || page.Next != "" || page.Claims[0] == nil {
		t.Fatalf("the rows that were named (-want +got):\n%s", d)
	}
	if len(watched) != 2 || len(page.Claims) != 1 || len(ledger(t, f)) != 1 {
		t.Fatalf("watched %v and claimed %d, want two and one", watched, len(page.Claims))
	}
	if page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.ExportIDs = []string{} }); len(page.Candidates) != 0 {
		t.Fatalf("no name stands for %d rows", len(page.Candidates))
	}
	got, err := f.Store.CandidatesByID(t.Context(), []string{other.ExportID, later.ExportID, "'; --", other.ExportID})
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("%d rows, want two", len(got))
	}
	for _, c := range got {
		if (c.Prior != nil) != (c.ExportID == later.ExportID) {
			t.Fatalf("row %s comes with the entry %+v", c.ExportID, c.Prior)
		}
	}
	if got, err := f.Store.CandidatesByID(t.Context(), nil); err != nil || len(got) != 0 {
		t.Fatalf("no ids stand for %d rows, %v", len(got), err)
	}
}

func keyRows(t *testing.T, f Fixture) {
	want := map[string]exportops.KeyRow{}
	for _, status := range exportops.Statuses {
		for _, url := range []*string{ptr("a/b"), ptr(""), nil} {
			for _, asked := range []exportops.Time{noon, after(noon, -time.Millisecond)} {
				r := Row{Status: string(status), FileURL: url}.Complete(asked)
				f.Insert(t, r)
				if (status == exportops.Completed || status.InProgress()) && url != nil && *url != "" {
					want[r.ExportID] = exportops.KeyRow{ExportID: r.ExportID, UserID: r.UserID, Status: status, FileURL: *url}
				}
			}
		}
	}
	read := func(since exportops.Time) map[string]exportops.KeyRow {
		got := map[string]exportops.KeyRow{}
		for k, err := range f.Store.KeyRows(t.Context(), since) {
			must(t, err)
			got[k.ExportID] = k
		}
		return got
	}
	if d := cmp.Diff(want, read(exportops.Time{})); d != "" || len(want) != 6 {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if got := read(noon); len(got) != 3 {
		t.Fatalf("%d rows since noon, want 3", len(got))
	}
	if got := read(after(noon, time.Millisecond)); len(got) != 0 {
		t.Fatalf("%d rows since later, want none", len(got))
	}
	for _, err := range f.Store.KeyRows(t.Context(), exportops.Time{}) {
		must(t, err)
		break // who has seen enough may stop
	}
}

func listEntries(t *testing.T, f Fixture) {
	for i := range 7 {
		f.Insert(t, due(after(noon, time.Duration(i-8)*time.Minute)))
	}
	_, a := begin(t, f, exportops.Started)
	page := claim(t, f, a, func(r *exportops.ClaimRequest) { r.Limit = 4 })
	_, err := f.Store.Settle(t.Context(), check(a, noon), []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}, {Claim: page.Claims[1], State: exportops.DeletionFailed}})
	must(t, err)
	_, b := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup))
	claim(t, f, b, func(r *exportops.ClaimRequest) { r.After = page.Next })
	all := ledger(t, f)
	for name, filter := range map[string]exportops.DeletionFilter{
		"all": {}, "export": {ExportID: page.Claims[2].ExportID}, "run": {RunID: b.RunID}, "claimed": {State: exportops.DeletionClaimed},
		"deleted": {State: exportops.DeletionDone}, "failed": {State: exportops.DeletionFailed}, "before": {Before: all[2].ID},
		"claimed_before": {State: exportops.DeletionClaimed, Before: all[2].ID}, "run_and_state": {RunID: a.RunID, State: exportops.DeletionClaimed},
		"id": {ID: all[1].ID}, "from": {From: noon}, "to": {To: after(noon, time.Millisecond)},
		"every_filter": {ExportID: page.Claims[1].ExportID, RunID: a.RunID, State: exportops.DeletionFailed, Before: all[0].ID},
	} {
		var want, got []exportops.Deletion
		for _, d := range all {
			if (filter.ExportID == "" || filter.ExportID == d.ExportID) && (filter.RunID == "" || filter.RunID == d.RunID) &&
				(filter.State == "" || filter.State == d.State) && (filter.ID == 0 || filter.ID == d.ID) &&
				!d.ClaimedAt.Before(filter.From.Time) && (filter.To.IsZero() || d.ClaimedAt.Before(filter.To.Time)) && (filter.Before == 0 || d.ID < filter.Before) {
				want = append(want, d)
			}
		}
		for filter.Limit = 2; ; {
			page, err := f.Store.Deletions(t.Context(), filter)
			must(t, err)
			if got = append(got, page...); len(page) < 2 {
				break
			}
			filter.Before = page[1].ID
		}
		if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
			t.Fatalf("%s (-want +got):\n%s", name, d)
		}
	}
	for i := range all[1:] {
		if all[i].ID <= all[i+1].ID {
			t.Fatalf("entry %d stands before %d", all[i].ID, all[i+1].ID)
		}
	}
	some, err := f.Store.DeletionsOf(t.Context(), []string{all[0].ExportID, all[2].ExportID, exportops.NewID()})
	must(t, err)
	if d := cmp.Diff([]exportops.Deletion{all[2], all[0]}, some); d != "" {
		t.Fatalf("of two exports (-want +got):\n%s", d)
	}
	for name, filter := range map[string]exportops.DeletionFilter{"later": {From: after(noon, time.Millisecond)}, "earlier": {To: noon}, "no_such": {ID: 99}} {
		if got, err := f.Store.Deletions(t.Context(), filter); err != nil || len(got) != 0 {
			t.Fatalf("%s: %d entries, %v", name, len(got), err)
		}
	}
}
