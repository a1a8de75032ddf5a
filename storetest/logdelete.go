package storetest

import (
	"maps"
	"strings"
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
		got := logRows(t, f, old)[r.ID]
		if got.Status != exportops.Expired || got.Prior == nil || got.Prior.State != exportops.DeletionAbsent || *got.FileURL != *r.FileURL {
			t.Fatalf("it comes as %+v with %+v", got, got.Prior)
		}
		// The entry outlives the row.
		_, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), old, "", 9, func(exportops.LogRow) exportops.LogVerdict { return exportops.DeleteRow })
		must(t, err)
		if l := ledger(t, f); len(l) != 1 || f.Count(t, `SELECT count(*) FROM {logs}`) != 0 {
			t.Fatalf("the ledger holds %+v", l)
		}
	})
	t.Run("a_user_alone", func(t *testing.T) {
		f := open(t)
		r, other := Row{}.Complete(noon), Row{}.Complete(after(noon, -1000*time.Hour))
		f.Insert(t, r, other)
		_, fence := begin(t, f, exportops.Started)
		page, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), exportops.LogSelection{UserID: r.UserID}, "", 9, func(exportops.LogRow) exportops.LogVerdict { return exportops.DeleteRow })
		must(t, err)
		if len(page.Rows) != 1 || page.Rows[0].ID != r.ID || page.Next != "" || f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, other.ID) != 1 {
			t.Fatalf("deleted %+v", page.Rows)
		}
	})
	t.Run("an_hour_that_loses_a_row_is_sealed", func(t *testing.T) { seals(t, open(t)) })
	t.Run("a_sealed_hour_takes_what_comes_late", func(t *testing.T) { lateForSealed(t, open(t)) })
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
	_, fence := begin(t, f, exportops.Started)
	asked := 0
	page, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), old, "", 9, func(r exportops.LogRow) exportops.LogVerdict {
		asked++
		return verdicts[r.ID]
	})
	must(t, err)
	if asked != 6 || len(page.Rows) != 6 || len(page.Verdicts) != 6 || page.Next != "" {
		t.Fatalf("asked about %d; %d rows, %d verdicts, next %q", asked, len(page.Rows), len(page.Verdicts), page.Next)
	}
	for i, r := range page.Rows {
		if page.Verdicts[i] != verdicts[r.ID] {
			t.Fatalf("row %d: verdict %s, want %s", i, page.Verdicts[i], verdicts[r.ID])
		}
		gone := f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, r.ID) == 0
		if gone != (page.Verdicts[i] == exportops.DeleteRow) {
			t.Fatalf("row with the verdict %s: gone %v", page.Verdicts[i], gone)
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
	_, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), old, "", 9, func(r exportops.LogRow) exportops.LogVerdict {
		if r.ID == gone {
			return exportops.DeleteRow
		}
		return exportops.KeepFileMayExist
	})
	must(t, err)
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
	_, err := f.Store.DeleteLogRows(t.Context(), check(fence, noon), old, "", 9, func(r exportops.LogRow) exportops.LogVerdict {
		if r.ID == gone.ID && r.Counted {
			return exportops.DeleteRow
		}
		return exportops.KeepFileMayExist
	})
	must(t, err)
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

func testStatistics(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	want := func(eligible int64, oldest *exportops.Time) exportops.LogStatistics {
		t.Helper()
		got, err := f.Store.LogStatistics(t.Context(), noon)
		must(t, err)
		if d := cmp.Diff(exportops.LogStatistics{
			EligibleForCleanup: eligible, OldestLogDate: oldest, CutoffDate: noon, TotalSizeEstimateMB: got.TotalSizeEstimateMB,
		}, got); d != "" || (got.TotalSizeEstimateMB > 0) != (eligible > 0) {
			t.Fatalf("(-want +got):\n%s\nestimated %v MB", d, got.TotalSizeEstimateMB)
		}
		return got
	}
	want(0, nil)
	before := after(noon, -time.Millisecond)
	for _, s := range exportops.Statuses {
		for _, url := range []*string{nil, ptr(""), ptr("a/b")} {
			f.Insert(t, Row{Status: string(s), FileURL: url}.Complete(before), Row{Status: string(s), FileURL: url}.Complete(noon))
		}
	}
	// Failed and expired with or without a file, and completed without one.
	want(3+3+2, &before)
	for _, text := range unreadable {
		if text != "" {
			f.Insert(t, Row{Status: "failed", Timestamp: text, CreatedAt: before.String()}.Complete(noon))
		}
	}
	small := want(8, &before) // nobody knows how old those are
	oldest := after(noon, -5000*time.Hour)
	f.Insert(t, Row{Status: "queued"}.Complete(oldest))
	want(8, &oldest)
	f.Exec(t, `UPDATE {logs} SET config = ? WHERE status = 'expired'`, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`)
	if big := want(8, &oldest); big.TotalSizeEstimateMB < small.TotalSizeEstimateMB+3 {
		t.Fatalf("three megabytes more are estimated at %v MB, after %v", big.TotalSizeEstimateMB, small.TotalSizeEstimateMB)
	}
}
