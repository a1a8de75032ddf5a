package cleanup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// planLogs makes a plan of the log rows that are due.
func planLogs(t testing.TB, r *jobs.Runner, change ...func(*jobs.Request)) []byte {
	t.Helper()
	var out bytes.Buffer
	req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, DryRun: true, PlanOut: &out}
	for _, c := range change {
		c(&req)
	}
	a, err := r.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	p := readPlan(t, out.Bytes())
	want(t, "plan", a.Result.Logs.Plan, p.SHA256)
	want(t, "rows of the plan", p.Totals.Delete, a.Result.Logs.WouldDelete)
	return out.Bytes()
}

func olderThan(days int) func(*jobs.Request) {
	return func(r *jobs.Request) { r.RetentionDays = &days }
}

// applyLogs applies a plan of log rows.
func applyLogs(t testing.TB, r *jobs.Runner, plan []byte) exportops.LogCleanupResult {
	t.Helper()
	a, err := r.Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)})
	if err != nil {
		t.Fatal(err)
	}
	return *a.Result.Logs
}

// rowsOf are the ids of rows that a plan deletes.
func rowsOf(t testing.TB, plan []byte) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for e, err := range readPlan(t, plan).LogEntries() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Do == cleanup.PlanDelete {
			ids[e.ID] = true
		}
	}
	return ids
}

// oldSorts inserts old rows of every sort.
func oldSorts(t testing.TB, w *testworld.World) {
	t.Helper()
	at := w.Ago(40 * day)
	w.Insert(
		row{ExportID: id(1), Status: exportops.Failed, Error: "Timeout: late", Expires: never, Timestamp: at},
		row{ExportID: id(2), Status: exportops.Processing, Expires: never, Timestamp: at},
		row{ExportID: id(3), Status: exportops.Expired, URL: "f3", Size: 7, Timestamp: at},
		row{ExportID: id(4), Status: exportops.Failed, Expires: never, Timestamp: at},
		row{ExportID: id(5), URL: "f5", Expires: never, Timestamp: at},
		row{ExportID: id(6), Status: exportops.Expired, URL: "../outside", Timestamp: at},
		row{ExportID: id(7), Status: exportops.Failed, Expires: never, Timestamp: w.Ago(2 * day)},
		row{ExportID: id(8), Status: exportops.Expired, URL: "f5", Timestamp: at},
		row{ExportID: id(9), Expires: never, Timestamp: at},
	)
	w.Write("f3", "content")
	w.Write("f5", "content")
	hold(t, w, exportops.HoldExport, id(4))
}

func TestAPlanOfLogRows(t *testing.T) {
	for _, archived := range []bool{false, true} {
		t.Run(fmt.Sprintf("archived_%v", archived), func(t *testing.T) {
			w := newWorld(t)
			oldSorts(t, w)
			var change []func(*jobs.Options)
			if archived {
				change = append(change, w.Archiving(w.Objects()))
			}
			before, files := w.Dump(), w.Keys()
			plan := planLogs(t, w.Runner(change...))
			want(t, "database", w.Dump(), before)
			want(t, "files", w.Keys(), files)

			got := map[string]string{}
			p := readPlan(t, plan)
			for e, err := range p.LogEntries() {
				w.Must(err)
				got[e.ExportID] = strings.TrimSpace(e.Do + " " + e.Key + e.Why)
			}
			outside := got[id(6)]
			delete(got, id(6))
			want(t, "entries", got, map[string]string{
				id(1): "delete", id(2): "keep in_progress", id(3): "delete f3", id(4): "keep held", id(5): "keep file_may_exist",
				id(8): "keep shared", id(9): "delete",
			})
			if !strings.HasPrefix(outside, "keep ") || len(outside) < 10 {
				t.Errorf("of a key outside it says %q", outside)
			}
			want(t, "totals", p.Totals, cleanup.PlanTotals{Delete: 3, Keep: 5, Files: 1, Bytes: 7, Complete: true})
			if !json.Valid(plan) {
				t.Errorf("it is no JSON:\n%s", plan)
			}

			res := applyLogs(t, w.Runner(change...), plan)
			want(t, "result", logCounts(res), "found 3 deleted 3 files 1")
			want(t, "complete", res.Complete, true)
			want(t, "plan", res.Plan, p.SHA256)
			wantKeys(t, w, "f5")
			want(t, "rows", len(w.Statuses()), 6)
			res = applyLogs(t, w.Runner(change...), plan)
			want(t, "applied again", logCounts(res), "")
		})
	}
}

func TestAPlanOfLogRowsTouchesOnlyWhatItLists(t *testing.T) {
	for name, edit := range map[string]string{
		"status": `status = 'completed'`, "file": `file_url = 'f9'`, "expiry": `expires_at = NULL`, "user": `user_id = '` + other + `'`,
		"format": `format = 'csv'`, "size": `file_size = 9`, "time": `timestamp = '2025-08-01T00:00:00.000Z'`,
		"age": `created_at = '2025-08-01T00:00:00.000Z'`, "export": `export_id = '` + id(77) + `'`,
	} {
		t.Run("the_"+name+"_was_edited", func(t *testing.T) {
			w := newWorld(t)
			oldSorts(t, w)
			plan := planLogs(t, w.Runner())
			w.Exec(`UPDATE export_logs SET `+edit+` WHERE export_id IN (?, ?)`, id(3), id(77))
			res := applyLogs(t, w.Runner(), plan)
			want(t, "result", logCounts(res), "found 3 deleted 2 changed 1")
			wantKeys(t, w, "f3", "f5")
		})
	}
	t.Run("what_became_due_since_stays", func(t *testing.T) {
		w := newWorld(t)
		oldSorts(t, w)
		plan := planLogs(t, w.Runner())
		w.Insert(row{ExportID: id(20), Status: exportops.Failed, Expires: never, Timestamp: w.Ago(50 * day)})
		lone := exportops.Metric{
			ExportID: id(30), UserID: other, Format: exportops.CSV, Status: exportops.Failed, Attempt: 1,
			Timestamp: exportops.At(w.Clock.Now().Add(-20 * day)),
		}
		_, err := w.Store.RecordMetrics(t.Context(), []exportops.Metric{lone})
		w.Must(err)
		w.Clock.Advance(40 * day)
		res := applyLogs(t, w.Runner(), plan)
		want(t, "result", logCounts(res), "found 3 deleted 3 files 1")
		want(t, "lone metrics", res.LoneMetrics, 0)
		want(t, "rows", []exportops.Status{w.Status(7), w.Status(20)}, []exportops.Status{exportops.Failed, exportops.Failed})
		want(t, "without a plan", cleanLogs(t, w).LoneMetrics, 1)
	})
	t.Run("holds_and_claims_that_came_since", func(t *testing.T) {
		w := newWorld(t)
		oldSorts(t, w)
		plan := planLogs(t, w.Runner())
		hold(t, w, exportops.HoldExport, id(1))
		w.Insert(row{ExportID: id(21), URL: "f3", Expires: never}) // and the file of the third is needed
		want(t, "result", logCounts(applyLogs(t, w.Runner(), plan)), "found 3 deleted 1 file_may_exist 1 held 1")
		wantKeys(t, w, "f3", "f5")
	})
	t.Run("a_retention_that_is_longer_by_now", func(t *testing.T) {
		w := newWorld(t)
		oldSorts(t, w)
		plan, named := planLogs(t, w.Runner()), planLogs(t, w.Runner(), olderThan(30))
		longer := w.Runner(func(o *jobs.Options) { o.LogRetention = 60 * day })
		res := applyLogs(t, longer, plan)
		want(t, "deleted, changed", [2]int64{res.DeletedCount, res.Changed}, [2]int64{0, 3})
		want(t, "named", logCounts(applyLogs(t, longer, named)), "found 3 deleted 3 files 1")
	})
	t.Run("another_policy", func(t *testing.T) {
		w := newWorld(t)
		oldSorts(t, w)
		plan := planLogs(t, w.Runner(under(keep(t))))
		want(t, "rows", len(rowsOf(t, plan)), 3)
		_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)})
		if !exportops.IsKind(err, exportops.KindRefused) || !strings.Contains(err.Error(), "retention policy") {
			t.Fatalf("the error is %v", err)
		}
		want(t, "result", logCounts(applyLogs(t, w.Runner(under(keep(t))), plan)), "found 3 deleted 3 files 1")
	})
	t.Run("no_old_records_of_ours", func(t *testing.T) {
		w := newWorld(t)
		oldSorts(t, w)
		applyLogs(t, w.Runner(), planLogs(t, w.Runner(), olderThan(39)))
		w.Clock.Advance(500 * day)
		plan := planLogs(t, w.Runner())
		entries := w.Count(`SELECT count(*) FROM exportops_deletions`)
		applyLogs(t, w.Runner(), plan)
		if n := w.Count(`SELECT count(*) FROM exportops_deletions`); n < entries {
			t.Errorf("%d of %d entries of the ledger are left", n, entries)
		}
	})
}

func TestAPlanOfLogRowsIsOfManyRows(t *testing.T) {
	w := newWorld(t)
	rows := make([]row, 10_001)
	for i := range rows {
		rows[i] = row{Status: exportops.Failed, Expires: never, Timestamp: w.Ago(40 * day)}
	}
	w.Insert(rows...)
	plan := planLogs(t, w.Runner())
	res := applyLogs(t, w.Runner(), plan)
	want(t, "deleted", res.DeletedCount, 10_001)
	want(t, "guards", res.Guards, &exportops.Guards{
		Files: exportops.NewCountGuard(0, 0), LogRows: &exportops.CountGuard{Found: 10_001, Limit: 10_000},
		RefusedBy: []exportops.Guard{exportops.GuardLogRows}, OverriddenBy: exportops.ByPlan,
	})
}

func TestAnApplyOfALogPlanWhoseTimeEnds(t *testing.T) {
	for _, archived := range []bool{false, true} {
		w := newWorld(t)
		for i := range 2500 {
			w.Insert(row{ExportID: id(i), Status: exportops.Failed, Expires: never, Timestamp: w.Ago(40 * day)})
		}
		var change []func(*jobs.Options)
		if archived {
			change = append(change, w.Archiving(w.Objects()))
		}
		_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCommand})
		w.Must(err) // or the rows' hours are rolled up by a clock that is not the test's
		plan := planLogs(t, w.Runner(change...))
		asked := 0
		slow := w.Runner(append(change, func(o *jobs.Options) { o.Store = ticking{o.Store, func() { asked++; w.Clock.Advance(time.Second) }} })...)
		req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan), Budget: 1500 * time.Millisecond}
		a, err := slow.Run(t.Context(), req)
		w.Must(err)
		first := a.Result.Logs
		left := w.Count(`SELECT count(*) FROM export_logs`)
		want(t, "found, remaining", [2]int64{first.TotalFound, first.Remaining}, [2]int64{2500, left})
		if first.Complete || left == 0 || left == 2500 && !archived {
			t.Errorf("%d rows are left of 2500, after %d pages: %+v", left, asked, first)
		}
		req.Budget = 0
		a, err = w.Runner(change...).Run(t.Context(), req)
		w.Must(err)
		want(t, "then deleted", a.Result.Logs.DeletedCount, left)
		want(t, "complete", a.Result.Logs.Complete, true)
	}
}

// TestAPlanDeletesOnlyItsRowsOfAnArchiveThatADeadRunLeft lets a cleanup without a plan
// die everywhere, and applies a plan of a part of its rows then.
func TestAPlanDeletesOnlyItsRowsOfAnArchiveThatADeadRunLeft(t *testing.T) {
	for _, call := range []string{
		"BeginArchive", "AddArchiveMembers", "before .parquet", "created .parquet", "to written", "to verified", "to deleting", "DeleteArchived", "to done",
	} {
		for _, after := range []bool{false, true} {
			if after && strings.Contains(call, ".") {
				continue // it steps in once
			}
			for _, days := range []int{70, 90} { // three of the ten rows, or none
				t.Run(fmt.Sprintf("%s_after_%v_of_%d_days", strings.ReplaceAll(call, " ", "_"), after, days), func(t *testing.T) {
					a := newArchives(t)
					plan := planLogs(t, a.Runner(a.Archiving(a.to)), olderThan(days))
					listed := rowsOf(t, plan)
					a.diesIn(t, call, after)
					before := a.Strings(`SELECT id FROM export_logs`)
					res := applyLogs(t, a.Runner(a.Archiving(a.to)), plan)
					want(t, "complete", res.Complete, true)
					there := map[string]bool{}
					for _, id := range a.Strings(`SELECT id FROM export_logs`) {
						there[id] = true
					}
					gone := int64(0)
					for _, id := range before {
						if there[id] == listed[id] {
							t.Errorf("row %s is listed: %v, and is there: %v", id, listed[id], there[id])
						}
						if !there[id] {
							gone++
						}
					}
					want(t, "deleted", res.DeletedCount, gone)
					open := a.Count(`SELECT count(*) FROM exportops_archives WHERE state NOT IN ('done', 'abandoned')`)
					want(t, "archives left", res.ArchivesLeft, open)
					want(t, "applied again", applyLogs(t, a.Runner(a.Archiving(a.to)), plan).DeletedCount, 0)
					a.mustRun(t) // finishes them
					a.wantEachOnce(t)
					want(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), 3)
					want(t, "archives left open", a.Count(`SELECT count(*) FROM exportops_archives WHERE state NOT IN ('done', 'abandoned')`), 0)
					want(t, "members", a.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
				})
			}
		}
	}
}

// TestARowEditedAfterItWasReadStays edits a row after the plan found it unchanged, and
// before it is archived.
func TestARowEditedAfterItWasReadStays(t *testing.T) {
	a := newArchives(t)
	plan := planLogs(t, a.Runner(a.Archiving(a.to)))
	reads := 0
	r := a.Runner(a.Archiving(a.to), func(o *jobs.Options) {
		o.Store = ticking{o.Store, func() {
			if reads++; reads == 2 { // the first found rows that were not counted yet
				a.Exec(`UPDATE export_logs SET error_message = 'Timeout: edited', file_size = 12 WHERE export_id = ?`, id(7))
			}
		}}
	})
	res := applyLogs(t, r, plan)
	want(t, "deleted, remaining, complete", fmt.Sprint(res.DeletedCount, res.Remaining, res.Complete), "9 1 false")
	res = applyLogs(t, a.Runner(a.Archiving(a.to)), plan)
	want(t, "then", logCounts(res), "found 1 changed 1")
	want(t, "complete", res.Complete, true)
	want(t, "row", a.Status(7), exportops.Failed)
}

// TestAPlanKnowsWhereItsRowsAreArchived so that they are not deleted unarchived because a
// setting is missing.
func TestAPlanKnowsWhereItsRowsAreArchived(t *testing.T) {
	a := newArchives(t)
	elsewhere := a.Objects()
	elsewhere.Name = "test://elsewhere"
	runners := []*jobs.Runner{a.Runner(a.Archiving(a.to)), a.Runner(), a.Runner(a.Archiving(elsewhere))}
	rows := a.Count(`SELECT count(*) FROM export_logs`)
	for i, makes := range runners {
		plan := planLogs(t, makes)
		for j, applies := range runners {
			if i == j {
				continue
			}
			_, err := applies.Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Plan: readPlan(t, plan)})
			if !exportops.IsKind(err, exportops.KindRefused) || !strings.Contains(err.Error(), "made for the archive") {
				t.Errorf("made by %d, applied by %d: %v", i, j, err)
			}
		}
	}
	want(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), rows)
}
