package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// changedStays changes something between the reading of a row and its deletion.
func changedStays(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	exec := func(query string, args ...any) func(*testing.T, Fixture, Row) {
		return func(t *testing.T, f Fixture, r Row) { f.Exec(t, query+` WHERE id = ?`, append(args, r.ID)...) }
	}
	for name, c := range map[string]struct {
		change func(*testing.T, Fixture, Row)
		goes   bool
	}{
		"nothing": {func(*testing.T, Fixture, Row) {}, true},
		"status":  {exec(`UPDATE {logs} SET status = 'processing'`), false},
		"failed":  {exec(`UPDATE {logs} SET status = 'failed'`), false},
		"file":    {exec(`UPDATE {logs} SET file_url = ?`, "another"), false},
		"no_file": {exec(`UPDATE {logs} SET file_url = NULL`), false},
		"expiry":  {exec(`UPDATE {logs} SET expires_at = ?`, after(noon, time.Hour).String()), false},
		"time":    {exec(`UPDATE {logs} SET timestamp = ?`, after(hour, 2*time.Minute).String()), false},
		"user":    {exec(`UPDATE {logs} SET user_id = ?`, exportops.NewID()), false},
		"gone":    {exec(`DELETE FROM {logs}`), false},
		"a_metric_of_the_export": {func(t *testing.T, f Fixture, r Row) {
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = r.ExportID, hour }))
		}, false},
		"a_metric_of_another_export": {func(t *testing.T, f Fixture, _ Row) {
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		}, false}, // the hour is to be computed again
		"a_metric_of_another_export_in_a_sealed_hour": {func(t *testing.T, f Fixture, _ Row) {
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`)
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		}, true},
		"a_metric_of_the_export_in_a_sealed_hour": {func(t *testing.T, f Fixture, r Row) {
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`)
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = r.ExportID, hour }))
		}, true}, // which took it
		"an_hour_that_was_computed_again": {func(t *testing.T, f Fixture, _ Row) {
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
			rolled(t, f, hour)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := Row{Status: "expired", FileURL: ptr("a"), ExpiresAt: ptr(noon.String())}.Complete(after(hour, time.Minute))
			bystander := Row{}.Complete(after(hour, -time.Hour)) // of another hour
			f.Insert(t, r, bystander)
			rollUp(t, f)
			_, fence := begin(t, f, exportops.Started)
			rows := chosen(t, f, r.ID, bystander.ID)
			c.change(t, f, r)
			want := 1
			if c.goes {
				want = 2
			}
			if gone := deleteRows(t, f, fence, rows, want); gone[0] != c.goes || !gone[1] {
				t.Fatalf("gone: %v", gone)
			}
			if name != "gone" && (f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, r.ID) == 0) != c.goes {
				t.Fatal("the answer is not what happened")
			}
		})
	}
}

// dirtyIsNotSealed reports to the hour of an export whose row has a time that cannot be
// read, between the reading of the row and its deletion: no hour is the row's own.
func dirtyIsNotSealed(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	for name, c := range map[string]struct {
		change func(*testing.T, Fixture, Row)
		goes   bool
	}{
		"nothing": {func(*testing.T, Fixture, Row) {}, true},
		"a_metric_of_another_export": {func(t *testing.T, f Fixture, _ Row) {
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		}, false},
		"a_metric_of_the_export_in_another_hour": {func(t *testing.T, f Fixture, r Row) {
			record(t, f, metric(func(m *exportops.Metric) {
				m.ExportID, m.Attempt, m.Timestamp = r.ExportID, 2, after(hour, -3*time.Hour)
			}))
		}, false},
		"a_metric_of_an_export_that_had_none": {func(t *testing.T, f Fixture, r Row) {
			f.Exec(t, `DELETE FROM exportops_export_metrics`)
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = r.ExportID, after(hour, -3*time.Hour) }))
		}, false},
		"a_deletion_of_its_file": {func(t *testing.T, f Fixture, _ Row) {
			f.Exec(t, `DELETE FROM exportops_export_metrics`)
			observe(t, f, 0)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := Row{Timestamp: "1", CreatedAt: hour.String(), Status: "failed"}.Complete(after(hour, time.Minute))
			if f.Typed {
				r.Timestamp = typedUnreadable["minus_infinity"]
			}
			f.Insert(t, r)
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Status, m.Timestamp = r.ExportID, exportops.Failed, hour }))
			rollUp(t, f)
			_, fence := begin(t, f, exportops.Started)
			rows := chosen(t, f, r.ID)
			if !rows[0].Counted {
				t.Fatalf("it is not counted: %+v", rows[0])
			}
			c.change(t, f, r)
			want := 0
			if c.goes {
				want = 1
			}
			deleteRows(t, f, fence, rows, want)
			if n := f.Count(t, `SELECT count(*) FROM exportops_rollup_hours WHERE sealed AND NOT clean`); n != 0 {
				t.Fatalf("%d hours are sealed though they are dirty", n)
			}
		})
	}
}

// resultGoesWithRows asks for the result of a run in the transaction of a
// deletion.
func resultGoesWithRows(t *testing.T, f Fixture) {
	a, b := Row{}.Complete(after(noon, -time.Hour)), Row{}.Complete(after(noon, -time.Hour))
	f.Insert(t, a, b)
	rollUp(t, f)
	run, fence := begin(t, f, exportops.Started)
	rows := chosen(t, f, a.ID, b.ID)
	f.Exec(t, `UPDATE {logs} SET status = 'queued' WHERE id = ?`, b.ID)
	c := check(fence, noon)
	c.Progress = json.RawMessage(`{"deleted_count":7}`)
	no := errors.New("no")
	_, err := f.Store.DeleteLogRows(t.Context(), c, rows, func(exportops.LogDeletion) (json.RawMessage, error) { return nil, no })
	if !errors.Is(err, no) || f.Count(t, `SELECT count(*) FROM {logs}`) != 2 || runOf(t, f, run.ID).Result != nil {
		t.Fatalf("after %v, %d rows are left, and the run is %+v", err, f.Count(t, `SELECT count(*) FROM {logs}`), runOf(t, f, run.ID))
	}
	_, err = f.Store.DeleteLogRows(t.Context(), c, rows, func(d exportops.LogDeletion) (json.RawMessage, error) {
		if len(d.Gone) != 2 || !d.Gone[0] || d.Gone[1] {
			t.Errorf("gone: %v", d.Gone)
		}
		return json.RawMessage(`{"deleted_count":8}`), nil
	})
	must(t, err)
	if got := runOf(t, f, run.ID).Result; string(got) != `{"deleted_count":8}` {
		t.Fatalf("the result is %s", got)
	}
}
