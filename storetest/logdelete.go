package storetest

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testDeleteRows(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_it_is_told_to_goes_with_its_metrics", func(t *testing.T) { deletesRows(t, open(t)) })
	t.Run("a_row_comes_with_what_the_ledger_says", func(t *testing.T) {
		f := open(t)
		r := due(after(noon, -time.Hour))
		f.Insert(t, r)
		_, fence := begin(t, f, exportops.Started)
		settleOne(t, f, fence, exportops.Settlement{Claim: claim(t, f, fence).Claims[0], State: exportops.DeletionAbsent})
		rollUp(t, f)
		got := logRows(t, f, old)[r.ID]
		if got.Status != exportops.Expired || got.Prior == nil || got.Prior.State != exportops.DeletionAbsent || *got.FileURL != *r.FileURL {
			t.Fatalf("it comes as %+v with %+v", got, got.Prior)
		}
		// The entry outlives the row.
		deleteRows(t, f, fence, []exportops.LogRow{got}, 1)
		if l := ledger(t, f); len(l) != 1 || f.Count(t, `SELECT count(*) FROM {logs}`) != 0 {
			t.Fatalf("the ledger holds %+v", l)
		}
	})
	t.Run("a_user_alone", func(t *testing.T) {
		f := open(t)
		r, other := Row{}.Complete(noon), Row{}.Complete(after(noon, -1000*time.Hour))
		f.Insert(t, r, other)
		_, fence := begin(t, f, exportops.Started)
		rollUp(t, f)
		page, next, err := f.Store.LogRows(t.Context(), exportops.LogSelection{UserID: r.UserID}, "", 9)
		must(t, err)
		if len(page) != 1 || page[0].ID != r.ID || next != "" {
			t.Fatalf("of the user come %+v, and more at %q", page, next)
		}
		deleteRows(t, f, fence, page, 1)
		if f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, other.ID) != 1 {
			t.Fatal("the row of another user is gone")
		}
	})
	t.Run("an_hour_that_loses_a_row_is_sealed", func(t *testing.T) { seals(t, open(t)) })
	t.Run("a_sealed_hour_takes_what_comes_late", func(t *testing.T) { lateForSealed(t, open(t)) })
	t.Run("what_changed_since_it_was_read_stays", func(t *testing.T) { changedStays(t, open) })
	t.Run("an_hour_that_is_dirty_is_not_sealed", func(t *testing.T) { dirtyIsNotSealed(t, open) })
	t.Run("the_result_goes_with_the_rows", func(t *testing.T) { resultGoesWithRows(t, open(t)) })
}

// rollUp freezes what rows say and writes the rollup of every hour that is not
// clean.
func rollUp(t testing.TB, f Fixture) {
	t.Helper()
	all := span(after(noon, -2000*time.Hour), 2100*time.Hour)
	_, err := f.Store.Observe(t.Context(), all, after(noon, 2*time.Hour))
	must(t, err)
	states, err := f.Store.HourStates(t.Context(), all)
	must(t, err)
	for _, s := range states {
		if !s.Clean {
			write(t, f, exportops.Rollup{Start: s.Start}, s.Version, true)
		}
	}
}

// deleteRows deletes rows, of which so many must go.
func deleteRows(t testing.TB, f Fixture, fence exportops.Fence, rows []exportops.LogRow, want int) []bool {
	t.Helper()
	d, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), rows, nil)
	must(t, err)
	n := 0
	for _, gone := range d.Gone {
		if gone {
			n++
		}
	}
	if len(d.Gone) != len(rows) || n != want {
		t.Fatalf("of %d rows are gone: %v; want %d", len(rows), d.Gone, want)
	}
	return d.Gone
}

// chosen returns the rows of a selection whose ids are given.
func chosen(t testing.TB, f Fixture, ids ...string) (rows []exportops.LogRow) {
	t.Helper()
	all := logRows(t, f, old)
	for _, id := range ids {
		r, ok := all[id]
		if !ok {
			t.Fatalf("row %s is not there", id)
		}
		rows = append(rows, r)
	}
	return rows
}

func deletesRows(t *testing.T, f Fixture) {
	verdicts := map[string]exportops.LogVerdict{}
	metricsOf := map[string]int64{}
	hour := after(noon, -time.Hour)
	for i, v := range []exportops.LogVerdict{
		exportops.KeepInProgress, exportops.DeleteRow, exportops.KeepFileMayExist, exportops.KeepUncounted, exportops.DeleteRow, exportops.KeepNotDue,
	} {
		r := Row{}.Complete(after(hour, time.Duration(i)*time.Minute))
		if v == exportops.KeepInProgress {
			r.Status = "processing"
		}
		f.Insert(t, r)
		for attempt := range int64(3) {
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Attempt, m.Timestamp = r.ExportID, attempt+1, hour }))
		}
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Status, m.Timestamp = r.ExportID, exportops.Queued, hour }))
		if verdicts[r.ID] = v; v != exportops.DeleteRow {
			metricsOf[r.ExportID] = 4
		}
	}
	alone := metric(func(m *exportops.Metric) { m.Timestamp = hour }) // an export without a row
	record(t, f, alone)
	metricsOf[alone.ExportID] = 1
	rollUp(t, f)
	_, fence := begin(t, f, exportops.Started)
	var going []string
	for id, v := range verdicts {
		if v == exportops.DeleteRow {
			going = append(going, id)
		}
	}
	deleteRows(t, f, fence, chosen(t, f, going...), 2)
	for id, v := range verdicts {
		gone := f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, id) == 0
		if gone != (v == exportops.DeleteRow) {
			t.Fatalf("row with the verdict %s: gone %v", v, gone)
		}
	}
	left := map[string]int64{}
	for id := range metricsOf {
		left[id] = f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE export_id = ?`, id)
	}
	if !maps.Equal(left, metricsOf) || f.Count(t, `SELECT count(*) FROM exportops_export_metrics`) != 4*4+1 {
		t.Fatalf("metrics left by export: %v, want %v and no more", left, metricsOf)
	}
}

func seals(t *testing.T, f Fixture) {
	hours := []exportops.Time{after(noon, -3*time.Hour), after(noon, -2*time.Hour), after(noon, -time.Hour)}
	gone := ""
	for i, hour := range hours {
		for n := range 2 {
			r := Row{}.Complete(after(hour, time.Duration(n)*time.Minute))
			if f.Insert(t, r); i == 1 && n == 0 {
				gone = r.ID
			}
		}
	}
	observe(t, f, 6)
	for _, hour := range hours {
		rolled(t, f, hour)
	}
	_, fence := begin(t, f, exportops.Started)
	deleteRows(t, f, fence, chosen(t, f, gone), 1)
	for i, hour := range hours {
		if s := stateOf(t, f, hour); s.Sealed != (i == 1) || !s.Clean {
			t.Fatalf("hour %s is %+v", hour, s)
		}
	}
	// Whoever computed it meanwhile comes too late, and the row's neighbour goes on counting.
	write(t, f, exportops.Rollup{Start: hours[1]}, stateOf(t, f, hours[1]).Version, false)
	for _, r := range logRows(t, f, old) {
		if !r.Counted {
			t.Fatalf("row of %s no longer counts", r.Timestamp)
		}
	}
}

// lateForSealed rolls up an hour, deletes its row, and goes on reporting.
func lateForSealed(t *testing.T, f Fixture) {
	hour := after(noon, -time.Hour)
	gone, kept := Row{}.Complete(hour), Row{Status: "failed"}.Complete(after(hour, time.Minute))
	f.Insert(t, gone, kept)
	observe(t, f, 2)
	cell := exportops.Cell{Start: hour, Format: exportops.JSONL, CountRange: exportops.Small, Completed: 1, Failed: 1}
	write(t, f, exportops.Rollup{
		Start: hour, Cells: []exportops.Cell{cell}, Errors: map[string]int64{exportops.UnknownError: 1},
		Users: []exportops.UserCount{{UserID: gone.UserID, Count: 1}, {UserID: kept.UserID, Count: 1}},
	}, stateOf(t, f, hour).Version, true)
	_, fence := begin(t, f, exportops.Started)
	deleteRows(t, f, fence, chosen(t, f, gone.ID), 1)
	want := func(when string, completed, failed int64) {
		t.Helper()
		var got [2]int64
		for _, c := range cells(t, f, exportops.Hourly, span(hour, time.Hour)) {
			got[0], got[1] = got[0]+c.Completed, got[1]+c.Failed
		}
		if d := cmp.Diff([2]int64{completed, failed}, got); d != "" {
			t.Fatalf("%s, completed and failed (-want +got):\n%s", when, d)
		}
		if s := stateOf(t, f, hour); !s.Sealed || !s.Clean {
			t.Fatalf("%s: the hour is %+v", when, s)
		}
	}
	want("after the deletion", 1, 1)
	record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = after(hour, time.Minute) }))
	want("after a late metric", 2, 1)
	record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = kept.ExportID, hour }))
	want("after the kept row turned out to be a success", 3, 0)
	late := Row{}.Complete(after(hour, 2*time.Minute))
	f.Insert(t, late)
	if logRows(t, f, old)[late.ID].Counted {
		t.Fatal("a row that arrived late counts before anybody saw it")
	}
	observe(t, f, 1)
	want("after a late row", 4, 0)
	if !logRows(t, f, old)[late.ID].Counted {
		t.Fatal("a row whose hour took it does not count")
	}
}
