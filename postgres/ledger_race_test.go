package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// What a claim has read of a row and its entry is what it locks and writes.
func TestEntriesThatChangeUnderAClaim(t *testing.T) {
	t.Run("a_row_in_the_place_of_one_that_was_waited_for_is_locked_too", func(t *testing.T) {
		w := newWorld(t)
		id := w.due(1)
		tx := w.app()
		w.exec(tx, `DELETE FROM public.export_logs`)
		w.exec(tx, dueRow, id, after(noon, -25*time.Hour).String(), after(noon, -time.Hour).String())
		free := int64(-1)
		r := claimAllOf(func() {
			free = w.count(`SELECT count(*) FROM (SELECT 1 FROM public.export_logs FOR UPDATE SKIP LOCKED) x`)
		})
		r.ExportIDs = []string{id}
		c := w.begin(w.a, exportops.FileCleanup, noon)
		done := make(chan exportops.ClaimPage, 1)
		go func() {
			page, err := w.a.ClaimFiles(t.Context(), c, r)
			if err != nil {
				t.Error(err)
			}
			done <- page
		}()
		w.blockedBy(tx, 1)
		w.commit(tx)
		if page := <-done; len(page.Claims) != 1 || page.Claims[0] == nil || free != 0 {
			t.Fatalf("claimed %+v, while anybody could change %d rows", page.Claims, free)
		}
	})
	for name, change := range map[string]string{
		"had_tried_again": `attempts = attempts - failures, failures = 0, next_try_at = now(), retried_at = now(), retried_by = 'ops'`,
		"erased":          `export_id = NULL, user_id = NULL, key = NULL, file_url = NULL, error = '', salt = NULL`,
	} {
		t.Run("an_entry_that_somebody_"+name+"_meanwhile_stays_so", func(t *testing.T) {
			w := newWorld(t)
			id := w.due(1)
			c := w.begin(w.a, exportops.FileCleanup, noon)
			page := w.claim(w.a, c, claimAllOf(nil))
			_, err := w.a.Settle(t.Context(), c, []exportops.Settlement{{Claim: page.Claims[0], State: exportops.DeletionFailed}})
			must(t, err)
			tx := w.app()
			w.exec(tx, `SELECT 1 FROM exportops.deletions FOR UPDATE`)
			done := make(chan exportops.ClaimPage, 1)
			go func() {
				page, err := w.a.ClaimFiles(t.Context(), c, claimAllOf(nil))
				if err != nil {
					t.Error(err)
				}
				done <- page
			}()
			w.blockedBy(tx, 1) // it has read the entry, and is about to claim it again
			w.exec(tx, `UPDATE exportops.deletions SET `+change)
			w.commit(tx)
			if page := <-done; len(page.Claims) != 1 || page.Claims[0] != nil {
				t.Fatalf("claimed %+v", page.Claims)
			}
			// What comes next sees the entry as it is.
			page = w.claim(w.a, c, claimAllOf(nil))
			if d := page.Claims[0]; d == nil || d.Attempts != 1 || d.Failures != 0 || w.count(`SELECT count(*) FROM exportops.deletions
				WHERE id = $1 AND state = 'claimed' AND export_id = $2::uuid AND failures = 0 AND attempts = 1`, d.ID, id) != 1 {
				t.Fatalf("claimed %+v", d)
			}
		})
	}
}
