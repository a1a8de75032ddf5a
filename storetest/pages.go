package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/exportops/exportops"
)

// walked is one way to go through a table: a selection and rows that it finds.
type walked struct {
	sel exportops.Selection
	row func(i int) Row
}

func walks() map[string]walked {
	user := exportops.NewID()
	// Many share a time, so that pages end among equals.
	tied := func(i int) exportops.Time { return after(noon, time.Duration(i%3-5)*time.Minute) }
	return map[string]walked{
		"expiry": {exportops.Selection{Mode: exportops.ByExpiry, Now: noon}, func(i int) Row { return due(tied(i)) }},
		"age":    {exportops.Selection{Mode: exportops.ByAge, Cut: noon}, func(i int) Row { return Row{FileURL: ptr("a")}.Complete(tied(i)) }},
		"log_cleanup": {exportops.Selection{Mode: exportops.ByLogCleanup, Cut: noon}, func(i int) Row {
			return Row{Status: "failed", FileURL: ptr("a")}.Complete(tied(i))
		}},
		"erasure": {exportops.Selection{Mode: exportops.ByErasure, UserID: user}, func(i int) Row {
			return Row{Status: "failed", UserID: user, FileURL: ptr("a")}.Complete(tied(i))
		}},
	}
}

func testPages(t *testing.T, open func(testing.TB) Fixture) {
	for name, w := range walks() {
		t.Run(name+"_sees_every_row_once", func(t *testing.T) {
			f := open(t)
			_, fence := begin(t, f, exportops.Started)
			sees(t, f, w, func(after exportops.Cursor, limit int) ([]exportops.Candidate, exportops.Cursor) {
				page, next, err := f.Store.Candidates(t.Context(), w.sel, after, limit)
				must(t, err)
				rest, err := f.Store.CountCandidates(t.Context(), w.sel, next)
				must(t, err)
				if len(page) == limit && rest > 0 && next == "" {
					t.Fatalf("%d rows are left without a cursor", rest)
				}
				return page, next
			})
			sees(t, f, w, func(after exportops.Cursor, limit int) ([]exportops.Candidate, exportops.Cursor) {
				page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.Selection, r.After, r.Limit = w.sel, after, limit })
				var batch []exportops.Settlement
				for i, c := range page.Claims {
					switch {
					case c == nil:
					case i%3 == 0:
						batch = append(batch, exportops.Settlement{Claim: c, State: exportops.DeletionFailed, Error: "no"})
					case i%3 == 1:
						batch = append(batch, exportops.Settlement{Claim: c, State: exportops.DeletionDone})
					}
				}
				_, err := f.Store.Settle(t.Context(), check(fence, noon), batch)
				must(t, err)
				return page.Candidates, page.Next
			})
		})
		t.Run(name+"_counts_what_is_left", func(t *testing.T) {
			f := open(t)
			for i := range 10 {
				f.Insert(t, w.row(i))
			}
			_, next, err := f.Store.Candidates(t.Context(), w.sel, "", 4)
			must(t, err)
			for cursor, want := range map[exportops.Cursor]int64{"": 10, next: 6} {
				if n, err := f.Store.CountCandidates(t.Context(), w.sel, cursor); err != nil || n != want {
					t.Fatalf("%d rows after %q, %v; want %d", n, cursor, err, want)
				}
			}
			if _, _, err := f.Store.Candidates(t.Context(), w.sel, "no cursor", 4); err == nil {
				t.Fatal("any text is taken for a cursor")
			}
		})
		t.Run(name+"_is_not_stopped_by_hostile_rows", func(t *testing.T) { hostile(t, open(t), w) })
	}
	t.Run("an_unknown_mode_finds_nothing", func(t *testing.T) {
		f := open(t)
		if page, _, err := f.Store.Candidates(t.Context(), exportops.Selection{Mode: "all"}, "", 4); err == nil {
			t.Fatalf("it found %+v", page)
		}
	})
}

// sees walks through rows, while others arrive, and fails unless it sees every
// row that was there once, and none twice.
func sees(t *testing.T, f Fixture, w walked, page func(exportops.Cursor, int) ([]exportops.Candidate, exportops.Cursor)) {
	t.Helper()
	want, seen := map[string]bool{}, map[string]bool{}
	for i := range 31 {
		r := w.row(i)
		want[r.ExportID] = true
		f.Insert(t, r)
	}
	var cursor exportops.Cursor
	for steps := 0; ; steps++ {
		rows, next := page(cursor, 4)
		for _, c := range rows {
			if seen[c.ExportID] {
				t.Fatalf("row %s comes twice", c.ExportID)
			}
			seen[c.ExportID] = true
		}
		if cursor = next; next == "" {
			break
		}
		if steps > 200 {
			t.Fatal("it comes to no end")
		}
		if steps < 9 { // among, before and behind what was seen
			f.Insert(t, w.row(steps))
		}
	}
	for id := range want {
		if !seen[id] {
			t.Fatalf("row %s was not seen", id)
		}
	}
	f.Exec(t, `DELETE FROM {logs}`)
}

// hostile walks through rows as nobody should write them.
func hostile(t *testing.T, f Fixture, w walked) {
	texts := []string{
		"1\xff\xfe", "1a\x00b", "1" + strings.Repeat("x", 1<<20), "1'; DROP TABLE export_logs; --", `1"\u0000`, "1\u202e💥\n", "1\ufffd", "1",
	}
	n := 0
	if f.Typed {
		texts = slices.DeleteFunc(texts, func(s string) bool { return !utf8.ValidString(s) || strings.Contains(s, "\x00") })
	}
	for i, text := range texts {
		for copies := range 3 { // more than a page of equals
			if len(text) > 1<<20 && copies > 0 {
				continue
			}
			r := w.row(i)
			if f.Typed {
				r.FileURL, r.Error = &text, &text
				f.Insert(t, r)
				n++
				continue
			}
			if w.sel.Mode != exportops.ByErasure {
				r.UserID = text
			}
			if w.sel.Mode != exportops.ByExpiry {
				r.ExpiresAt = &text
			}
			r.ID, r.ExportID, r.Timestamp, r.FileURL = text+fmt.Sprint(copies), text+fmt.Sprint(copies), text, &text
			r.UpdatedAt, r.Error, r.Config = text, &text, text
			f.Insert(t, r)
			n++
		}
	}
	read := 0
	var cursor exportops.Cursor
	for {
		page, next, err := f.Store.Candidates(t.Context(), w.sel, cursor, 2)
		must(t, err)
		if read += len(page); read > n {
			t.Fatalf("%d rows of %d were read, and there is no end", read, n)
		}
		if cursor = next; next == "" {
			break
		}
	}
	_, fence := begin(t, f, exportops.Started)
	seen := map[string]bool{}
	for {
		page := claim(t, f, fence, func(r *exportops.ClaimRequest) { r.Selection, r.After, r.Limit = w.sel, cursor, 2 })
		batch := make([]exportops.Settlement, len(page.Claims))
		for i, c := range page.Claims {
			if c == nil || seen[c.ExportID] {
				t.Fatalf("row %.40q comes twice, or was not claimed", page.Candidates[i].ExportID)
			}
			seen[c.ExportID], batch[i] = true, exportops.Settlement{Claim: c, State: exportops.DeletionDone}
		}
		settled, err := f.Store.Settle(t.Context(), check(fence, noon), batch)
		must(t, err)
		for i, s := range settled {
			if s.State != exportops.DeletionDone || s.RowUnlike || s.RowExpired != (page.Candidates[i].Status == exportops.Completed) {
				t.Fatalf("row %.40q was settled as %+v, but it is what it was", page.Candidates[i].ExportID, s)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if read != n || len(seen) != n {
		t.Fatalf("%d rows of %d were read and %d claimed", read, n, len(seen))
	}
}
