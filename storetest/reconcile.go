package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testReconcile(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("named_files_are_of_rows_in_any_status", func(t *testing.T) { namedFiles(t, open(t)) })
	t.Run("unknown_files_are_kept_by_key", func(t *testing.T) { unknownFiles(t, open(t)) })
	t.Run("missing_files_are_kept_by_export", func(t *testing.T) { missingFiles(t, open(t)) })
	t.Run("stuck_exports_are_in_progress_and_old", func(t *testing.T) { stuckExports(t, open(t)) })
	t.Run("a_stuck_export_fails_and_is_counted", func(t *testing.T) { failStuck(t, open(t)) })
	t.Run("unknown_files_are_claimed_by_key", func(t *testing.T) { claimUnknown(t, open(t)) })
	t.Run("claims_on_unknown_files_are_recovered_apart", func(t *testing.T) { reclaimUnknown(t, open(t)) })
	t.Run("a_hold_keeps_unknown_files_it_is_named_by", func(t *testing.T) { heldUnknown(t, open(t)) })
	t.Run("a_hold_on_a_user_keeps_unknown_files_of_his_exports", func(t *testing.T) { heldExportsUnknown(t, open(t)) })
	t.Run("whoever_lost_the_run_records_nothing", func(t *testing.T) { reconcileFenced(t, open(t)) })
}

func namedFiles(t *testing.T, f Fixture) {
	want := map[string]exportops.KeyRow{}
	for i, s := range exportops.Statuses {
		r := Row{Status: string(s), FileURL: ptr(fmt.Sprintf("f%d", i))}.Complete(after(noon, time.Duration(i)*time.Hour))
		f.Insert(t, r, Row{Status: string(s)}.Complete(noon), Row{Status: string(s), FileURL: ptr("")}.Complete(noon))
		want[r.ExportID] = exportops.KeyRow{ExportID: r.ExportID, UserID: r.UserID, Status: s, FileURL: *r.FileURL}
	}
	read := func(since exportops.Time) map[string]exportops.KeyRow {
		got := map[string]exportops.KeyRow{}
		for row, err := range f.Store.NamedFiles(t.Context(), since) {
			must(t, err)
			got[row.ExportID] = row
		}
		return got
	}
	if d := cmp.Diff(want, read(exportops.Time{})); d != "" {
		t.Fatal(d)
	}
	if n := len(read(after(noon, 2*time.Hour))); n != 3 {
		t.Fatalf("%d rows since, want 3", n)
	}
	for _, err := range f.Store.NamedFiles(t.Context(), exportops.Time{}) {
		must(t, err)
		break // whoever has enough may stop
	}
}

func unknownFile(key string) exportops.UnknownFile {
	return exportops.UnknownFile{
		Store: "s", Key: key, Size: 1, Modified: noon, Version: "v", State: exportops.UnknownSeen, FirstSeen: noon, LastSeen: after(noon, time.Hour),
	}
}

func unknownKeys(t testing.TB, f Fixture, filter exportops.UnknownFilter) (keys []string) {
	t.Helper()
	page, err := f.Store.UnknownFiles(t.Context(), filter)
	must(t, err)
	for _, u := range page {
		keys = append(keys, u.Key)
	}
	return keys
}

func unknownFiles(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	keys := []string{"A", "a", "a b", "a-b", "a/b", "b_c", "é", "ü"} // in the order of bytes
	var files []exportops.UnknownFile
	for _, key := range keys {
		files = append(files, unknownFile(key))
	}
	elsewhere := unknownFile("a")
	elsewhere.Store = "t"
	slices.Reverse(files)
	must(t, f.Store.RecordUnknown(t.Context(), c, append(files, elsewhere)))
	slices.Reverse(files)
	files[1].State, files[1].LastSeen, files[1].FirstSeen = exportops.UnknownQuarantined, noon, after(noon, -time.Hour)
	files[1].Size, files[1].Version, files[1].Modified = 7, "", after(noon, -2*time.Hour)
	must(t, f.Store.RecordUnknown(t.Context(), c, files[1:2]))
	must(t, f.Store.RecordUnknown(t.Context(), c, nil))
	all, err := f.Store.UnknownFiles(t.Context(), exportops.UnknownFilter{Store: "s"})
	must(t, err)
	if d := cmp.Diff(files, all); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	for name, x := range map[string]struct {
		filter exportops.UnknownFilter
		want   []string
	}{
		"between":       {exportops.UnknownFilter{After: "a", To: "a/b"}, keys[2:5]},
		"keys":          {exportops.UnknownFilter{Keys: []string{"ü", "a", "none"}}, []string{"a", "ü"}},
		"no keys":       {exportops.UnknownFilter{Keys: []string{}}, nil},
		"a state":       {exportops.UnknownFilter{State: exportops.UnknownQuarantined}, keys[1:2]},
		"not seen":      {exportops.UnknownFilter{SeenBefore: after(noon, time.Millisecond)}, keys[1:2]},
		"page":          {exportops.UnknownFilter{Limit: 3}, keys[:3]},
		"another store": {exportops.UnknownFilter{Store: "t"}, []string{"a"}},
	} {
		if x.filter.Store == "" {
			x.filter.Store = "s"
		}
		if got := unknownKeys(t, f, x.filter); !slices.Equal(got, x.want) {
			t.Errorf("%s: %q, want %q", name, got, x.want)
		}
	}
	files[0].State, files[0].LastSeen = exportops.UnknownGone, noon
	files[2].State = exportops.UnknownAdopted
	must(t, f.Store.RecordUnknown(t.Context(), c, files[:3]))
	for _, want := range []int64{1, 0} {
		n, err := f.Store.ForgetUnknown(t.Context(), c, after(noon, time.Minute), 5)
		must(t, err)
		if n != want {
			t.Fatalf("%d were forgotten, want %d", n, want)
		}
	}
	if got := unknownKeys(t, f, exportops.UnknownFilter{Store: "s"}); !slices.Equal(got, keys[1:]) {
		t.Fatalf("left %q", got)
	}
}

func missingFiles(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	var files []exportops.MissingFile
	for i := range 3 {
		files = append(files, exportops.MissingFile{
			ExportID: fmt.Sprintf("7f3c2a10-9b1e-4c55-8a54-%012x", i), Store: "s", Key: "k", FileURL: ptr("u"), FirstSeen: noon, LastSeen: noon,
		})
	}
	files[1].ExpiresAt = ptr(noon.String())
	must(t, f.Store.RecordMissing(t.Context(), c, files))
	later := after(noon, time.Hour)
	again := slices.Clone(files[:2])
	for i := range again {
		again[i].FirstSeen, again[i].LastSeen = later, later
	}
	again[0].FileURL = ptr("another") // made again: another file, and another sight
	must(t, f.Store.RecordMissing(t.Context(), c, again))
	again[1].FirstSeen = noon
	want := []exportops.MissingFile{again[0], again[1], files[2]}
	read := func(filter exportops.MissingFilter) []exportops.MissingFile {
		t.Helper()
		page, err := f.Store.MissingFiles(t.Context(), filter)
		must(t, err)
		return page
	}
	if d := cmp.Diff(want, read(exportops.MissingFilter{})); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	for name, x := range map[string]struct {
		filter exportops.MissingFilter
		want   []exportops.MissingFile
	}{
		"page":     {exportops.MissingFilter{Limit: 1, After: files[0].ExportID}, want[1:2]},
		"not seen": {exportops.MissingFilter{SeenBefore: later}, want[2:]},
		"some":     {exportops.MissingFilter{ExportIDs: []string{files[1].ExportID, exportops.NewID()}}, want[1:2]},
	} {
		if d := cmp.Diff(x.want, read(x.filter)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	must(t, f.Store.ForgetMissing(t.Context(), c, []string{files[0].ExportID, files[2].ExportID}))
	must(t, f.Store.ForgetMissing(t.Context(), c, nil))
	if d := cmp.Diff(want[1:2], read(exportops.MissingFilter{})); d != "" {
		t.Fatal(d)
	}
}

// stuck reads every export that is in progress since before noon, two at a time.
func stuck(t testing.TB, f Fixture) (all []exportops.StuckExport) {
	t.Helper()
	for next := exportops.Cursor(""); ; {
		page, after, err := f.Store.StuckExports(t.Context(), noon, next, 2)
		must(t, err)
		all = append(all, page...)
		if next = after; next == "" {
			return all
		}
	}
}

func stuckExports(t *testing.T, f Fixture) {
	want := map[string]exportops.StuckExport{}
	before := after(noon, -time.Hour)
	for _, s := range exportops.Statuses {
		for range 3 {
			r := Row{Status: string(s)}.Complete(before)
			f.Insert(t, r, Row{Status: string(s)}.Complete(noon))
			if s.InProgress() {
				want[r.ExportID] = exportops.StuckExport{
					ExportID: r.ExportID, UserID: r.UserID, Status: s, Timestamp: r.Timestamp, UpdatedAt: r.UpdatedAt,
				}
			}
		}
	}
	got := map[string]exportops.StuckExport{}
	for _, e := range stuck(t, f) {
		if !e.Stuck(noon) || e.Stuck(before) {
			t.Errorf("stuck since noon %t, since before %t: %+v", e.Stuck(noon), e.Stuck(before), e)
		}
		got[e.ExportID] = e
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
}

func failStuck(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	before := after(noon, -time.Hour)
	rows := []Row{
		Row{Status: "queued"}.Complete(before), Row{Status: "processing"}.Complete(before),
		Row{Status: "processing"}.Complete(before), Row{Status: "processing"}.Complete(before),
	}
	f.Insert(t, rows...)
	read := stuck(t, f)
	slices.SortFunc(read, func(a, b exportops.StuckExport) int {
		return slices.IndexFunc(rows, func(r Row) bool { return r.ExportID == a.ExportID }) -
			slices.IndexFunc(rows, func(r Row) bool { return r.ExportID == b.ExportID })
	})
	// Two move on after they were read, one is gone.
	f.Exec(t, `UPDATE {logs} SET status = 'completed' WHERE export_id = ?`, rows[1].ExportID)
	f.Exec(t, `UPDATE {logs} SET updated_at = ? WHERE export_id = ?`, noon.String(), rows[2].ExportID)
	gone := read[0]
	gone.ExportID = exportops.NewID()
	failed, err := f.Store.FailStuck(t.Context(), check(fence, noon), append(read, gone), "Stuck: for an hour", func(failed []bool) (json.RawMessage, error) {
		return json.Marshal(failed)
	})
	must(t, err)
	run, err := f.Store.Run(t.Context(), fence.RunID)
	must(t, err)
	if got := strings.ReplaceAll(string(run.Result), " ", ""); got != "[true,false,false,true,false]" {
		t.Fatalf("the run's result is %s", run.Result)
	}
	if want := []bool{true, false, false, true, false}; !slices.Equal(failed, want) {
		t.Fatalf("failed %v, want %v", failed, want)
	}
	for i, status := range []string{"failed", "completed", "processing", "failed"} {
		isStatus(t, f, rows[i].ExportID, status)
	}
	e, err := f.Store.Export(t.Context(), rows[0].ExportID)
	must(t, err)
	if e.ErrorMessage == nil || *e.ErrorMessage != "Stuck: for an hour" || !e.UpdatedAt.Equal(noon.Time) {
		t.Fatalf("%+v", e)
	}
	counts := map[string]int{}
	for _, o := range outcomes(t, f) {
		counts[string(o.Status)+" "+o.ErrorType]++
	}
	if d := cmp.Diff(map[string]int{"failed Stuck": 2, "completed ": 1, "processing ": 1}, counts); d != "" {
		t.Fatalf("counted (-want +got):\n%s", d)
	}
}

func reconcileFenced(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	begin(t, f, exportops.TookOver, at(dead))
	r := Row{Status: "queued"}.Complete(after(noon, -time.Hour))
	f.Insert(t, r)
	c := check(fence, noon)
	_, claim := f.Store.ClaimUnknown(t.Context(), c, "b", []exportops.UnknownFile{unknownFile("k")})
	_, reclaim := f.Store.ReclaimUnknown(t.Context(), c, 9)
	_, forget := f.Store.ForgetUnknown(t.Context(), c, noon, 1)
	_, fail := f.Store.FailStuck(t.Context(), c, stuck(t, f), "x", nil)
	for name, err := range map[string]error{
		"RecordUnknown": f.Store.RecordUnknown(t.Context(), c, []exportops.UnknownFile{unknownFile("k")}),
		"RecordMissing": f.Store.RecordMissing(t.Context(), c, []exportops.MissingFile{{ExportID: r.ExportID, Store: "s", Key: "k"}}),
		"ForgetMissing": f.Store.ForgetMissing(t.Context(), c, []string{r.ExportID}),
		"ForgetUnknown": forget, "ClaimUnknown": claim, "ReclaimUnknown": reclaim, "FailStuck": fail,
	} {
		if !errors.Is(err, exportops.ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", name, err)
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_unknown_files`) + f.Count(t, `SELECT count(*) FROM exportops_missing_files`); n != 0 {
		t.Fatalf("%d records", n)
	}
	isStatus(t, f, r.ExportID, "queued")
}
