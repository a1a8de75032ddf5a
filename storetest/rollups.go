package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
)

func testRollups(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("rows_of_one_moment_are_all_frozen_once", func(t *testing.T) {
		f := open(t)
		rows := make([]Row, 700) // more than a page
		for i := range rows {
			rows[i] = Row{}.Complete(noon)
		}
		f.Insert(t, rows...)
		f.Insert(t, Row{}.Complete(after(noon, time.Millisecond)))
		observe(t, f, 701)
		observe(t, f, 0)
	})
	t.Run("a_row_of_the_first_moment_is_frozen_once", func(t *testing.T) { // Go's zero time
		f := open(t)
		f.Insert(t, Row{Timestamp: exportops.Time{}.String()}.Complete(noon))
		for _, want := range []int64{1, 0} {
			n, err := f.Store.Observe(t.Context(), exportops.Span{To: after(noon, time.Hour)}, noon)
			must(t, err)
			if n != want {
				t.Fatalf("%d rows were frozen, want %d", n, want)
			}
		}
	})
	t.Run("a_report_makes_the_hour_dirty", func(t *testing.T) {
		f := open(t)
		record(t, f, metric())
		first := stateOf(t, f, noon)
		if first.Clean || first.Version == 0 {
			t.Fatalf("state %+v, want dirty", first)
		}
		write(t, f, exportops.Rollup{Start: noon}, first.Version, true)
		if !stateOf(t, f, noon).Clean {
			t.Fatal("the hour is dirty after it was written")
		}
		record(t, f, metric(func(m *exportops.Metric) { m.Status = exportops.Queued }))
		if !stateOf(t, f, noon).Clean {
			t.Fatal("an export under way makes the hour dirty: rollups do not hold it")
		}
		record(t, f, metric())
		// Whoever computed the hour from what it was before comes too late.
		write(t, f, exportops.Rollup{Start: noon}, first.Version, false)
		if s := stateOf(t, f, noon); s.Clean {
			t.Fatalf("state %+v after a write that came too late", s)
		}
	})
	t.Run("an_hour_without_a_state_is_not_written_after_a_report", func(t *testing.T) {
		f := open(t)
		record(t, f, metric())
		write(t, f, exportops.Rollup{Start: noon}, 0, false)
	})
	t.Run("what_is_written_is_read", func(t *testing.T) { readCells(t, open(t)) })
	t.Run("a_day_stands_while_its_hours_do", func(t *testing.T) { writeDays(t, open(t)) })
	t.Run("empty_hours_are_written_around_others", func(t *testing.T) {
		f := open(t)
		record(t, f, metric())
		must(t, f.Store.WriteEmpty(t.Context(), span(noon.Day(), 1000*time.Hour)))
		if stateOf(t, f, noon).Clean {
			t.Fatal("an hour with a report was taken for empty")
		}
		states, err := f.Store.HourStates(t.Context(), span(noon.Day(), 1000*time.Hour))
		must(t, err)
		stale, err := f.Store.StaleHours(t.Context(), after(noon, 1000*time.Hour), 10)
		must(t, err)
		if len(states) != 1000 || len(stale) != 1 || !stale[0].Start.Equal(noon.Time) {
			t.Fatalf("%d states, stale %+v", len(states), stale)
		}
	})
	t.Run("a_row_that_arrives_later_moves_its_metric", func(t *testing.T) {
		f := open(t)
		m := metric()
		record(t, f, m)
		earlier := after(noon, -3*time.Hour)
		f.Insert(t, Row{ExportID: m.ExportID}.Complete(after(earlier, time.Minute)))
		observe(t, f, 0)
		if len(counted(t, f, noon)) != 0 || len(counted(t, f, earlier)) != 1 {
			t.Fatal("it is not counted in the hour of its row")
		}
		f.Exec(t, `DELETE FROM {logs}`)
		observe(t, f, 0)
		if len(counted(t, f, noon)) != 1 {
			t.Fatal("it is not counted in its own hour once the row is gone")
		}
	})
	t.Run("an_observation_follows_its_row", func(t *testing.T) {
		f := open(t)
		r := Row{Status: "failed"}.Complete(noon)
		f.Insert(t, r)
		observe(t, f, 1)
		f.Exec(t, `UPDATE {logs} SET status = 'completed'`)
		observe(t, f, 1)
		if c := counted(t, f, noon); len(c) != 1 || c[0].Status != exportops.Completed {
			t.Fatalf("counted %+v, want the success of the second attempt", c)
		}
	})
	t.Run("a_sealed_hour_takes_changes_as_they_come", func(t *testing.T) { sealedHour(t, open(t)) })
	t.Run("history_is_observed_in_batches", func(t *testing.T) {
		f := open(t)
		const n = 1300
		rows := make([]Row, n)
		for i := range rows {
			rows[i] = Row{}.Complete(after(noon, time.Duration(i%3)*time.Hour)) // many share a timestamp
		}
		f.Insert(t, rows...)
		observe(t, f, n)
		observe(t, f, 0)
		if c := len(counted(t, f, noon)); c != (n+2)/3 {
			t.Fatalf("%d counted at noon, want %d", c, (n+2)/3)
		}
	})
}

func write(t testing.TB, f Fixture, r exportops.Rollup, version int64, want bool) {
	t.Helper()
	wrote, err := f.Store.WriteHour(t.Context(), r, version)
	must(t, err)
	if wrote != want {
		t.Fatalf("written: %v, want %v", wrote, want)
	}
}

func cells(t testing.TB, f Fixture, p exportops.Period, s exportops.Span) []exportops.Cell {
	t.Helper()
	var all []exportops.Cell
	for c, err := range f.Store.Cells(t.Context(), p, s) {
		must(t, err)
		// The sketches are valid until the next cell.
		c.Duration.Sketch, c.Size.Sketch = append([]byte(nil), c.Duration.Sketch...), append([]byte(nil), c.Size.Sketch...)
		all = append(all, c)
	}
	return all
}

func readCells(t *testing.T, f Fixture) {
	measure := exportops.Measure{Count: 2, Sum: 3, Max: 2, Sketch: []byte{1, 2, 3}}
	want := []exportops.Cell{
		{Start: noon, Format: exportops.CSV, CountRange: exportops.Small, Completed: 2, Failed: 1, Duration: measure, Size: measure},
		{Start: noon, Format: exportops.JSON, CountRange: exportops.XLarge, Failed: 4},
	}
	write(t, f, exportops.Rollup{Start: noon, Cells: append(want, exportops.Cell{Start: noon, Format: "old"})}, 0, true)
	write(t, f, exportops.Rollup{Start: noon, Cells: want, Open: 3}, 0, true)
	got := cells(t, f, exportops.Hourly, span(noon, time.Hour))
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("cells (-want +got):\n%s", d)
	}
	if s := stateOf(t, f, noon); s.Open != 3 || !s.Clean {
		t.Fatalf("state %+v", s)
	}
	if got := cells(t, f, exportops.Hourly, span(after(noon, time.Hour), time.Hour)); len(got) != 0 {
		t.Fatalf("cells of another hour: %+v", got)
	}
}

func writeDays(t *testing.T, f Fixture) {
	day := noon.Day()
	cell := exportops.Cell{Start: day, Format: exportops.CSV, CountRange: exportops.Small, Completed: 2}
	try := func(version int64, want bool) {
		t.Helper()
		wrote, err := f.Store.WriteDay(t.Context(), exportops.Rollup{Start: day, Cells: []exportops.Cell{cell}}, version)
		must(t, err)
		days, err := f.Store.DayStates(t.Context(), span(day, 24*time.Hour))
		must(t, err)
		if wrote != want || (len(days) == 1) != want {
			t.Fatalf("written: %v, days %v, want %v", wrote, days, want)
		}
	}
	record(t, f, metric())
	must(t, f.Store.WriteEmpty(t.Context(), span(day, 24*time.Hour)))
	version := stateOf(t, f, noon).Version
	try(version, false) // noon is dirty
	write(t, f, exportops.Rollup{Start: noon}, version, true)
	try(version-1, false) // added up from what was there before
	try(version, true)
	if got := cells(t, f, exportops.Daily, span(day, 24*time.Hour)); len(got) != 1 || got[0].Completed != 2 {
		t.Fatalf("cells of the day: %+v", got)
	}
	record(t, f, metric())
	try(version, false) // a later report removes it
}

func sealedHour(t *testing.T, f Fixture) {
	u, v := exportops.NewID(), exportops.NewID()
	r := Row{Status: "failed", UserID: u, Error: ptr("E: x")}.Complete(noon)
	f.Insert(t, r)
	observe(t, f, 1)
	version := stateOf(t, f, noon).Version
	cell := exportops.Cell{Start: noon, Format: exportops.JSONL, CountRange: exportops.Small, Failed: 1}
	write(t, f, exportops.Rollup{
		Start: noon, Cells: []exportops.Cell{cell}, Users: []exportops.UserCount{{UserID: u, Count: 1}}, Errors: map[string]int64{"E": 1},
	}, version, true)
	f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`)
	m := metric(func(m *exportops.Metric) { m.ExportID, m.UserID = r.ExportID, v })
	record(t, f, m)
	if s := stateOf(t, f, noon); !s.Clean || !s.Sealed || s.Version == version {
		t.Fatalf("state %+v, want clean, sealed and another version", s)
	}
	got := map[exportops.Format]exportops.Cell{}
	for _, c := range cells(t, f, exportops.Hourly, span(noon, time.Hour)) {
		got[c.Format] = c
	}
	if c := got[exportops.JSONL]; c.Failed != 0 {
		t.Fatalf("the failure is still counted: %+v", c)
	}
	if c := got[exportops.CSV]; c.Completed != 1 || c.Duration.Count != 1 || c.Duration.Sum != 2500 || c.Size.Max != 524288 || len(c.Size.Sketch) == 0 {
		t.Fatalf("the success is not counted: %+v", c)
	}
	plan := exportops.ReadPlan{Hours: []exportops.Span{span(noon, time.Hour)}}
	top, distinct, err := f.Store.TopUsers(t.Context(), plan, 5)
	must(t, err)
	if d := cmp.Diff([]exportops.UserCount{{UserID: v, Count: 1}}, top); d != "" || distinct != 1 {
		t.Fatalf("users (-want +got):\n%s", d)
	}
	if e, err := f.Store.Errors(t.Context(), plan); err != nil || len(e) != 0 {
		t.Fatalf("errors %v %v, want none", e, err)
	}
	write(t, f, exportops.Rollup{Start: noon, Open: 2}, stateOf(t, f, noon).Version, false)
	if s := stateOf(t, f, noon); s.Open != 2 || len(cells(t, f, exportops.Hourly, span(noon, time.Hour))) == 0 {
		t.Fatalf("state %+v: a sealed hour was computed again", s)
	}
}
