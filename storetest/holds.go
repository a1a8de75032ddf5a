package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testHolds(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_it_covers", func(t *testing.T) { holdCovers(t, open) })
	t.Run("a_claim_that_came_first", func(t *testing.T) { claimFirst(t, open) })
	t.Run("a_claim_on_what_a_refused_url_may_mean", func(t *testing.T) { holdsOfRefused(t, open(t)) })
	t.Run("nothing_new_begins_under_a_hold_on_everything", func(t *testing.T) { holdEverything(t, open(t)) })
	t.Run("a_claim_sees_what_came_under_a_hold_since", func(t *testing.T) { unseenHolds(t, open(t)) })
	t.Run("log_rows", func(t *testing.T) { heldLogRows(t, open) })
	t.Run("metrics_without_a_row", func(t *testing.T) { heldMetrics(t, open(t)) })
	t.Run("records", func(t *testing.T) { holdRecords(t, open(t)) })
	for how, spell := range spellings {
		t.Run(how, func(t *testing.T) { heldAs(t, open(t), spell) })
	}
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
		"of_its_new_user_in_mixed_case":     {exportops.HoldUser, func(Row, Row) string { return "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b" }, "user_id = '7F3C2A10-9b1e-4C55-8a54-0c1d2e3F4a5B'", true},
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
					if again, err := f.Store.PlaceHold(t.Context(), h, exportops.Locator{}); err != nil || again != got {
						t.Fatalf("placed again it is %+v (%v), want %+v", again, err, got)
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
