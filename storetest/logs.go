package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testLogs(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("selection", func(t *testing.T) { testLogSelection(t, open) })
	t.Run("pages", func(t *testing.T) { testLogPages(t, open) })
	t.Run("counted", func(t *testing.T) { testCounted(t, open) })
	t.Run("delete", func(t *testing.T) { testDeleteRows(t, open) })
	t.Run("by_id", func(t *testing.T) { logRowsByID(t, open(t)) })
	t.Run("statistics", func(t *testing.T) { testStatistics(t, open) })
}

// old selects rows from before noon.
var old = exportops.LogSelection{Cut: noon}

// logRows reads every row of a selection, three at a time.
func logRows(t testing.TB, f Fixture, s exportops.LogSelection) map[string]exportops.LogRow {
	t.Helper()
	all := map[string]exportops.LogRow{}
	var cursor exportops.Cursor
	for {
		page, next, err := f.Store.LogRows(t.Context(), s, cursor, 3)
		must(t, err)
		for _, r := range page {
			if _, twice := all[r.ID]; twice {
				t.Fatalf("row %.40q comes twice", r.ID)
			}
			all[r.ID] = r
		}
		if cursor = next; next == "" {
			return all
		}
	}
}

// logRowsByID reads rows as pages have them, and so that they can be deleted.
func logRowsByID(t *testing.T, f Fixture) {
	expired, failed, other := due(after(noon, -time.Hour)), Row{Status: "failed"}.Complete(after(noon, -3*time.Hour)), Row{}.Complete(after(noon, -4*time.Hour))
	f.Insert(t, expired, failed, other)
	_, fence := begin(t, f, exportops.Started)
	settleOne(t, f, fence, exportops.Settlement{Claim: claim(t, f, fence).Claims[0], State: exportops.DeletionAbsent})
	rollUp(t, f)
	all := logRows(t, f, old)
	got, err := f.Store.LogRowsByID(t.Context(), []string{failed.ID, exportops.NewID(), "none", expired.ID})
	must(t, err)
	if len(got) != 2 {
		t.Fatalf("of two rows that are there come %+v", got)
	}
	for _, r := range got {
		as := all[r.ID]
		r.Cursor, r.Seen, as.Cursor, as.Seen = "", nil, "", nil
		if d := cmp.Diff(as, r); d != "" {
			t.Errorf("row %s (-by page +by id):\n%s", r.ID, d)
		}
	}
	if none, err := f.Store.LogRowsByID(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("of none come %+v, %v", none, err)
	}
	deleteRows(t, f, fence, got, 2)
	if f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, other.ID) != 1 {
		t.Error("the row that was not named is gone")
	}
}

func testLogSelection(t *testing.T, open func(testing.TB) Fixture) {
	user := exportops.NewID()
	before := after(noon, -time.Millisecond)
	rows := map[string]Row{
		"before": Row{}.Complete(before), "at_the_cut": Row{}.Complete(noon),
		"of_the_user": Row{UserID: user}.Complete(before), "of_the_user_at_the_cut": Row{UserID: user}.Complete(noon),
	}
	for _, s := range exportops.Statuses {
		rows[string(s)] = Row{Status: string(s)}.Complete(before)
	}
	f := open(t)
	for name, text := range unreadableIn(f) {
		if text != "" {
			rows["asked_"+name] = Row{Timestamp: text, CreatedAt: before.String()}.Complete(noon)
			rows["of_the_user_asked_"+name] = Row{UserID: user, Timestamp: text, CreatedAt: before.String()}.Complete(noon)
		}
	}
	names := map[string]string{}
	for name, r := range rows {
		f.Insert(t, r)
		names[r.ID] = name
	}
	for what, c := range map[string]struct {
		sel  exportops.LogSelection
		want func(name string) bool
	}{
		"everyone": {old, func(name string) bool {
			return !strings.Contains(name, "asked_") && !strings.Contains(name, "at_the_cut")
		}},
		"user":         {exportops.LogSelection{UserID: user}, func(name string) bool { return strings.HasPrefix(name, "of_the_user") }},
		"user_and_age": {exportops.LogSelection{UserID: user, Cut: noon}, func(name string) bool { return name == "of_the_user" }},
	} {
		t.Run(what, func(t *testing.T) {
			want, got := map[string]bool{}, map[string]bool{}
			for name := range rows {
				if c.want(name) {
					want[name] = true
				}
			}
			found := logRows(t, f, c.sel)
			for _, r := range found {
				// What is not old enough may be handed out, and must be told apart.
				if exportops.JudgeRow(r, true, c.sel.Cut) != exportops.KeepNotDue {
					got[names[r.ID]] = true
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
			if n, err := f.Store.CountLogRows(t.Context(), c.sel, ""); err != nil || n != int64(len(found)) {
				t.Fatalf("%d rows are counted, %v; %d were handed out", n, err, len(found))
			}
		})
	}
}

func testLogPages(t *testing.T, open func(testing.TB) Fixture) {
	user := exportops.NewID()
	row := func(i int) Row { return Row{UserID: user}.Complete(after(noon, time.Duration(i%3-5)*time.Minute)) }
	for name, sel := range map[string]exportops.LogSelection{"age": old, "user": {UserID: user}, "user_and_age": {UserID: user, Cut: noon}} {
		w := walked{row: row}
		t.Run(name+"_sees_every_row_once", func(t *testing.T) {
			f := open(t)
			_, fence := begin(t, f, exportops.Started)
			sees(t, f, w, func(after exportops.Cursor, limit int) ([]exportops.Candidate, exportops.Cursor) {
				page, next, err := f.Store.LogRows(t.Context(), sel, after, limit)
				must(t, err)
				return candidates(page), next
			})
			sees(t, f, w, func(after exportops.Cursor, limit int) ([]exportops.Candidate, exportops.Cursor) {
				rollUp(t, f)
				page, next, err := f.Store.LogRows(t.Context(), sel, after, limit)
				must(t, err)
				var going []exportops.LogRow // every other one
				for i := 1; i < len(page); i += 2 {
					going = append(going, page[i])
				}
				deleteRows(t, f, fence, going, len(going))
				return candidates(page), next
			})
		})
		t.Run(name+"_counts_what_is_left", func(t *testing.T) {
			f := open(t)
			for i := range 10 {
				f.Insert(t, row(i))
			}
			_, next, err := f.Store.LogRows(t.Context(), sel, "", 4)
			must(t, err)
			for cursor, want := range map[exportops.Cursor]int64{"": 10, next: 6} {
				if n, err := f.Store.CountLogRows(t.Context(), sel, cursor); err != nil || n != want {
					t.Fatalf("%d rows after %q, %v; want %d", n, cursor, err, want)
				}
			}
		})
	}
	f := open(t)
	if f.Typed {
		return // columns with types hold no hostile rows
	}
	t.Run("hostile_rows_go_like_others", func(t *testing.T) {
		for _, text := range []string{"1\xff\xfe", "1a\x00b", "1" + strings.Repeat("x", 1<<20), "1'; --", `1"\u0000`, "1\ufffd"} {
			for _, n := range []string{"a", "b", "c"}[:1+2*min(1, 1000/len(text))] {
				f.Insert(t, Row{
					ID: text + n, ExportID: text + n, UserID: text, Timestamp: text, CreatedAt: text, UpdatedAt: text, Config: text, Error: &text, Status: "failed",
				}.Complete(noon))
			}
		}
		total := f.Count(t, `SELECT count(*) FROM {logs}`)
		if n := len(logRows(t, f, old)); int64(n) != total {
			t.Fatalf("%d rows of %d were read", n, total)
		}
		observe(t, f, 0)
		_, fence := begin(t, f, exportops.Started)
		var cursor exportops.Cursor
		for {
			page, next, err := f.Store.LogRows(t.Context(), old, cursor, 2)
			must(t, err)
			for _, r := range page {
				if !r.Counted {
					t.Errorf("row %.40q counts nowhere, and is said to be missing there", r.ID)
				}
			}
			deleteRows(t, f, fence, page, len(page))
			if cursor = next; cursor == "" {
				break
			}
		}
		if n := f.Count(t, `SELECT count(*) FROM {logs}`); n != 0 {
			t.Fatalf("%d rows of %d are left", n, total)
		}
	})
}

func candidates(rows []exportops.LogRow) []exportops.Candidate {
	out := make([]exportops.Candidate, len(rows))
	for i, r := range rows {
		out[i] = r.Candidate
	}
	return out
}

// rolled writes the rollup of an hour as it is.
func rolled(t testing.TB, f Fixture, hour exportops.Time) {
	t.Helper()
	write(t, f, exportops.Rollup{Start: hour}, stateOf(t, f, hour).Version, true)
}

func testCounted(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	asked := after(hour, time.Minute)
	frozenAndRolled := func(t *testing.T, f Fixture, _ Row) { observe(t, f, 1); rolled(t, f, hour) }
	measured := func(f Fixture, t *testing.T, r Row, status exportops.Status, at exportops.Time) {
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Status, m.Timestamp = r.ExportID, status, at }))
	}
	for name, c := range map[string]struct {
		row  Row
		do   func(t *testing.T, f Fixture, r Row)
		want bool
	}{
		"nobody_has_looked":     {},
		"frozen_but_not_rolled": {do: func(t *testing.T, f Fixture, _ Row) { observe(t, f, 1) }},
		"frozen_and_rolled":     {do: frozenAndRolled, want: true},
		"failed":                {row: Row{Status: "failed"}, do: frozenAndRolled, want: true},
		"expired":               {row: Row{Status: "expired"}, do: frozenAndRolled, want: true},
		"expired_since": {do: func(t *testing.T, f Fixture, r Row) {
			frozenAndRolled(t, f, r)
			f.Exec(t, `UPDATE {logs} SET status = 'expired'`)
		}, want: true},
		"another_export_made_the_hour_dirty": {do: func(t *testing.T, f Fixture, r Row) {
			frozenAndRolled(t, f, r)
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = asked }))
		}},
		"tried_again_since": {row: Row{Status: "failed"}, do: func(t *testing.T, f Fixture, r Row) {
			frozenAndRolled(t, f, r)
			f.Exec(t, `UPDATE {logs} SET status = 'completed'`)
		}},
		"failed_when_tried_again": {do: func(t *testing.T, f Fixture, r Row) {
			frozenAndRolled(t, f, r)
			f.Exec(t, `UPDATE {logs} SET status = 'failed'`)
		}},
		"measured_and_rolled": {do: func(t *testing.T, f Fixture, r Row) {
			measured(f, t, r, exportops.Failed, asked) // whatever the row says
			rolled(t, f, hour)
		}, want: true},
		"measured_in_progress": {row: Row{Status: "queued"}, do: func(t *testing.T, f Fixture, r Row) {
			measured(f, t, r, exportops.Queued, asked)
			write(t, f, exportops.Rollup{Start: hour, Open: 1}, 0, true)
		}},
		"measured_in_the_hour_of_another_row": {do: func(t *testing.T, f Fixture, r Row) {
			measured(f, t, r, exportops.Completed, asked)
			rolled(t, f, hour)
			f.Exec(t, `UPDATE {logs} SET timestamp = ?`, after(asked, -time.Hour).String())
		}},
		"sealed": {do: func(t *testing.T, f Fixture, r Row) {
			observe(t, f, 1)
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`) // it takes what comes as it comes
		}, want: true},
		"unreadable_time": {row: Row{Timestamp: "1", CreatedAt: asked.String()}, want: true}, // it counts nowhere
		"unreadable_time_measured": {row: Row{Timestamp: "1", CreatedAt: asked.String()}, do: func(t *testing.T, f Fixture, r Row) {
			measured(f, t, r, exportops.Completed, asked)
		}},
		"unreadable_time_measured_and_rolled": {row: Row{Timestamp: "1", CreatedAt: asked.String()}, do: func(t *testing.T, f Fixture, r Row) {
			measured(f, t, r, exportops.Completed, asked)
			rolled(t, f, hour)
		}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := c.row.Complete(asked)
			if f.Typed && r.Timestamp == "1" {
				r.Timestamp = typedUnreadable["minus_infinity"]
			}
			f.Insert(t, r)
			if c.do != nil {
				c.do(t, f, r)
			}
			if got := logRows(t, f, old)[r.ID]; got.ID != r.ID || got.Counted != c.want {
				t.Fatalf("counted: %v, want %v; the row is %+v", got.Counted, c.want, got)
			}
		})
	}
}
