package storetest

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// chainAll links what is to be linked, two at a time.
func chainAll(t testing.TB, f Fixture, cp exportops.Checkpoint, now exportops.Time) (linked int) {
	t.Helper()
	cp.Now = now
	for last, more := int64(0), true; more; more = last != 0 {
		var n int
		var err error
		n, last, err = f.Store.ChainDeletions(t.Context(), cp, last, 2)
		must(t, err)
		linked += n
	}
	return linked
}

// longAfter is when days of a ledger are old enough to be pruned.
var longAfter = after(noon, 2*exportops.KeepRecords)

func verify(t testing.TB, f Fixture) exportops.ChainReport {
	t.Helper()
	r, err := exportops.VerifyChain(t.Context(), f.Store, 0, longAfter)
	must(t, err)
	return r
}

// wantWhole fails where the chain of the ledger is broken.
func wantWhole(t testing.TB, f Fixture) {
	t.Helper()
	if r := verify(t, f); len(r.Breaks) > 0 {
		t.Fatalf("the ledger does not hold together: %+v", r.Breaks)
	}
}

// ledgerOf fills a ledger as its life fills it: files deleted, absent and failed
// on three days, failures tried again, changed rows, and what is under way.
func ledgerOf(t testing.TB, f Fixture) exportops.Checkpoint {
	t.Helper()
	for i := range 12 {
		f.Insert(t, due(after(noon, time.Duration(i-20)*time.Minute)))
	}
	_, fence := begin(t, f, exportops.Started)
	states := []exportops.DeletionState{exportops.DeletionDone, exportops.DeletionFailed, exportops.DeletionAbsent, exportops.DeletionFailed}
	cp := check(fence, noon)
	for day := range 3 {
		cp.Now = after(noon, time.Duration(day)*24*time.Hour)
		r := claimAll
		r.Limit = 7
		page, err := f.Store.ClaimFiles(t.Context(), cp, r)
		must(t, err)
		var batch []exportops.Settlement
		for i, c := range page.Claims {
			if day == 1 && i == 0 {
				// It was changed meanwhile, and so ends as changed.
				f.Exec(t, `UPDATE {logs} SET file_url = 'other' WHERE export_id = ?`, c.ExportID)
			}
			s := exportops.Settlement{Claim: c, State: states[(i+day)%4], Bytes: int64(i)}
			if s.State == exportops.DeletionFailed {
				s.Error = "no"
			}
			batch = append(batch, s)
		}
		_, err = f.Store.Settle(t.Context(), cp, batch)
		must(t, err)
		if linked := chainAll(t, f, cp, cp.Now); linked != len(batch) {
			t.Fatalf("%d entries were linked, want %d", linked, len(batch))
		}
		wantWhole(t, f)
	}
	return cp
}

func testChain(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("an_empty_ledger_holds", func(t *testing.T) {
		if r := verify(t, open(t)); r.Days != 0 || len(r.Breaks) != 0 || r.Head != "" {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("every_outcome_is_linked", func(t *testing.T) {
		f := open(t)
		cp := ledgerOf(t, f)
		moved := f.Count(t, `SELECT count(*) FROM exportops_deletion_links`)
		linked := f.Count(t, `SELECT count(*) FROM exportops_deletions WHERE chain_day IS NOT NULL`)
		r := verify(t, f)
		if r.Days != 3 || r.Links != moved+linked || moved == 0 || r.Unchained != 0 || r.HeadDay != "2025-11-02" || len(r.Head) != 64 {
			t.Fatalf("%d entries and %d places that were left: %+v", linked, moved, r)
		}
		if n := chainAll(t, f, cp, cp.Now); n != 0 {
			t.Fatalf("%d entries were linked again", n)
		}
		if last, err := exportops.VerifyChain(t.Context(), f.Store, 1, longAfter); err != nil || last.Days != 1 || last.Links >= r.Links {
			t.Fatalf("the last day: %+v, %v", last, err)
		}
	})
	t.Run("days_never_go_backwards", func(t *testing.T) {
		f := open(t)
		f.Insert(t, due(after(noon, -time.Hour)), due(after(noon, -2*time.Hour)))
		_, fence := begin(t, f, exportops.Started)
		for i := range 2 {
			page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.Limit = 1 })
			_, err := f.Store.Settle(t.Context(), check(fence, noon), []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
			must(t, err)
			chainAll(t, f, check(fence, noon), after(noon, time.Duration(-i)*48*time.Hour))
		}
		if r := verify(t, f); r.Days != 1 || r.Links != 2 || r.HeadDay != "2025-10-31" || len(r.Breaks) != 0 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a_run_that_was_lost_links_nothing", func(t *testing.T) {
		f := open(t)
		cp := ledgerOf(t, f)
		cp.Token++
		_, _, err := f.Store.ChainDeletions(t.Context(), cp, 0, 9)
		wantFenced(t, "ChainDeletions", err)
		_, _, err = f.Store.ForgetDeletions(t.Context(), cp, dead, 9)
		wantFenced(t, "ForgetDeletions", err)
	})
	t.Run("what_was_erased_is_no_break", func(t *testing.T) { eraseEntries(t, open(t)) })
	t.Run("whatever_is_changed_shows", func(t *testing.T) { tamper(t, open) })
}

// erase takes what identifies an entry, and its salt.
const erase = `UPDATE exportops_deletions SET export_id = NULL, user_id = NULL, key = NULL, file_url = NULL, error = '', salt = NULL WHERE id = ?`

func eraseEntries(t *testing.T, f Fixture) {
	ledgerOf(t, f)
	for _, d := range ledger(t, f) {
		f.Exec(t, erase, d.ID)
		wantWhole(t, f)
	}
	r := verify(t, f)
	if want := f.Count(t, `SELECT count(*) FROM exportops_deletions`); r.Erased != want || want == 0 {
		t.Fatalf("%d of %d entries are erased", r.Erased, want)
	}
	// What else they say is held to all the same.
	id := ledger(t, f)[0].ID
	f.Exec(t, `UPDATE exportops_deletions SET bytes = bytes + 1 WHERE id = ?`, id)
	if r := verify(t, f); len(r.Breaks) != 1 || r.Breaks[0].Entry != id || r.Breaks[0].Kind != exportops.BreakChanged {
		t.Fatalf("%+v, want entry %d changed", r.Breaks, id)
	}
}
