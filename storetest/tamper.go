package storetest

import (
	"fmt"
	"testing"

	"github.com/exportops/exportops"
)

// changes are what somebody may do to one column of an entry. A state that is
// taken back to claimed would have the file deleted again.
var changes = map[string][]string{
	"export_id": {"'7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b'", "NULL"}, "user_id": {"'7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b'", "NULL"},
	"key": {"key || 'x'", "NULL"}, "file_url": {"file_url || 'x'", "NULL"}, "error": {"error || 'x'", "''"},
	"mode": {"'age'"}, "state": {"CASE state WHEN 'deleted' THEN 'absent' ELSE 'deleted' END", "'claimed'", "'failed'", "'quarantined'"},
	"store": {"store || 'x'"}, "bucket": {"''"}, "expires_at": {"'2001-02-03T04:05:06.000Z'", "NULL"},
	"file_size": {"coalesce(file_size, 0) + 1"}, "row_status": {"'failed'"}, "run_id": {"run_id || 'x'"},
	"token": {"token + 1"}, "attempts": {"attempts + 1"}, "failures": {"failures + 1", "0"}, "bytes": {"bytes + 1"},
	"evidence": {"evidence || 'x'"}, "claimed_at": {"'2001-02-03T04:05:06.000Z'"},
	"finished_at": {"'2001-02-03T04:05:06.000Z'", "NULL"}, "next_try_at": {"'2001-02-03T04:05:06.000Z'", "NULL"},
	"retried_at": {"'2001-02-03T04:05:06.000Z'"}, "retried_by": {"'nobody'"},
	"salt": {"digest", "NULL"}, "digest": {"content", "NULL"}, "content": {"chain_hash", "NULL"}, "chain_hash": {"content", "NULL"},
	"chain_day": {"'2024-01-01'", "NULL"}, "chain_seq": {"chain_seq + 1000"},
}

func tamper(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	cp := ledgerOf(t, f)
	f.Exec(t, `CREATE TABLE exportops_backup AS SELECT * FROM exportops_deletions`)
	entries := ledger(t, f)
	for column, values := range changes {
		for _, value := range values {
			t.Run(column+"_to_"+value, func(t *testing.T) {
				tried := 0
				for i := 0; i < len(entries) && tried < 3; i++ {
					if changeOne(t, f, entries[i].ID, column, value) {
						tried++
					}
				}
				if tried == 0 {
					t.Fatal("no entry was changed by it")
				}
			})
		}
	}
	wantWhole(t, f) // all was put back
	t.Run("a_place_that_was_left", func(t *testing.T) { tamperMoved(t, f) })
	t.Run("a_day", func(t *testing.T) { tamperDays(t, f) })
	t.Run("days_that_were_not_pruned", func(t *testing.T) { tamperPruned(t, open(t)) })
	t.Run("places_that_are_exchanged", func(t *testing.T) { exchange(t, f) })
	t.Run("an_entry_put_in_again", func(t *testing.T) {
		// It takes a place of its own, and the old one shows that it is not there.
		f.Exec(t, `UPDATE exportops_deletions SET chain_day = NULL, chain_seq = NULL WHERE id = ?`, entries[1].ID)
		chainAll(t, f, cp, cp.Now)
		wantBroken(t, f, "an entry that was linked anew", exportops.BreakMissing)
	})
	for what, which := range map[string]string{
		"the_first": `min(id)`, "the_last": `max(id)`,
		"one_that_was_tried_again": `min(id) FILTER (WHERE attempts > 1)`,
	} {
		t.Run(what+"_that_is_gone", func(t *testing.T) {
			f := open(t)
			ledgerOf(t, f)
			id := f.Count(t, `SELECT `+which+` FROM exportops_deletions`)
			f.Exec(t, `DELETE FROM exportops_deletions WHERE id = ?`, id)
			wantBroken(t, f, what, exportops.BreakMissing, exportops.BreakTruncated)
		})
	}
}

// changeOne changes a column of an entry, wants that to show, and puts it back. It
// reports whether the change was one.
func changeOne(t *testing.T, f Fixture, id int64, column, value string) bool {
	t.Helper()
	f.Exec(t, fmt.Sprintf(`UPDATE exportops_deletions SET %s = %s WHERE id = ?`, column, value), id)
	changed := f.Count(t, fmt.Sprintf(`SELECT count(*) FROM exportops_deletions d JOIN exportops_backup b ON b.id = d.id
		WHERE d.id = ? AND d.%[1]s IS DISTINCT FROM b.%[1]s`, column), id) == 1
	if !changed {
		return false
	}
	r := verify(t, f)
	f.Exec(t, fmt.Sprintf(`UPDATE exportops_deletions SET %[1]s = (SELECT b.%[1]s FROM exportops_backup b
		WHERE b.id = exportops_deletions.id) WHERE id = ?`, column), id)
	switch {
	case len(r.Breaks) == 0:
		t.Errorf("entry %d was changed, and nobody noticed", id)
	case column == "chain_day" || column == "chain_seq": // whoever comes next is named
	case r.Breaks[0].Entry != id:
		t.Errorf("%+v, want entry %d named", r.Breaks, id)
	}
	return true
}

func wantBroken(t *testing.T, f Fixture, what string, kinds ...string) {
	t.Helper()
	r := verify(t, f)
	for _, b := range r.Breaks {
		for _, kind := range kinds {
			if b.Kind == kind && b.Day != "" && b.What != "" {
				return
			}
		}
	}
	t.Fatalf("%s: %+v, want one of %v", what, r.Breaks, kinds)
}

// tamperMoved is about entries that were tried again: the place of their failure.
func tamperMoved(t *testing.T, f Fixture) {
	id := f.Count(t, `SELECT min(deletion_id) FROM exportops_deletion_links`)
	for what, query := range map[string][2]string{
		"entry":   {`deletion_id = deletion_id + 1000`, `deletion_id = deletion_id - 1000`},
		"content": {`content = chain_hash, chain_hash = content`, `content = chain_hash, chain_hash = content`},
		"place":   {`chain_seq = chain_seq + 1000`, `chain_seq = chain_seq - 1000`},
		"day":     {`chain_day = '2024-01-01'`, `chain_day = '2025-10-31'`},
	} {
		undo := id
		if what == "entry" {
			undo += 1000
		}
		// Only the first day's: the entry may have left more than one place.
		f.Exec(t, `UPDATE exportops_deletion_links SET `+query[0]+` WHERE deletion_id = ? AND chain_day = '2025-10-31'`, id)
		wantBroken(t, f, what, exportops.BreakMissing, exportops.BreakReordered, exportops.BreakTruncated)
		if what == "day" {
			f.Exec(t, `UPDATE exportops_deletion_links SET `+query[1]+` WHERE deletion_id = ? AND chain_day = '2024-01-01'`, undo)
		} else {
			f.Exec(t, `UPDATE exportops_deletion_links SET `+query[1]+` WHERE deletion_id = ? AND chain_day = '2025-10-31'`, undo)
		}
		wantWhole(t, f)
	}
	f.Exec(t, `CREATE TABLE exportops_moved AS SELECT * FROM exportops_deletion_links WHERE deletion_id = ?`+typed(f, "::bigint"), id)
	f.Exec(t, `DELETE FROM exportops_deletion_links WHERE deletion_id = ?`, id)
	wantBroken(t, f, "gone", exportops.BreakMissing, exportops.BreakTruncated)
	f.Exec(t, `INSERT INTO exportops_deletion_links SELECT * FROM exportops_moved`)
	wantWhole(t, f)
}

// typed is text for stores that have to be told types.
func typed(f Fixture, text string) string {
	if f.Typed {
		return text
	}
	return ""
}

func tamperDays(t *testing.T, f Fixture) {
	f.Exec(t, `CREATE TABLE exportops_days AS SELECT * FROM exportops_deletion_days`)
	back := func() {
		f.Exec(t, `DELETE FROM exportops_deletion_days`)
		f.Exec(t, `INSERT INTO exportops_deletion_days SELECT * FROM exportops_days`)
		wantWhole(t, f)
	}
	yes := yes(f)
	for _, day := range []string{"2025-10-31", "2025-11-01", "2025-11-02"} {
		for _, change := range []string{
			`begins = chain_hash`, `chain_hash = begins`, `links = links + 1`, `links = links - 1`, `day = '2024-01-01'`, `day = '2026-01-01'`,
		} {
			f.Exec(t, `UPDATE exportops_deletion_days SET `+change+` WHERE day = ?`, day)
			if r := verify(t, f); len(r.Breaks) == 0 {
				t.Errorf("%s of %s: nobody noticed", change, day)
			}
			back()
		}
		f.Exec(t, `DELETE FROM exportops_deletion_days WHERE day = ?`, day)
		wantBroken(t, f, "the day "+day+" is gone", exportops.BreakMissing, exportops.BreakReordered)
		back()
		if day != "2025-10-31" {
			f.Exec(t, `UPDATE exportops_deletion_days SET pruned = `+yes+` WHERE day = ?`, day)
			wantBroken(t, f, "the day "+day+" is said to be pruned", exportops.BreakChanged)
			back()
		}
	}
}

func yes(f Fixture) string {
	if f.Typed {
		return "true"
	}
	return "1"
}

// tamperPruned takes entries away and says that their days were pruned.
func tamperPruned(t *testing.T, f Fixture) {
	ledgerOf(t, f)
	for _, what := range []string{`day > '2000-01-01'`, `day <= '2025-11-01'`, `day = '2025-11-02'`} {
		f.Exec(t, `UPDATE exportops_deletion_days SET pruned = `+yes(f)+` WHERE `+what)
		wantBroken(t, f, "pruned where "+what, exportops.BreakChanged)
	}
	// Of two days the first may have been pruned, when it was old enough.
	f.Exec(t, `DELETE FROM exportops_deletion_days WHERE day = '2025-10-31'`)
	f.Exec(t, `DELETE FROM exportops_deletions WHERE chain_day <= '2025-11-01'`)
	f.Exec(t, `DELETE FROM exportops_deletion_links WHERE chain_day <= '2025-11-01'`)
	f.Exec(t, `UPDATE exportops_deletion_days SET pruned = day = '2025-11-01'`)
	wantWhole(t, f)
	r, err := exportops.VerifyChain(t.Context(), f.Store, 0, after(noon, exportops.KeepRecords))
	must(t, err)
	if len(r.Breaks) != 1 || r.Breaks[0].Kind != exportops.BreakChanged || r.Breaks[0].Day != "2025-11-01" {
		t.Errorf("a day was pruned before its time: %+v", r.Breaks)
	}
	f.Exec(t, `UPDATE exportops_deletion_days SET pruned = `+yes(f))
	f.Exec(t, `DELETE FROM exportops_deletions`)
	wantBroken(t, f, "emptied", exportops.BreakChanged)
}

// exchange gives two entries of a day each other's place.
func exchange(t *testing.T, f Fixture) {
	const ofDay = ` FROM exportops_deletions WHERE chain_day = '2025-11-02'`
	a, b := f.Count(t, `SELECT min(id)`+ofDay), f.Count(t, `SELECT max(id)`+ofDay)
	seq := func(id int64) int64 { return f.Count(t, `SELECT chain_seq FROM exportops_deletions WHERE id = ?`, id) }
	at, bt := seq(a), seq(b)
	swap := func(x, y int64) {
		f.Exec(t, `UPDATE exportops_deletions SET chain_seq = 99999 WHERE id = ?`, a)
		f.Exec(t, `UPDATE exportops_deletions SET chain_seq = ? WHERE id = ?`, y, b)
		f.Exec(t, `UPDATE exportops_deletions SET chain_seq = ? WHERE id = ?`, x, a)
	}
	swap(bt, at)
	wantBroken(t, f, "exchanged places", exportops.BreakReordered)
	swap(at, bt)
	wantWhole(t, f)
}
