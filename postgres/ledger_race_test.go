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
}
