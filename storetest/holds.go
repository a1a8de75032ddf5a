package storetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testHolds(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_it_covers", func(t *testing.T) { holdCovers(t, open) })
	t.Run("a_claim_that_came_first", func(t *testing.T) { claimFirst(t, open) })
	t.Run("nothing_new_begins_under_a_hold_on_everything", func(t *testing.T) { holdEverything(t, open(t)) })
	t.Run("a_claim_sees_what_came_under_a_hold_since", func(t *testing.T) { unseenHolds(t, open(t)) })
	t.Run("log_rows", func(t *testing.T) { heldLogRows(t, open) })
	t.Run("metrics_without_a_row", func(t *testing.T) { heldMetrics(t, open(t)) })
	t.Run("records", func(t *testing.T) { holdRecords(t, open(t)) })
	t.Run("capitals", func(t *testing.T) { heldCapitals(t, open(t)) })
	t.Run("nothing_to_hold", func(t *testing.T) {
		f := open(t)
		_, err := f.Store.PlaceHold(t.Context(), holdOn(exportops.HoldExport, exportops.NewID()), exportops.Locator{})
		wantKind(t, err, exportops.KindNotFound, "subject")
		m := metric()
		record(t, f, m)
		place(t, f, exportops.HoldExport, m.ExportID)
		place(t, f, exportops.HoldUser, exportops.NewID()) // whose exports may be to come
	})
	t.Run("a_file_that_is_gone", func(t *testing.T) {
		f := open(t)
		r := due(after(noon, -time.Hour))
		f.Insert(t, r)
		_, fence := begin(t, f, exportops.Started)
		settleOne(t, f, fence, exportops.Settlement{Claim: claim(t, f, fence).Claims[0], State: exportops.DeletionDone})
		h := holdOn(exportops.HoldExport, r.ExportID)
		_, err := f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
		wantKind(t, err, exportops.KindConflict, "")
		if want := r.ExportID + " is deleted, claimed by run " + fence.RunID + " at " + noon.String(); !strings.Contains(err.Error(), want) {
			t.Fatalf("refused with %q, want %q", err, want)
		}
		place(t, f, exportops.HoldUser, r.UserID)
		h.RowOnly = true
		if h, err = f.Store.PlaceHold(t.Context(), h, exportops.Locator{}); err != nil || !h.RowOnly {
			t.Fatalf("placed %+v, %v", h, err)
		}
		all, err := f.Store.Holds(t.Context(), exportops.HoldFilter{Scope: exportops.HoldExport})
		must(t, err)
		if d := cmp.Diff([]exportops.Hold{h}, all); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		// What was made again has a file again.
		f.Exec(t, `UPDATE {logs} SET status = 'completed' WHERE export_id = ?`, r.ExportID)
		place(t, f, exportops.HoldExport, r.ExportID)
	})
	t.Run("holds_and_claims_race", func(t *testing.T) { holdsRace(t, open(t)) })
}

func holdOn(scope exportops.HoldScope, subject string) exportops.Hold {
	return exportops.Hold{Scope: scope, Subject: subject, Reason: "a case", PlacedBy: "counsel", PlacedAt: noon}
}

func place(t testing.TB, f Fixture, scope exportops.HoldScope, subject string) exportops.Hold {
	t.Helper()
	h, err := holdOn(scope, subject).Check()
	must(t, err)
	h, err = f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
	must(t, err)
	if h.ID == 0 || !h.Active() {
		t.Fatalf("placed %+v", h)
	}
	return h
}

func release(t testing.TB, f Fixture, h exportops.Hold) {
	t.Helper()
	got, err := f.Store.ReleaseHold(t.Context(), h.ID, "counsel", noon)
	must(t, err)
	if got.Active() || got.ReleasedBy != "counsel" || !got.ReleasedAt.Equal(noon.Time) {
		t.Fatalf("released %+v", got)
	}
}

// subjectOf is what a hold of a scope on a row's export is about.
func subjectOf(scope exportops.HoldScope, r Row) string {
	switch scope {
	case exportops.HoldExport:
		return r.ExportID
	case exportops.HoldUser:
		return r.UserID
	case exportops.HoldAll:
	}
	return ""
}

func holdCovers(t *testing.T, open func(testing.TB) Fixture) {
	for name, w := range walks() {
		for _, scope := range exportops.HoldScopes {
			t.Run(name+"_"+string(scope), func(t *testing.T) {
				f := open(t)
				held, free := w.row(0), w.row(1)
				if name != "erasure" { // where all are of one user
					free.UserID = exportops.NewID()
				}
				f.Insert(t, held, free)
				_, fence := begin(t, f, exportops.Started)
				isHeld := func(want ...string) {
					t.Helper()
					slices.Sort(want)
					var pages [][]exportops.Candidate
					page, _, err := f.Store.Candidates(t.Context(), w.sel, "", 9)
					must(t, err)
					byID, err := f.Store.CandidatesByID(t.Context(), []string{held.ExportID, free.ExportID})
					must(t, err)
					pages = append(pages, page, byID)
					decide := func(r *exportops.ClaimRequest) {
						r.Selection = w.sel
						r.Decide = func(page, _ []exportops.Candidate) []exportops.Decision {
							pages = append(pages, page)
							return make([]exportops.Decision, len(page))
						}
					}
					claim(t, f, fence, decide)
					claim(t, f, fence, decide, func(r *exportops.ClaimRequest) { r.ExportIDs = []string{held.ExportID, free.ExportID} })
					rows := logRows(t, f, exportops.LogSelection{Cut: after(noon, time.Hour)})
					pages = append(pages, []exportops.Candidate{rows[held.ID].Candidate, rows[free.ID].Candidate})
					for i, page := range pages {
						var got []string
						for _, c := range page {
							if c.Held {
								got = append(got, c.ExportID)
							}
						}
						slices.Sort(got)
						if len(page) != 2 || !slices.Equal(got, want) {
							t.Fatalf("reading %d: %v of %d rows are held, want %v", i, got, len(page), want)
						}
					}
				}
				isHeld()
				h := place(t, f, scope, subjectOf(scope, held))
				covered := []string{held.ExportID}
				if scope == exportops.HoldAll || held.UserID == free.UserID && scope == exportops.HoldUser {
					covered = append(covered, free.ExportID)
				}
				isHeld(covered...)
				// What several holds cover is free when the last is released.
				second := holdOn(scope, subjectOf(scope, held))
				second.Reason = "another case"
				second, err := f.Store.PlaceHold(t.Context(), second, exportops.Locator{})
				must(t, err)
				release(t, f, h)
				isHeld(covered...)
				release(t, f, second)
				isHeld()
			})
		}
	}
}

func claimFirst(t *testing.T, open func(testing.TB) Fixture) {
	shared := func(r *Row) { r.FileURL = ptr("k") }
	for name, c := range map[string]struct {
		scope   exportops.HoldScope
		subject func(claimed, sharer Row) string
		then    string // SQL that sets columns of the claimed row
		refused bool
	}{
		"of_the_export":                     {exportops.HoldExport, func(c, _ Row) string { return c.ExportID }, "", true},
		"of_the_user":                       {exportops.HoldUser, func(c, _ Row) string { return c.UserID }, "", true},
		"of_the_user_it_was_of":             {exportops.HoldUser, func(c, _ Row) string { return c.UserID }, "user_id = '7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b'", true},
		"of_the_user_it_is_of":              {exportops.HoldUser, func(Row, Row) string { return "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b" }, "user_id = '7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b'", true},
		"of_an_export_with_the_same_file":   {exportops.HoldExport, func(_, s Row) string { return s.ExportID }, "", true},
		"of_a_user_with_the_same_file":      {exportops.HoldUser, func(_, s Row) string { return s.UserID }, "", true},
		"that_is_told_and_not_in_the_way":   {exportops.HoldAll, func(Row, Row) string { return "" }, "", false},
		"of_an_export_whose_row_was_edited": {exportops.HoldExport, func(c, _ Row) string { return c.ExportID }, "file_url = NULL", true},
		"of_somebody_else":                  {exportops.HoldUser, func(Row, Row) string { return exportops.NewID() }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			claimed := due(after(noon, -time.Hour), shared)
			sharer := Row{Status: "expired", FileURL: ptr("s3://exports/k")}.Complete(noon)
			f.Insert(t, claimed, sharer)
			_, fence := begin(t, f, exportops.Started)
			page := claim(t, f, fence, toKey("k"))
			if c.then != "" {
				f.Exec(t, `UPDATE {logs} SET `+c.then+` WHERE export_id = ?`, claimed.ExportID)
			}
			h := holdOn(c.scope, c.subject(claimed, sharer))
			for _, state := range []string{"claimed", "claimed by a dead run"} {
				got, err := f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
				if !c.refused {
					must(t, err)
					if want := c.scope == exportops.HoldAll; (got.UnderWay == 1) != want && state == "claimed" {
						t.Fatalf("placed %+v, want the claim told: %v", got, want)
					}
					return
				}
				wantKind(t, err, exportops.KindConflict, "")
				var e *exportops.Error
				if errors.As(err, &e); !strings.Contains(e.Message, claimed.ExportID+" is claimed") ||
					!strings.Contains(e.Message, fence.RunID+" since "+noon.String()) || e.Hint == "" {
					t.Fatalf("refused with %q and %q", e.Message, e.Hint)
				}
				if state == "claimed" {
					_, fence = begin(t, f, exportops.TookOver, at(dead))
				}
			}
			if n := f.Count(t, `SELECT count(*) FROM exportops_holds`); n != 0 {
				t.Fatalf("%d holds were recorded", n)
			}
			// Its next holder finishes what was claimed before; then it can be held.
			open, _, err := f.Store.Reclaim(t.Context(), check(fence, dead), 5, func(exportops.OpenClaim) bool { return true })
			must(t, err)
			_, err = f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
			wantKind(t, err, exportops.KindConflict, "")
			_, err = f.Store.Settle(t.Context(), check(fence, dead), []exportops.Settlement{{Claim: &open[0].Deletion, State: exportops.DeletionFailed}})
			must(t, err)
			place(t, f, c.scope, h.Subject)
			if page.Claims[0].ID != open[0].ID {
				t.Fatalf("another claim was recovered: %+v", open)
			}
		})
	}
}

func holdEverything(t *testing.T, f Fixture) {
	f.Insert(t, due(after(noon, -time.Hour)))
	_, old := begin(t, f, exportops.Started)
	claim(t, f, old)
	h := place(t, f, exportops.HoldAll, "")
	_, fence := begin(t, f, exportops.TookOver, at(dead))
	reclaim := func(want int) {
		t.Helper()
		open, resumed, err := f.Store.Reclaim(t.Context(), check(fence, dead), 5, func(exportops.OpenClaim) bool { return true })
		must(t, err)
		if len(open) != want || len(resumed) != want {
			t.Fatalf("%d claims of a dead run are taken over, want %d", len(open), want)
		}
	}
	reclaim(0)
	if l := ledger(t, f); len(l) != 1 || l[0].State != exportops.DeletionClaimed || l[0].Attempts != 1 {
		t.Fatalf("the claim became %+v", l)
	}
	release(t, f, h)
	reclaim(1)
}

// unseenHolds claims pages while rows come under holds.
func unseenHolds(t *testing.T, f Fixture) {
	user := exportops.NewID()
	one := Row{Status: "expired", FileURL: ptr("a")}.Complete(noon)
	bare := Row{Status: "failed", UserID: user}.Complete(noon)
	f.Insert(t, due(after(noon, -time.Hour)), one, bare, Row{Status: "failed", UserID: user, FileURL: ptr("b")}.Complete(noon))
	_, fence := begin(t, f, exportops.Started)
	others := func(seen int64) (urls []string) {
		t.Helper()
		claim(t, f, fence, func(r *exportops.ClaimRequest) {
			r.HoldsSeen = seen
			r.Decide = func(page, others []exportops.Candidate) []exportops.Decision {
				urls = []string{}
				for _, o := range others {
					if !o.Held {
						t.Errorf("a row that is not held: %+v", o)
					}
					urls = append(urls, *o.FileURL)
				}
				slices.Sort(urls)
				return make([]exportops.Decision, len(page))
			}
		})
		return urls
	}
	rows := func(after int64) []string {
		t.Helper()
		urls := []string{}
		for k, err := range f.Store.HeldRows(t.Context(), after) {
			must(t, err)
			urls = append(urls, k.FileURL)
		}
		slices.Sort(urls)
		return urls
	}
	first := place(t, f, exportops.HoldExport, one.ExportID)
	second := place(t, f, exportops.HoldUser, user)
	gone := place(t, f, exportops.HoldUser, user)
	if gone.ID != second.ID {
		t.Fatalf("the same hold was placed twice: %+v", gone)
	}
	everything := place(t, f, exportops.HoldAll, "")
	release(t, f, everything)
	for seen, want := range map[int64][]string{0: {"a", "b"}, first.ID: {"b"}, second.ID: {}} {
		if d := cmp.Diff(want, others(seen)); d != "" {
			t.Fatalf("others after hold %d (-want +got):\n%s", seen, d)
		}
		if d := cmp.Diff(want, rows(seen)); d != "" {
			t.Fatalf("held rows after hold %d (-want +got):\n%s", seen, d)
		}
	}
	if last, err := f.Store.LastHold(t.Context()); err != nil || last != everything.ID {
		t.Fatalf("the last hold is %d (%v), want %d", last, err, everything.ID)
	}
	many := make([]Row, exportops.MostHeldAtOnce)
	for i := range many {
		many[i] = Row{Status: "failed", UserID: user, FileURL: ptr("b")}.Complete(noon)
	}
	f.Insert(t, many...)
	page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.HoldsSeen = first.ID })
	if !page.Unseen || page.Next != "" || len(ledger(t, f)) != 0 {
		t.Fatalf("with too many new rows: %+v", page)
	}
	if page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.HoldsSeen = second.ID }); page.Unseen || page.Claims[0] == nil {
		t.Fatalf("nothing was claimed: %+v", page)
	}
}

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
		n, _, err := f.Store.DeleteLoneMetrics(t.Context(), cp, exportops.LogSelection{Cut: after(noon, time.Hour)}, "", 9)
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

func heldCapitals(t *testing.T, f Fixture) {
	r := due(after(noon, -time.Hour), func(r *Row) {
		r.ExportID, r.UserID = strings.ToUpper(exportops.NewID()), strings.ToUpper(exportops.NewID())
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
