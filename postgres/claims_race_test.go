package postgres

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestClaimsOfSeveralReplicas(t *testing.T) {
	t.Run("rows_that_another_claims_are_left_to_it", func(t *testing.T) {
		w := newWorld(t)
		w.due(1)
		w.due(2)
		a, b := w.begin(w.a, exportops.FileCleanup, noon), w.begin(w.b, exportops.LogCleanup, noon)
		var second exportops.ClaimPage
		first := w.claim(w.a, a, claimAllOf(func() { second = w.claim(w.b, b, claimAllOf(nil)) }))
		if len(first.Candidates) != 2 || len(second.Candidates) != 0 || len(first.Busy) != 0 || len(second.Busy) != 2 {
			t.Fatalf("the first saw %d and the second %d, and they passed over %q and %q",
				len(first.Candidates), len(second.Candidates), first.Busy, second.Busy)
		}
	})
	t.Run("rows_that_another_held_and_left_as_they_were_are_claimed_by_name", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		a, b := w.begin(w.a, exportops.FileCleanup, noon), w.begin(w.b, exportops.LogCleanup, noon)
		passing, later := claimAllOf(nil), claimAllOf(nil)
		passing.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
			later.ExportIDs, later.SkipBusy = w.claim(w.b, b, claimAllOf(nil)).Busy, true
			return []exportops.Decision{{Verdict: exportops.PassOver}}
		}
		w.claim(w.a, a, passing)
		if page := w.claim(w.b, b, later); len(page.Claims) != 1 || page.Claims[0] == nil || page.Claims[0].ExportID != id {
			t.Fatalf("of %q it claimed %+v", later.ExportIDs, page.Claims)
		}
	})
	for name, commits := range map[string]bool{"lost": true, "won": false} {
		for _, before := range []string{"fresh", "failed"} {
			t.Run("a_key_that_another_is_claiming_is_"+name+"_"+before, func(t *testing.T) { sameKey(newWorld(t), commits, before == "failed") })
		}
	}
	t.Run("a_row_that_the_application_is_changing_is_passed_over", func(t *testing.T) {
		w := newWorld(t)
		held, free := w.due(1), w.due(2)
		tx := w.app()
		w.exec(tx, `UPDATE public.export_logs SET status = 'processing' WHERE export_id = $1`, held)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		page := w.claim(w.a, c, claimAllOf(nil))
		if len(page.Claims) != 1 || page.Claims[0].ExportID != free || !slices.Equal(page.Busy, []string{held}) {
			t.Fatalf("claimed %+v, passed over %q", page.Claims, page.Busy)
		}
		named := claimAllOf(nil)
		named.ExportIDs, named.SkipBusy = []string{held, free}, true
		page = w.claim(w.a, c, named)
		if len(page.Candidates) != 1 || page.Candidates[0].ExportID != free || !slices.Equal(page.Busy, []string{held}) {
			t.Fatalf("by name it saw %+v, and passed over %q", page.Candidates, page.Busy)
		}
		must(t, tx.Rollback(t.Context()))
		named.ExportIDs = []string{held}
		if page = w.claim(w.a, c, named); len(page.Claims) != 1 || page.Claims[0] == nil || len(page.Busy) != 0 {
			t.Fatalf("claimed %+v in the end, passed over %q", page.Claims, page.Busy)
		}
	})
	for name, change := range map[string]string{
		"tried_again": `status = 'processing'`, "prolonged": `expires_at = '2999-01-01'`, "held_without_expiry": `expires_at = NULL`,
	} {
		t.Run("what_was_"+name+"_after_it_was_found_is_not_claimed", func(t *testing.T) {
			w := newWorld(t)
			id := w.due(1)
			c := w.begin(w.a, exportops.FileCleanup, noon)
			tx := w.app()
			w.exec(tx, `SELECT 1 FROM exportops.runs WHERE id = $1 FOR UPDATE`, c.RunID)
			done := make(chan exportops.ClaimPage)
			go func() {
				page, err := w.a.ClaimFiles(t.Context(), c, claimAllOf(nil))
				if err != nil {
					t.Error(err)
				}
				done <- page
			}()
			w.blockedBy(tx, 1) // it has found the row, and waits for its run
			w.exec(tx, `UPDATE public.export_logs SET `+change+` WHERE export_id = $1`, id)
			w.commit(tx)
			if page := <-done; len(page.Candidates) != 0 || w.count(`SELECT count(*) FROM exportops.deletions`) != 0 {
				t.Fatalf("claimed %+v", page)
			}
		})
	}
	t.Run("another_file_of_a_row_is_claimed_as_what_it_is", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		page := w.claim(w.a, c, claimAllOf(nil))
		_, err := w.a.Settle(t.Context(), c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionFailed}})
		must(t, err)
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.runs WHERE id = $1 FOR UPDATE`, c.RunID)
		done := make(chan exportops.ClaimPage)
		go func() {
			page, err := w.a.ClaimFiles(t.Context(), c, claimAllOf(nil))
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		w.blockedBy(tx, 1)
		w.exec(tx, `UPDATE public.export_logs SET file_url = 'again' WHERE export_id = $1`, id)
		w.commit(tx)
		again := (<-done).Claims[0]
		if again == nil || again.ID == page.Claims[0].ID || again.Attempts != 1 || *again.FileURL != "again" {
			t.Fatalf("the new file is claimed as %+v", again)
		}
	})
	t.Run("rows_that_are_named_are_waited_for", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		tx := w.app()
		w.exec(tx, `UPDATE public.export_logs SET file_url = 'again' WHERE export_id = $1`, id)
		r := claimAllOf(nil)
		r.ExportIDs = []string{id}
		done := make(chan exportops.ClaimPage)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		go func() {
			page, err := w.a.ClaimFiles(t.Context(), c, r)
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if page := <-done; len(page.Claims) != 1 || *page.Claims[0].FileURL != "again" {
			t.Fatalf("claimed %+v", page.Claims)
		}
	})
	t.Run("a_hold_that_is_being_placed_is_waited_for", func(t *testing.T) {
		w := newWorld(t)
		w.due(1)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockHolds)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		done := make(chan exportops.ClaimPage)
		go func() {
			page, err := w.a.ClaimFiles(t.Context(), c, claimAllOf(nil))
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		w.blockedBy(tx, 1)
		w.exec(tx, `UPDATE public.export_logs SET expires_at = NULL`) // as good as a hold
		w.commit(tx)
		if page := <-done; len(page.Candidates) != 0 {
			t.Fatalf("claimed %+v", page.Claims)
		}
	})
}

// sameKey claims two rows while another replica is about to claim the key of the
// first, and then does, or gives up.
func sameKey(w *world, commits, failed bool) {
	shared, beside := w.due(2), w.due(1)
	c := w.begin(w.a, exportops.FileCleanup, noon)
	if failed {
		page := w.claim(w.a, c, claimAllOf(nil))
		_, err := w.a.Settle(w.Context(), c, []exportops.Settlement{
			{Claim: page.Claims[0], State: exportops.DeletionFailed}, {Claim: page.Claims[1], State: exportops.DeletionFailed},
		})
		must(w, err)
	}
	tx := w.app()
	w.openClaim(tx, shared)
	done := make(chan exportops.ClaimPage)
	go func() {
		page, err := w.a.ClaimFiles(w.Context(), c, claimAllOf(nil))
		if err != nil {
			w.Error(err)
		}
		done <- page
	}()
	w.blockedBy(tx, 1)
	if commits {
		w.commit(tx)
	} else {
		must(w, tx.Rollback(w.Context()))
	}
	page := <-done
	if len(page.Claims) != 2 || (page.Claims[0] == nil) != commits || page.Claims[1] == nil || page.Claims[1].ExportID != beside {
		w.Fatalf("claimed %+v", page.Claims)
	}
	want := int64(2)
	if n := w.count(`SELECT count(*) FROM exportops.deletions WHERE state = 'claimed'`); n != want {
		w.Fatalf("%d open claims, want %d", n, want)
	}
}

func TestReclaimOfSeveralReplicas(t *testing.T) {
	dead := after(noon, exportops.LeaseLength)
	t.Run("each_claim_is_recovered_once", func(t *testing.T) {
		w := newWorld(t)
		for i := range 5 {
			w.due(i + 1)
		}
		old := w.begin(w.a, exportops.FileCleanup, noon)
		w.claim(w.a, old, claimAllOf(nil))
		a, b := w.begin(w.a, exportops.FileCleanup, dead), w.begin(w.b, exportops.LogCleanup, dead)
		seen := map[int64]int{}
		first := true
		open, _, err := w.a.Reclaim(t.Context(), a, 2, func(o exportops.OpenClaim) bool {
			seen[o.ID]++
			if first {
				first = false
				_, _, err := w.b.Reclaim(t.Context(), b, 9, func(o exportops.OpenClaim) bool { seen[o.ID]++; return true })
				must(t, err)
			}
			return true
		})
		must(t, err)
		if len(open) != 2 || len(seen) != 5 {
			t.Fatalf("recovered %d, of all %v", len(open), seen)
		}
		for id, n := range seen {
			if n != 1 {
				t.Fatalf("claim %d was recovered %d times", id, n)
			}
		}
	})
	t.Run("a_holder_that_comes_back_settles_nothing", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		old := w.begin(w.a, exportops.FileCleanup, noon)
		page := w.claim(w.a, old, claimAllOf(nil))
		b := w.begin(w.b, exportops.LogCleanup, dead) // another run: the old one is still its holder's
		settled := make(chan error, 1)
		_, _, err := w.b.Reclaim(t.Context(), b, 9, func(exportops.OpenClaim) bool {
			go func() {
				old.Now = dead
				_, err := w.a.Settle(t.Context(), old, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
				settled <- err
			}()
			w.blocked()
			return true
		})
		must(t, err)
		if err := <-settled; !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("it settled: %v", err)
		}
		w.status(id, "completed")
	})
	t.Run("what_a_holder_is_settling_is_left_to_it", func(t *testing.T) {
		w := newWorld(t)
		w.due(1)
		w.claim(w.a, w.begin(w.a, exportops.FileCleanup, noon), claimAllOf(nil))
		tx := w.app()
		w.exec(tx, `UPDATE exportops.deletions SET state = 'deleted'`)
		open, _, err := w.b.Reclaim(t.Context(), w.begin(w.b, exportops.LogCleanup, dead), 9, func(exportops.OpenClaim) bool { return true })
		must(t, err)
		if len(open) != 0 {
			t.Fatalf("recovered %+v", open)
		}
	})
}

func TestSettleBesideTheApplication(t *testing.T) {
	for name, c := range map[string]struct {
		change  string
		commits bool
		expires bool
	}{
		"tried_again":            {`status = 'processing'`, true, false},
		"written_again":          {`file_url = 'again'`, true, false},
		"prolonged":              {`expires_at = expires_at + interval '1 hour'`, true, false},
		"prolonged_by_the_least": {`expires_at = expires_at + interval '1 microsecond'`, true, false},
		"counted":                {`downloaded_count = 7`, true, true},
		"taken_back":             {`status = 'processing'`, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, beside := w.due(1), w.due(2)
			cp := w.begin(w.a, exportops.FileCleanup, noon)
			page := w.claim(w.a, cp, claimAllOf(nil))
			var batch []exportops.Settlement
			for _, claim := range page.Claims {
				batch = append(batch, exportops.Settlement{Claim: claim, State: exportops.DeletionDone})
			}
			tx := w.app()
			w.exec(tx, `UPDATE public.export_logs SET `+c.change+` WHERE export_id = $1`, id)
			done := make(chan []exportops.Settled)
			go func() {
				out, err := w.a.Settle(t.Context(), cp, batch)
				if err != nil {
					t.Error(err)
				}
				done <- out
			}()
			w.blockedBy(tx, 1)
			if c.commits {
				w.commit(tx)
			} else {
				must(t, tx.Rollback(t.Context()))
			}
			for i, s := range <-done {
				if want := c.expires || page.Claims[i].ExportID == beside; s.RowExpired != want || s.RowUnlike == want {
					t.Fatalf("settled as %+v, want it expired: %v", s, want)
				}
			}
			if w.status(beside, "expired"); c.expires {
				w.status(id, "expired")
			}
		})
	}
}

func TestAFenceThatIsLost(t *testing.T) {
	dead := after(noon, exportops.LeaseLength)
	t.Run("while_another_takes_over_nothing_is_committed", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		page := w.claim(w.a, c, claimAllOf(nil))
		tx := w.app()
		w.exec(tx, `UPDATE exportops.runs SET token = token + 1, holder = 'other' WHERE id = $1`, c.RunID)
		done := make(chan error)
		go func() {
			_, err := w.a.Settle(t.Context(), c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
			done <- err
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if err := <-done; !errors.Is(err, exportops.ErrFenced) {
			t.Fatalf("it settled: %v", err)
		}
		w.status(id, "completed")
	})
	t.Run("a_holder_in_the_middle_of_a_batch_keeps_its_run", func(t *testing.T) {
		w := newWorld(t)
		w.due(1)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		c.Now = after(dead, -time.Millisecond)
		how := make(chan exportops.Beginning, 1)
		w.claim(w.a, c, claimAllOf(func() {
			go func() {
				_, _, h, err := w.b.BeginRun(t.Context(), runRequest(exportops.FileCleanup, func(r *exportops.RunRequest) { r.Now, r.Holder = dead, "b" }))
				if err != nil {
					t.Error(err)
				}
				how <- h
			}()
			w.blocked()
		}))
		if h := <-how; h != exportops.Joined {
			t.Fatalf("another was met with %q", h)
		}
		must(t, w.a.Renew(t.Context(), c))
	})
}
