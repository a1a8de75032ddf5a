package storetest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func heldLogRows(t *testing.T, open func(testing.TB) Fixture) {
	for _, scope := range exportops.HoldScopes {
		t.Run("a_row_that_was_read_before_the_hold_on_"+string(scope)+"_stays", func(t *testing.T) {
			f := open(t)
			held, free := Row{}.Complete(after(noon, -3*time.Hour)), Row{}.Complete(after(noon, -4*time.Hour))
			f.Insert(t, held, free)
			rollUp(t, f)
			_, fence := begin(t, f, exportops.Started)
			rows := chosen(t, f, held.ID, free.ID)
			h := place(t, f, scope, subjectOf(scope, held))
			if scope == exportops.HoldAll {
				deleteRows(t, f, fence, rows, 0)
				release(t, f, h)
				deleteRows(t, f, fence, rows, 2)
				return
			}
			if gone := deleteRows(t, f, fence, rows, 1); gone[0] {
				t.Fatal("the row under the hold is gone")
			}
			if n := f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE export_id = ?`, held.ExportID); n != 1 {
				t.Fatalf("it has %d metrics", n)
			}
			release(t, f, h)
			deleteRows(t, f, fence, rows[:1], 1)
		})
	}
}

func heldMetrics(t *testing.T, f Fixture) {
	byUser, byExport, free := metric(), metric(), metric()
	record(t, f, byUser, byExport, free)
	write(t, f, exportops.Rollup{Start: noon}, stateOf(t, f, noon).Version, true)
	cp := heldRun(t, f, noon)
	all := func(want int64) {
		t.Helper()
		n, _, err := f.Store.DeleteLoneMetrics(t.Context(), cp, exportops.LogSelection{Cut: after(noon, time.Hour)}, "", 9, nil)
		must(t, err)
		if n != want {
			t.Fatalf("%d were deleted, want %d", n, want)
		}
	}
	everything := place(t, f, exportops.HoldAll, "")
	all(0)
	release(t, f, everything)
	h := place(t, f, exportops.HoldUser, byUser.UserID)
	place(t, f, exportops.HoldExport, byExport.ExportID)
	all(1)
	release(t, f, h)
	all(1)
	if n := f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE export_id = ?`, byExport.ExportID); n != 1 {
		t.Fatal("the metric of an export under a hold is gone")
	}
}

func holdRecords(t *testing.T, f Fixture) {
	user := exportops.NewID()
	a, b := place(t, f, exportops.HoldUser, user), place(t, f, exportops.HoldAll, "")
	if again := place(t, f, exportops.HoldUser, user); again.ID != a.ID || !again.PlacedAt.Equal(a.PlacedAt.Time) {
		t.Fatalf("the same hold became another: %+v", again)
	}
	list := func(filter exportops.HoldFilter, want ...exportops.Hold) {
		t.Helper()
		got, err := f.Store.Holds(t.Context(), filter)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%+v (-want +got):\n%s", filter, d)
		}
	}
	b.UnderWay = 0
	list(exportops.HoldFilter{}, b, a)
	list(exportops.HoldFilter{Limit: 1}, b)
	list(exportops.HoldFilter{Before: b.ID}, a)
	list(exportops.HoldFilter{Subject: user}, a)
	list(exportops.HoldFilter{Scope: exportops.HoldAll}, b)
	release(t, f, a)
	late, err := f.Store.ReleaseHold(t.Context(), a.ID, "somebody", after(noon, time.Hour))
	must(t, err)
	if late.ReleasedBy != "counsel" || !late.ReleasedAt.Equal(noon.Time) {
		t.Fatalf("it was released twice: %+v", late)
	}
	list(exportops.HoldFilter{}, b)
	list(exportops.HoldFilter{All: true}, b, late)
	_, err = f.Store.ReleaseHold(t.Context(), b.ID+100, "counsel", noon)
	wantKind(t, err, exportops.KindNotFound, "")
	if again := place(t, f, exportops.HoldUser, user); again.ID <= b.ID {
		t.Fatalf("a new hold has the id %d after %d", again.ID, b.ID)
	}

	release(t, f, b)
	cp := heldRun(t, f, noon)
	for _, c := range []struct {
		before exportops.Time
		want   []int64
	}{{noon, []int64{0}}, {after(noon, time.Second), []int64{1, 1, 0}}} {
		for _, want := range c.want {
			if n, err := f.Store.ForgetHolds(t.Context(), cp, c.before, 1); err != nil || n != want {
				t.Fatalf("%d were forgotten (%v), want %d", n, err, want)
			}
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_holds`); n != 1 {
		t.Fatalf("%d holds are left, want the active one", n)
	}
	_, err = f.Store.ForgetHolds(t.Context(), exportops.Checkpoint{Now: noon}, noon, 1)
	wantFenced(t, "a stranger", err)
}

// spellings are ways to write an id that programs other than ours may have.
var spellings = map[string]func(string) string{
	"capitals":   strings.ToUpper,
	"mixed_case": func(id string) string { return strings.ToUpper(id[:18]) + id[18:] },
}

func heldAs(t *testing.T, f Fixture, spell func(string) string) {
	r := due(after(noon, -time.Hour), func(r *Row) {
		r.ExportID, r.UserID = spell(exportops.NewID()), spell(exportops.NewID())
	})
	f.Insert(t, r)
	for scope, subject := range map[exportops.HoldScope]string{exportops.HoldExport: r.ExportID, exportops.HoldUser: r.UserID} {
		h := place(t, f, scope, subject)
		page, _, err := f.Store.Candidates(t.Context(), claimAll.Selection, "", 5)
		must(t, err)
		n := 0
		for _, err := range f.Store.HeldRows(t.Context(), h.ID-1) {
			must(t, err)
			n++
		}
		if len(page) != 1 || !page[0].Held || n != 1 {
			t.Fatalf("a hold on its %s: %d of %+v", scope, n, page)
		}
		release(t, f, h)
	}
}

// holdsRace places holds while files are claimed: each export is either held or
// claimed, and whoever was refused was refused because of a claim.
func holdsRace(t *testing.T, f Fixture) {
	rows := make([]Row, 60)
	for i := range rows {
		rows[i] = due(after(noon, time.Duration(i-90)*time.Minute))
	}
	f.Insert(t, rows...)
	_, fence := begin(t, f, exportops.Started)
	var wg sync.WaitGroup
	refused := make([]bool, len(rows))
	for n := range 3 {
		wg.Go(func() {
			for i := n; i < len(rows); i += 3 {
				h := holdOn(exportops.HoldExport, rows[i].ExportID)
				if i%2 == 0 {
					h.Scope, h.Subject = exportops.HoldUser, rows[i].UserID
				}
				_, err := f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
				if refused[i] = exportops.IsKind(err, exportops.KindConflict); err != nil && !refused[i] {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		r := claimAll
		r.Limit = 4
		r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
			out := claimEach(page, nil)
			for i, c := range page {
				if c.Held {
					out[i] = exportops.Decision{Verdict: exportops.PassOver}
				}
			}
			return out
		}
		for {
			page, err := f.Store.ClaimFiles(t.Context(), check(fence, noon), r)
			if err != nil {
				t.Error(err)
				return
			}
			if r.After = page.Next; r.After == "" {
				return
			}
		}
	})
	wg.Wait()
	for i, row := range rows {
		claims := f.Count(t, `SELECT count(*) FROM exportops_deletions WHERE export_id = ?`, row.ExportID)
		if (claims == 1) != refused[i] {
			t.Errorf("export %d has %d claims, and its hold was refused: %v", i, claims, refused[i])
		}
	}
}
