package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func testForget(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("lone_metrics_go_once_their_hour_holds_them", func(t *testing.T) { forgetLone(t, open(t)) })
	t.Run("old_runs_go_and_the_last_slot_stays", func(t *testing.T) { forgetRuns(t, open(t)) })
	t.Run("old_deletions_go_after_their_row", func(t *testing.T) { forgetDeletions(t, open(t)) })
}

// heldRun begins a run and returns a checkpoint of it.
func heldRun(t testing.TB, f Fixture, now exportops.Time) exportops.Checkpoint {
	t.Helper()
	_, fence, _, err := f.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: exportops.LogCleanup, Lane: exportops.NewID(), Params: []byte(`{}`), Trigger: exportops.ByCommand,
		Holder: "storetest", Now: now, Lease: time.Minute,
	})
	must(t, err)
	return exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Minute}
}

func forgetLone(t *testing.T, f Fixture) {
	row := Row{}.Complete(noon)
	f.Insert(t, row)
	user := exportops.NewID()
	of := func(at exportops.Time, status exportops.Status, change ...func(*exportops.Metric)) exportops.Metric {
		return metric(append(change, func(m *exportops.Metric) { m.Timestamp, m.Status = at, status })...)
	}
	old := of(noon, exportops.Completed, func(m *exportops.Metric) { m.UserID = user })
	record(t, f,
		old, of(noon, exportops.Failed), of(noon, exportops.Processing), // the last is under way
		of(noon, exportops.Completed, func(m *exportops.Metric) { m.ExportID = row.ExportID }),
		of(after(noon, time.Hour), exportops.Completed), // its hour is dirty
		of(after(noon, 3*time.Hour), exportops.Completed),
	)
	cp := heldRun(t, f, noon)
	all := func(s exportops.LogSelection) (n int64) {
		t.Helper()
		var next exportops.Cursor
		for {
			deleted, after, err := f.Store.DeleteLoneMetrics(t.Context(), cp, s, next, 1, func(n int64) (json.RawMessage, error) {
				return json.RawMessage(fmt.Sprintf(`{"gone":%d}`, n)), nil
			})
			must(t, err)
			if deleted > 0 { // the count is kept with the deletion
				run, err := f.Store.Run(t.Context(), cp.RunID)
				must(t, err)
				if want := fmt.Sprintf(`{"gone":%d}`, deleted); string(run.Result) != want {
					t.Fatalf("the run says %s, want %s", run.Result, want)
				}
			}
			n += deleted
			if next = after; next == "" {
				return n
			}
		}
	}
	cut := exportops.LogSelection{Cut: after(noon, 2*time.Hour)}
	if n := all(cut); n != 0 {
		t.Fatalf("%d were deleted that no rollup held", n)
	}
	write(t, f, exportops.Rollup{Start: noon}, stateOf(t, f, noon).Version, true)
	if n := all(exportops.LogSelection{UserID: user}); n != 1 {
		t.Fatalf("%d of the user's were deleted, want 1", n)
	}
	if n := all(cut); n != 1 {
		t.Fatalf("%d were deleted, want the failed one", n)
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_export_metrics`); n != 4 {
		t.Fatalf("%d metrics are left, want 4", n)
	}
	if !stateOf(t, f, noon).Sealed {
		t.Fatal("the hour was not sealed")
	}
	if _, _, err := f.Store.DeleteLoneMetrics(t.Context(), exportops.Checkpoint{Now: noon}, cut, "", 10, nil); err != nil {
		t.Fatalf("nothing to delete needs no fence: %v", err)
	}
	write(t, f, exportops.Rollup{Start: after(noon, time.Hour)}, stateOf(t, f, after(noon, time.Hour)).Version, true)
	if _, _, err := f.Store.DeleteLoneMetrics(t.Context(), exportops.Checkpoint{Now: noon}, cut, "", 10, nil); err == nil {
		t.Fatal("a metric was deleted by nobody's run")
	}
}

func forgetRuns(t *testing.T, f Fixture) {
	must(t, f.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{noon, after(noon, time.Hour)}, exportops.RunMissed, noon))
	for range 3 {
		cp := heldRun(t, f, noon)
		_, err := f.Store.FinishRun(t.Context(), cp, exportops.RunDone, "")
		must(t, err)
	}
	late := heldRun(t, f, after(noon, 48*time.Hour))
	_, err := f.Store.FinishRun(t.Context(), late, exportops.RunDone, "")
	must(t, err)
	cp := heldRun(t, f, noon) // active, however old
	var total int64
	for {
		n, err := f.Store.ForgetRuns(t.Context(), cp, after(noon, 24*time.Hour), 2)
		must(t, err)
		if total += n; n == 0 {
			break
		}
	}
	if left := f.Count(t, `SELECT count(*) FROM exportops_runs`); total != 4 || left != 3 {
		t.Fatalf("%d were forgotten and %d are left, want 4 and 3", total, left)
	}
	since, err := f.Store.Schedule(t.Context(), exportops.FileCleanup, "* * * * *", after(noon, -time.Hour))
	must(t, err)
	if !since.Equal(after(noon, time.Hour).Time) {
		t.Fatalf("the watermark is %s, want the last slot", since)
	}
}

func forgetDeletions(t *testing.T, f Fixture) {
	row := Row{}.Complete(noon)
	f.Insert(t, row)
	entry := func(export, state string, at exportops.Time) {
		f.Exec(t, `INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, row_status, run_id, token,
			attempts, claimed_at, finished_at) VALUES (?, NULL, 'expiry', ?, 's', 'b', ?, 'completed', 'r', 1, 1, ?, ?)`,
			export, state, exportops.NewID(), at.String(), at.String())
	}
	cp := heldRun(t, f, noon)
	day := func(n int) exportops.Time { return after(noon, time.Duration(n)*24*time.Hour) }
	forget := func(before exportops.Time) (total int64) {
		t.Helper()
		for more := true; more; {
			var n int64
			var err error
			n, more, err = f.Store.ForgetDeletions(t.Context(), cp, before, 2)
			must(t, err)
			total += n
			wantWhole(t, f)
		}
		return total
	}
	for range 5 {
		entry(exportops.NewID(), "deleted", day(0))
	}
	entry(exportops.NewID(), "failed", day(0))
	entry(exportops.NewID(), "claimed", day(0))
	chainAll(t, f, cp, day(0))
	entry(exportops.NewID(), "absent", day(0)) // linked a day later
	chainAll(t, f, cp, day(1))
	entry(row.ExportID, "deleted", day(2)) // its row is there
	chainAll(t, f, cp, day(2))
	entry(exportops.NewID(), "deleted", day(3))
	chainAll(t, f, cp, day(3))
	entry(exportops.NewID(), "deleted", day(4))

	left := func() int64 { return f.Count(t, `SELECT count(*) FROM exportops_deletions`) }
	for _, step := range []struct {
		what          string
		before        exportops.Time
		gone, remains int64
	}{
		{"nothing is old enough", day(0), 0, 11},
		{"a day, but not what is claimed", day(1), 6, 5},
		{"up to the day that has a row", day(9), 1, 4},
	} {
		if gone := forget(step.before); gone != step.gone || left() != step.remains {
			t.Fatalf("%s: %d were forgotten and %d are left, want %d and %d", step.what, gone, left(), step.gone, step.remains)
		}
	}
	f.Exec(t, `DELETE FROM {logs}`)
	// The last day stays: the chain goes on from it. What has no link stays, too.
	if gone := forget(day(9)); gone != 1 || left() != 3 {
		t.Fatalf("%d were forgotten and %d are left, want 1 and 3", gone, left())
	}
	chainAll(t, f, cp, day(4))
	if gone := forget(day(9)); gone != 1 || left() != 2 {
		t.Fatalf("%d were forgotten and %d are left, want 1 and 2", gone, left())
	}
	if r := verify(t, f); r.Days != 2 || r.Links != 1 {
		t.Fatalf("what is left is %+v, want a day that was and one that is", r)
	}
}
