package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testRestore(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	// gone archives and deletes rows, and returns them.
	gone := func(t *testing.T, f Fixture, rows ...Row) []exportops.ArchivedRow {
		f.Insert(t, rows...)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		var ids []string
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
		whole, _, err := f.Store.ArchivedRows(t.Context(), ids)
		must(t, err)
		id, members := archived(t, f, fence, ids...)
		if d := deleteArchived(t, f, fence, id, members, allGo); d.Deleted != int64(len(rows)) {
			t.Fatalf("deleted: %+v", d)
		}
		return whole
	}
	restore := func(t *testing.T, f Fixture, want []bool, rows ...exportops.ArchivedRow) {
		t.Helper()
		epoch, err := f.Store.ArchiveEpoch(t.Context())
		must(t, err)
		got, err := f.Store.RestoreRows(t.Context(), rows, epoch, noon)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("new (-want +got):\n%s", d)
		}
	}
	full := func(f Fixture) Row {
		r := Row{
			Status: "expired", Config: `{"a": 1}`, Conversations: 7, FileSize: ptr(int64(12)), FileURL: ptr("a/b"),
			ExpiresAt: ptr(noon.String()),
		}.Complete(hour)
		if !f.Typed { // any bytes may be there
			r.Config, r.Error = "\xff\x00", ptr("\u2028\xfe")
		}
		return r
	}
	t.Run("rows_come_back_as_they_were_once", func(t *testing.T) {
		f := open(t)
		a, b := full(f), Row{Status: "failed"}.Complete(after(hour, time.Minute))
		rows := gone(t, f, a, b)
		restore(t, f, []bool{true, true}, rows...)
		got, _, err := f.Store.ArchivedRows(t.Context(), []string{a.ID, b.ID})
		must(t, err)
		if d := cmp.Diff(rows, got); d != "" {
			t.Fatalf("(-archived +restored):\n%s", d)
		}
		restore(t, f, []bool{false, false}, rows...)
	})
	t.Run("what_is_there_stays", func(t *testing.T) {
		f := open(t)
		rows := gone(t, f, Row{}.Complete(hour), Row{}.Complete(hour), Row{}.Complete(hour))
		sameID, sameExport := Row{ID: rows[0].ID}.Complete(noon), Row{ExportID: rows[1].ExportID}.Complete(noon)
		f.Insert(t, sameID, sameExport)
		before := membersOf(t, f, sameID.ID, sameExport.ID)
		restore(t, f, []bool{false, false, true}, rows...)
		if d := cmp.Diff(before, membersOf(t, f, sameID.ID, sameExport.ID)); d != "" {
			t.Fatalf("rows were changed:\n%s", d)
		}
	})
	t.Run("a_sealed_hour_does_not_count_them_again", func(t *testing.T) {
		f := open(t)
		rows := gone(t, f, Row{}.Complete(hour))
		before := stateOf(t, f, hour)
		restore(t, f, []bool{true}, rows...)
		observe(t, f, 0)
		if s := stateOf(t, f, hour); !s.Sealed || !s.Clean || !before.Sealed {
			t.Fatalf("the hour was %+v and is %+v", before, s)
		}
		if !logRows(t, f, old)[rows[0].ID].Counted {
			t.Fatal("the row does not count, and would be counted once more")
		}
	})
	t.Run("an_hour_that_is_not_sealed_is_computed_again", func(t *testing.T) {
		f := open(t)
		rows := gone(t, f, Row{}.Complete(hour))
		f.Exec(t, `DELETE FROM exportops_rollup_hours`) // another database
		restore(t, f, []bool{true}, rows...)
		if s := stateOf(t, f, hour); s.Clean {
			t.Fatalf("the hour is %+v", s)
		}
	})
	t.Run("an_export_keeps_the_metric_it_has", func(t *testing.T) {
		f := open(t)
		rows := gone(t, f, Row{}.Complete(hour))
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.DurationMS = rows[0].ExportID, ptr(int64(77)) }))
		restore(t, f, []bool{true}, rows...)
		if n := f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE duration_ms = 77`); n != 1 || f.Count(t, `SELECT count(*) FROM exportops_export_metrics`) != 1 {
			t.Fatalf("%d metrics are the one that was there, want it alone", n)
		}
	})
}
