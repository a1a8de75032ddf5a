package cleanup_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// Rows are what users wrote: one of them must not make a plan that nobody can apply.
func TestAPlanIsReadWhateverRowsSay(t *testing.T) {
	huge := strings.Repeat("x", 17<<20)
	t.Run("of_files", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		w.Insert(row{ExportID: id(2), URL: huge})
		plan := planned(t, w)
		want(t, "result", counts(clean(t, w, applying(t, plan))), "found 1 deleted 1 updated 1")
	})
	t.Run("of_log_rows", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), Status: exportops.Failed, Timestamp: w.Ago(40 * day)})
		w.Insert(row{ExportID: id(2), Status: exportops.Failed, Timestamp: w.Ago(40 * day), URL: huge})
		plan := planLogs(t, w.Runner())
		if n := applyLogs(t, w.Runner(), plan).DeletedCount; n != 1 {
			t.Errorf("%d rows were deleted, want 1", n)
		}
	})
	for name, change := range map[string]string{
		"of_the_last_year":  `UPDATE export_logs SET created_at = '9999-12-31T00:00:00.000Z'`,
		"with_a_long_url":   `UPDATE export_logs SET file_url = '` + huge + `'`,
		"held_with_one_too": `UPDATE export_logs SET file_url = '` + huge + `', expires_at = 'soon'`,
	} {
		t.Run("of_expiries_"+name, func(t *testing.T) {
			p := expiryPolicy(t)
			w := policyWorld(t, p)
			promised(w, 2, exportops.JSON, 20*day)
			w.Exec(change)
			promised(w, 1, exportops.JSON, 20*day)
			before := expiries(w)
			plan := expiryPlan(t, w, p)
			want(t, "result", expiryCounts(applyExpiries(t, w, p, plan)), "earlier 1")
			want(t, "expiries", expiries(w), []string{w.Ago(-6 * day), before[1]})
		})
	}
}

// What rows say of sizes is added up, and shown to whoever is to apply the plan.
func TestAPlansBytesAreNeverFewerThanAFiles(t *testing.T) {
	const most = math.MaxInt64
	rows := func(w *testworld.World, r row) {
		for n, size := range []int64{most - 1, 7, most} {
			r.ExportID, r.URL, r.Size = id(n+1), fmt.Sprintf("f%d", n+1), size
			w.Insert(r)
			w.Write(r.URL, "content")
		}
	}
	t.Run("of_files", func(t *testing.T) {
		w := newWorld(t)
		rows(w, row{})
		plan := planned(t, w)
		want(t, "bytes", readPlan(t, plan).Totals.Bytes, int64(most))
		want(t, "result", counts(clean(t, w, applying(t, plan))), "found 3 deleted 3 updated 3")
	})
	t.Run("of_log_rows", func(t *testing.T) {
		w := newWorld(t)
		rows(w, row{Status: exportops.Failed, Timestamp: w.Ago(40 * day)})
		plan := planLogs(t, w.Runner())
		want(t, "bytes", readPlan(t, plan).Totals.Bytes, int64(most))
		want(t, "rows", applyLogs(t, w.Runner(), plan).DeletedCount, int64(3))
	})
}
