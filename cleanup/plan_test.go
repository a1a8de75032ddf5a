package cleanup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// planned makes a plan of what is due.
func planned(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) []byte {
	t.Helper()
	var out bytes.Buffer
	req := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand, DryRun: true, PlanOut: &out}
	for _, c := range change {
		c(&req)
	}
	_, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	return out.Bytes()
}

func readPlan(t testing.TB, plan []byte) *cleanup.Plan {
	t.Helper()
	p, err := cleanup.ReadPlan(bytes.NewReader(plan))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func applying(t testing.TB, plan []byte) func(*jobs.Request) {
	p := readPlan(t, plan)
	return func(r *jobs.Request) { r.Plan, r.Trigger = p, exportops.ByCommand }
}

func TestAPlan(t *testing.T) {
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1), URL: "a", Size: 7}, row{ExportID: id(2)}, row{ExportID: id(3), URL: "b", Expires: w.Ago(5 * day)},
		row{ExportID: id(4), URL: "../outside"}, row{ExportID: id(5), URL: "live"}, row{ExportID: id(6), URL: "live", Expires: never},
	)
	w.Write("a", "content")
	w.Write("live", "content")
	before, rows := w.Keys(), w.Statuses()
	plan := planned(t, w)
	want(t, "files", w.Keys(), before)
	want(t, "rows", w.Statuses(), rows)
	want(t, "runs", w.Count(`SELECT count(*) FROM exportops_runs`), int64(0))

	got := map[string]string{}
	p := readPlan(t, plan)
	for e, err := range p.Entries() {
		w.Must(err)
		got[e.ExportID] = strings.TrimSpace(e.Do + " " + e.Key + e.Why)
	}
	outside := got[id(4)]
	delete(got, id(4))
	want(t, "entries", got, map[string]string{
		id(1): "delete a", id(2): "no_file", id(3): "keep implausible", id(5): "keep shared",
	})
	if !strings.HasPrefix(outside, "keep ") || len(outside) < 10 {
		t.Errorf("of a key outside it says %q", outside)
	}
	want(t, "totals", p.Totals, cleanup.PlanTotals{Delete: 1, NoFile: 1, Keep: 3, Bytes: 7, Complete: true})
	if !json.Valid(plan) {
		t.Errorf("it is no JSON:\n%s", plan)
	}

	res := clean(t, w, applying(t, plan))
	want(t, "result", counts(res), "found 2 deleted 1 no_file 1 updated 2")
	want(t, "plan", res.Plan, p.SHA256)
	wantKeys(t, w, "live")
	want(t, "the row outside has no entry", w.Ledger(4), nil)

	res = clean(t, w, applying(t, plan))
	want(t, "applied again", counts(res), "")
}

func TestAPlanTouchesOnlyWhatItLists(t *testing.T) {
	w := newWorld(t)
	expired(w, 8)
	w.Insert(row{ExportID: id(20), URL: "later", Expires: w.Ago(-time.Minute)})
	w.Write("later", "x")
	plan := planned(t, w)
	w.Exec(`UPDATE export_logs SET file_url = 'f9' WHERE export_id = ?`, id(1))
	w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(day), id(2))
	w.Exec(`UPDATE export_logs SET status = 'failed' WHERE export_id = ?`, id(3))
	w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(4))
	w.Insert(row{ExportID: id(21), URL: "new"}, row{ExportID: id(22), URL: "f5", Expires: never})
	w.Write("new", "x")
	w.Write("f9", "x")
	w.Clock.Advance(time.Hour)
	res := clean(t, w, applying(t, plan))
	want(t, "result", counts(res), "found 8 deleted 3 changed 4 shared 1 updated 3")
	wantKeys(t, w, "f1", "f2", "f3", "f4", "f5", "f9", "later", "new")
	want(t, "a row that became due", w.Status(20), exportops.Completed)
}

func TestAPlanLeavesClaimsOfOthersAlone(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "f1"})
	w.Write("f1", "x")
	diesBefore(t, w)
	w.Insert(row{ExportID: id(2), URL: "f2"})
	w.Write("f2", "x")
	plan := planned(t, w) // keeps the first: it is claimed
	res := clean(t, w, applying(t, plan))
	want(t, "result", counts(res), "found 1 deleted 1 updated 1")
	wantKeys(t, w, "f1")
	want(t, "claim", w.Ledger(1), []string{"claimed"})
}

func TestAPlanThatWasInterruptedGoesOn(t *testing.T) {
	for name, dies := range map[string]func(testing.TB, *testworld.World, ...func(*jobs.Request)){
		"before_a_batch_is_deleted": diesBefore, "after_it_was": diesAfter,
	} {
		for _, again := range []string{"at once", "after another run"} {
			t.Run(name+"/"+strings.ReplaceAll(again, " ", "_"), func(t *testing.T) {
				w := newWorld(t)
				w.Files.Batch = 4
				expired(w, 10)
				w.Insert(row{ExportID: id(50)})
				plan := planned(t, w)
				w.Insert(row{ExportID: id(51), URL: "new"})
				w.Write("new", "x")
				dies(t, w, applying(t, plan))
				if again == "after another run" {
					// It ends the dead run, and recovers its claims.
					clean(t, w, byAge(24*365))
				}
				res := clean(t, w, applying(t, plan))
				want(t, "complete", res.Complete, true)
				want(t, "failed", res.FailedCount, int64(0))
				want(t, "changed", res.Changed, int64(0))
				if again == "at once" {
					want(t, "dealt with", res.Dealt(), int64(11))
				}
				wantKeys(t, w, "new")
				want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(0))
			})
		}
	}
}

// What was changed since the plan was made is met again by who takes the run over, and
// counted once.
func TestATakenOverPlanCountsOnce(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	plan := planned(t, w)
	w.Exec(`DELETE FROM export_logs WHERE export_id IN (?, ?)`, id(1), id(2)) // of the first batch
	calls := 0
	w.Files.Change = func(keys []string, results []exportops.FileResult) error {
		if calls++; calls == 2 {
			panic(errCrash)
		}
		results[slices.Index(keys, "f3")].Removal = exportops.Replaced
		return nil
	}
	die(t, w, applying(t, plan))
	want(t, "result", counts(clean(t, w, applying(t, plan))), "found 12 deleted 9 changed 3 updated 9 recovered 8")
}

func TestAPlanByAge(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "f1", Expires: never}, row{ExportID: id(2), URL: "f2", Expires: never, Timestamp: w.Ago(time.Hour)})
	w.Write("f1", "x")
	w.Write("f2", "x")
	plan := planned(t, w, byAge(24))
	w.Clock.Advance(2 * day) // by now the second is old enough as well
	res := clean(t, w, applying(t, plan))
	want(t, "result", counts(res), "found 1 deleted 1 updated 1")
	wantKeys(t, w, "f2")
}

func TestAPlanIsOfManyFiles(t *testing.T) {
	w := newWorld(t)
	rows := make([]row, 10_001)
	w.Insert(rows...)
	plan := planned(t, w)
	a, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)})
	w.Must(err)
	want(t, "no file", a.Result.Files.NoFile, int64(10_001))
	want(t, "overridden by", a.Result.Files.Guards.OverriddenBy, exportops.ByPlan)
	want(t, "forced", a.Run.Forced, false)
}

func TestAPlanIsRefused(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	plan := planned(t, w)
	refuse := func(t *testing.T, err error) {
		t.Helper()
		if !exportops.IsKind(err, exportops.KindRefused) {
			t.Errorf("the error is %v", err)
		}
		want(t, "files", len(w.Keys()), 3)
	}
	for name, edit := range map[string]func(string) string{
		"where_an_entry_was_edited": func(s string) string { return strings.Replace(s, `"f2"`, `"f9"`, 1) },
		"where_an_entry_is_missing": func(s string) string {
			l := strings.SplitAfter(s, "\n")
			return strings.Join(append(l[:1:1], l[2:]...), "")
		},
		"where_its_end_is_missing":     func(s string) string { return s[:len(s)*2/3] },
		"where_something_was_appended": func(s string) string { return s + "\n" },
		"where_it_was_formatted_anew": func(s string) string {
			var b bytes.Buffer
			_ = json.Indent(&b, []byte(s), "", "  ")
			return b.String()
		},
		"where_it_is_empty": func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cleanup.ReadPlan(strings.NewReader(edit(string(plan))))
			refuse(t, err)
		})
	}
	for name, change := range map[string]func(*jobs.Options){
		"of_another_database": func(o *jobs.Options) { o.Database = "another" },
		"of_another_storage":  func(o *jobs.Options) { o.Files = elsewhere{o.Files} },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Runner(change).Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Plan: readPlan(t, plan)})
			refuse(t, err)
			want(t, "runs", w.Count(`SELECT count(*) FROM exportops_runs`), int64(0))
		})
	}
	t.Run("not_where_nothing_was_done_to_it", func(t *testing.T) {
		want(t, "result", counts(clean(t, w, applying(t, plan))), fmt.Sprintf("found %d deleted %[1]d updated %[1]d", 3))
	})
}

type elsewhere struct{ exportops.FileStore }

func (elsewhere) ID() string { return "file:///elsewhere" }

// TestAPlanCountsARowThatIsGoneOnce where a dead run had claimed its file.
func TestAPlanCountsARowThatIsGoneOnce(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	plan := planned(t, w)
	diesBefore(t, w, applying(t, plan))
	w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(1))
	want(t, "result", counts(clean(t, w, applying(t, plan))), "found 2 deleted 1 changed 1 updated 1 recovered 2")
}
