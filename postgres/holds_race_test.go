package postgres

import (
	"testing"

	"github.com/exportops/exportops"
)

func holdOn(scope exportops.HoldScope, subject string) exportops.Hold {
	return exportops.Hold{Scope: scope, Subject: subject, Reason: "a case", PlacedBy: "counsel", PlacedAt: noon}
}

// unlessHeld claims every row of a page that no hold covers.
func unlessHeld(meanwhile func()) exportops.ClaimRequest {
	r := claimAllOf(meanwhile)
	all := r.Decide
	r.Decide = func(page, others []exportops.Candidate) []exportops.Decision {
		out := all(page, others)
		for i, c := range page {
			if c.Held {
				out[i] = exportops.Decision{Verdict: exportops.PassOver}
			}
		}
		return out
	}
	return r
}

func TestHoldsBesideClaims(t *testing.T) {
	t.Run("a_hold_waits_for_the_claim_and_is_refused", func(t *testing.T) {
		for _, scope := range []exportops.HoldScope{exportops.HoldExport, exportops.HoldUser} {
			w := newWorld(t)
			id := w.due(1)
			subject := id
			if scope == exportops.HoldUser {
				must(t, w.a.pool.QueryRow(t.Context(), `SELECT user_id::text FROM public.export_logs`).Scan(&subject))
			}
			placed := make(chan error, 1)
			page := w.claim(w.a, w.begin(w.a, exportops.FileCleanup, noon), unlessHeld(func() {
				go func() {
					_, err := w.b.PlaceHold(t.Context(), holdOn(scope, subject), exportops.Locator{})
					placed <- err
				}()
				w.blocked()
			}))
			if err := <-placed; page.Claims[0] == nil || !exportops.IsKind(err, exportops.KindConflict) {
				t.Fatalf("%s: claimed %+v and placed: %v", scope, page.Claims, err)
			}
		}
	})
	t.Run("a_hold_is_refused_whose_file_is_gone_while_it_is_placed", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		w.claim(w.a, w.begin(w.a, exportops.FileCleanup, noon), claimAllOf(nil))
		tx := w.app()
		w.exec(tx, `LOCK TABLE exportops.export_metrics IN ACCESS EXCLUSIVE MODE`)
		placed := make(chan error, 1)
		go func() {
			_, err := w.b.PlaceHold(t.Context(), holdOn(exportops.HoldExport, id), exportops.Locator{})
			placed <- err
		}()
		var err error
		select {
		case err = <-placed: // it has seen the claim, and looks no further
		case <-w.waiting(tx): // it has read the row, and waits for the metrics
			w.exec(tx, `UPDATE exportops.deletions SET state = 'deleted', finished_at = now()`)
			w.commit(tx)
			err = <-placed
		}
		if !exportops.IsKind(err, exportops.KindConflict) {
			t.Fatalf("placed: %v", err)
		}
	})
	t.Run("a_hold_is_refused_whose_entry_of_the_ledger_is_forgotten_while_it_is_placed", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		page := w.claim(w.a, c, claimAllOf(nil))
		_, err := w.a.Settle(t.Context(), c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionDone}})
		must(t, err)
		tx := w.app()
		w.exec(tx, `LOCK TABLE exportops.export_metrics IN ACCESS EXCLUSIVE MODE`)
		placed := make(chan error, 1)
		go func() {
			_, err := w.b.PlaceHold(t.Context(), holdOn(exportops.HoldExport, id), exportops.Locator{})
			placed <- err
		}()
		w.blockedBy(tx, 1) // it has read the row and its entry
		w.exec(tx, `DELETE FROM exportops.deletions`)
		w.commit(tx)
		if err := <-placed; !exportops.IsKind(err, exportops.KindConflict) {
			t.Fatalf("placed: %v", err)
		}
	})
	t.Run("a_claim_waits_for_the_hold_and_sees_it", func(t *testing.T) {
		w := newWorld(t)
		held, free := w.due(2), w.due(1)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockHolds)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		done := make(chan exportops.ClaimPage)
		go func() {
			page, err := w.a.ClaimFiles(t.Context(), c, unlessHeld(nil))
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		w.blockedBy(tx, 1)
		w.exec(tx, `INSERT INTO exportops.holds (scope, subject, reason, placed_by, placed_at) VALUES ('export', $1, 'r', 'p', now())`, held)
		w.commit(tx)
		for i, claim := range (<-done).Claims {
			if i == 0 && claim != nil || i == 1 && (claim == nil || claim.ExportID != free) {
				t.Fatalf("row %d is claimed as %+v", i, claim)
			}
		}
	})
	t.Run("a_hold_waits_for_rows_that_are_being_deleted", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockHolds)
		w.exec(tx, `DELETE FROM public.export_logs`)
		placed := make(chan error, 1)
		go func() {
			_, err := w.b.PlaceHold(t.Context(), holdOn(exportops.HoldExport, id), exportops.Locator{})
			placed <- err
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if err := <-placed; !exportops.IsKind(err, exportops.KindNotFound) {
			t.Fatalf("placed: %v", err)
		}
	})
	t.Run("two_that_place_the_same_hold_get_one", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		ids := make(chan int64, 2)
		for _, s := range []*Store{w.a, w.b} {
			go func() {
				h, err := s.PlaceHold(t.Context(), holdOn(exportops.HoldExport, id), exportops.Locator{})
				if err != nil {
					t.Error(err)
				}
				ids <- h.ID
			}()
		}
		if a, b := <-ids, <-ids; a != b || a == 0 {
			t.Fatalf("holds %d and %d", a, b)
		}
	})
}
