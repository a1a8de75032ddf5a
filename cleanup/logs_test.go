package cleanup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

// cleanLogs runs one log cleanup, or a user's, to its end.
func cleanLogs(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) exportops.LogCleanupResult {
	t.Helper()
	req := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron}
	for _, c := range change {
		c(&req)
	}
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	r := *a.Result.Logs
	sum := r.DeletedCount + r.FailedCount + r.KeptInProgress + r.KeptFileMayExist + r.KeptHeld + r.Changed + r.WouldDelete + r.Remaining
	if r.TotalFound != sum {
		t.Errorf("total_found is %d, and its parts add up to %d: %+v", r.TotalFound, sum, r)
	}
	return r
}

func ofUser(user string) func(*jobs.Request) {
	return func(r *jobs.Request) { r.Job, r.UserID, r.Trigger = exportops.UserLogCleanup, user, exportops.ByAPI }
}

func logCounts(r exportops.LogCleanupResult) string {
	var b strings.Builder
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"found", r.TotalFound},
		{"deleted", r.DeletedCount},
		{"failed", r.FailedCount},
		{"in_progress", r.KeptInProgress},
		{"file_may_exist", r.KeptFileMayExist},
		{"held", r.KeptHeld},
		{"changed", r.Changed},
		{"would", r.WouldDelete},
		{"remaining", r.Remaining},
		{"files", r.FilesDeleted},
		{"absent", r.FilesAbsent},
	} {
		if c.n != 0 {
			fmt.Fprintf(&b, "%s %d ", c.name, c.n)
		}
	}
	return strings.TrimSpace(b.String())
}

// dryLog leaves out what a dry run cannot know, or says in its own words.
func dryLog(r exportops.LogCleanupResult) string {
	r.DeletedCount, r.WouldDelete, r.FilesDeleted, r.FilesAbsent = r.DeletedCount+r.WouldDelete, 0, 0, 0
	return logCounts(r)
}

func TestWhichLogRowsGo(t *testing.T) {
	w := newWorld(t)
	old := w.Ago(31 * day)
	for name, c := range map[string]struct {
		row
		file bool // there is one
		want string
	}{
		"failed":                    {row{Status: exportops.Failed, Error: "Timeout: x"}, false, "found 1 deleted 1"},
		"completed without a file":  {row{}, false, "found 1 deleted 1"},
		"generated on demand":       {row{URL: "/api/export/download/x.json"}, false, "found 1 deleted 1"},
		"expired without a file":    {row{Status: exportops.Expired}, false, "found 1 deleted 1"},
		"expired by others":         {row{Status: exportops.Expired, URL: "f"}, true, "found 1 deleted 1 files 1"},
		"expired and gone":          {row{Status: exportops.Expired, URL: "f"}, false, "found 1 deleted 1 absent 1"},
		"failed with a file":        {row{Status: exportops.Failed, URL: "f"}, true, "found 1 deleted 1 files 1"},
		"expired elsewhere":         {row{Status: exportops.Expired, URL: "s3://another/f"}, false, "found 1 failed 1"},
		"completed and live":        {row{URL: "f", Expires: never}, true, "found 1 file_may_exist 1"},
		"completed and due":         {row{URL: "f", Expires: w.Ago(day)}, true, "found 1 file_may_exist 1"},
		"queued":                    {row{Status: exportops.Queued}, false, "found 1 in_progress 1"},
		"processing":                {row{Status: exportops.Processing, URL: "f"}, true, "found 1 in_progress 1"},
		"young":                     {row{Status: exportops.Failed, Timestamp: w.Ago(30 * day)}, false, ""},
		"created long ago, young":   {row{Status: exportops.Failed, Timestamp: w.Ago(day), Created: old}, false, ""},
		"asked for long ago":        {row{Status: exportops.Failed, Created: w.Ago(day)}, false, "found 1 deleted 1"},
		"with an unreadable time":   {row{Status: exportops.Failed, Timestamp: "2025-01-01"}, false, ""},
		"with an impossible time":   {row{Status: exportops.Failed, Timestamp: "2025-02-31T00:00:00.000Z"}, false, ""},
		"of the year nought":        {row{Status: exportops.Failed, Timestamp: "0000-01-01T00:00:00.000Z"}, false, ""},
		"from the future":           {row{Status: exportops.Failed, Timestamp: w.Ago(-day)}, false, ""},
		"expired with a live twin":  {row{Status: exportops.Expired, URL: "twin"}, true, "found 1 file_may_exist 1"},
		"expired, two ways to read": {row{Status: exportops.Expired, URL: "two%20ways"}, false, "found 1 failed 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.Timestamp == "" {
				c.Timestamp = old
			}
			c.ExportID = id(1)
			w.Insert(c.row, row{ExportID: id(2), URL: "twin", Expires: never})
			for _, key := range []string{"twin", "two ways", "two%20ways"} {
				w.Write(key, "x")
			}
			if c.file && c.URL == "f" {
				w.Write("f", "x")
			}
			before := aggregate(t, w)
			dump := w.Dump()
			dry := cleanLogs(t, w, dryRun)
			want(t, "what a dry run changed", w.Dump(), dump)
			got := cleanLogs(t, w)
			want(t, "result", logCounts(got), c.want)
			want(t, "dry run", dryLog(dry), dryLog(got))
			want(t, "row is gone", w.Status(1) == "", got.DeletedCount == 1)
			want(t, "aggregate", aggregate(t, w), before, cmpopts.EquateApprox(0, 1e-9))
			want(t, "complete", got.Complete, true)
		})
	}
}

// aggregate is what a year says.
func aggregate(t testing.TB, w *testworld.World) exportops.Summary {
	t.Helper()
	s, err := w.Metrics().Aggregate(t.Context(), exportops.At(testworld.Noon.Add(-365*day)), exportops.At(testworld.Noon), exportops.Daily)
	w.Must(err)
	s.DurationPercentilesByFormat, s.DurationPercentilesByCountRange = nil, nil
	s.FileSizePercentilesByFormat, s.FileSizePercentilesByCountRange = nil, nil
	return s
}

func TestLogCleanupAfterFileCleanup(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 5; i++ {
		w.Insert(row{ExportID: id(i), URL: fmt.Sprintf("f%d", i), Timestamp: w.Ago(40 * day), Expires: w.Ago(39 * day), Size: 7})
		w.Write(fmt.Sprintf("f%d", i), "content")
	}
	before := aggregate(t, w)
	want(t, "too early", logCounts(cleanLogs(t, w)), "found 5 file_may_exist 5")
	w.Files.Fail = map[string]error{"f5": errors.New("no")}
	want(t, "files", counts(clean(t, w)), "found 5 deleted 4 failed 1 updated 4")
	// What the ledger confirms is not asked for again.
	w.Files.Before = func(keys []string) error { t.Errorf("%v asked for again", keys); return nil }
	got := cleanLogs(t, w)
	want(t, "logs", logCounts(got), "found 5 deleted 4 failed 1")
	want(t, "error", got.Errors[0].Error, "no")
	want(t, "aggregate", aggregate(t, w), before, cmpopts.EquateApprox(0, 1e-9))
	if before.TotalExports != 5 {
		t.Errorf("%d exports were counted", before.TotalExports)
	}
}

func TestALogRowWithAQuarantinedFile(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "f", Status: exportops.Expired, Timestamp: w.Ago(40 * day)})
	w.Write("f", "x")
	w.Files.Fail = map[string]error{"f": errors.New("no")}
	for i := range exportops.QuarantineAfter {
		want(t, fmt.Sprintf("run %d", i+1), logCounts(cleanLogs(t, w)), "found 1 failed 1")
	}
	want(t, "dry run", logCounts(cleanLogs(t, w, dryRun)), "found 1 file_may_exist 1")
	want(t, "kept", logCounts(cleanLogs(t, w)), "found 1 file_may_exist 1")
	want(t, "row", w.Status(1), exportops.Expired)
}

func TestAConfirmationIsOfOneGeneration(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "f", Timestamp: w.Ago(40 * day)})
	w.Write("f", "x")
	want(t, "file", counts(clean(t, w)), "found 1 deleted 1 updated 1")
	// The export is made again, and some other tool expires it.
	w.Write("f", "new")
	w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(day), id(1))
	want(t, "log", logCounts(cleanLogs(t, w)), "found 1 deleted 1 files 1")
	wantKeys(t, w)
}

// TestARowOfNoReadableTimeIsSettled: what its export counted as is taken at that moment.
func TestARowOfNoReadableTimeIsSettled(t *testing.T) {
	const nought = "0000-01-01T00:00:00.000Z"
	w := newWorld(t)
	w.Write("a", "x")
	w.Insert(row{ExportID: id(1), URL: "a", Expires: w.Ago(day), Timestamp: nought, Created: nought})
	_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: testworld.User})
	w.Must(err)
	wantKeys(t, w)
	want(t, "claims left open", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(0))
}

func TestAUsersLogCleanup(t *testing.T) {
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1), URL: "live", Expires: never, Timestamp: w.Ago(time.Hour)},
		row{ExportID: id(2), URL: "due"},
		row{ExportID: id(3), URL: "gone", Status: exportops.Expired},
		row{ExportID: id(4), Status: exportops.Failed},
		row{ExportID: id(5), URL: "half", Status: exportops.Processing},
		row{ExportID: id(6), URL: "stuck", Timestamp: w.Ago(40 * day)},
		row{ExportID: id(7), URL: "shared", Expires: w.Ago(-day)},
		row{ExportID: id(8), Status: exportops.Failed, Timestamp: "unreadable"},
		row{ExportID: id(9), Status: exportops.Failed, Timestamp: w.Ago(-13 * time.Hour)}, // its clock is in another zone
		row{ExportID: id(10), Status: exportops.Failed, Timestamp: "0000-01-01T00:00:00.000Z"},
		row{ExportID: id(13), Status: exportops.Failed, Timestamp: w.Ago(-100 * day)}, // and this one is wrong
		row{ExportID: id(14), Status: exportops.Failed, Timestamp: w.Ago(-3000 * day)},
		row{ExportID: id(11), URL: "others", UserID: other, Expires: never},
		row{ExportID: id(12), URL: "shared", UserID: other, Expires: never},
	)
	for _, key := range []string{"live", "due", "half", "stuck", "shared", "others"} {
		w.Write(key, "x")
	}
	w.Files.Fail = map[string]error{"stuck": errors.New("no")}
	before := aggregate(t, w)
	dump := w.Dump()
	dry := cleanLogs(t, w, ofUser(testworld.User), dryRun)
	want(t, "what a dry run changed", w.Dump(), dump)
	w.Files.Before = func([]string) error {
		if n := len(w.Statuses()); n != 14 {
			t.Errorf("%d rows are left before the files are dealt with", n)
		}
		return nil
	}
	got := cleanLogs(t, w, ofUser(testworld.User))
	want(t, "result", logCounts(got), "found 12 deleted 9 failed 1 in_progress 1 file_may_exist 1 files 2 absent 1")
	want(t, "dry run", logCounts(dry), "found 12 in_progress 1 file_may_exist 1 would 10")
	wantKeys(t, w, "half", "others", "shared", "stuck")
	want(t, "rows", w.Statuses(), map[string]exportops.Status{
		id(5): exportops.Processing, id(6): exportops.Completed, id(7): exportops.Completed,
		id(11): exportops.Completed, id(12): exportops.Completed,
	})
	want(t, "aggregate", aggregate(t, w), before, cmpopts.EquateApprox(0, 1e-9))
	if n := w.Count(`SELECT count(*) FROM exportops_rollup_hours WHERE start > ?`, w.Clock.At().String()); n > 3*24 {
		t.Errorf("%d hours that are still to come have a rollup", n)
	}
}

func TestALogCleanupsBudgetEnds(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 30; i++ {
		w.Insert(row{ExportID: id(i), URL: fmt.Sprintf("f%d", i), Status: exportops.Expired, Timestamp: w.Ago(40 * day)})
		w.Write(fmt.Sprintf("f%d", i), "x")
	}
	w.Files.Batch = 10
	w.Files.Before = w.Ahead([]int64{20, 20}, func() { w.Clock.Advance(time.Second) })
	budget := func(r *jobs.Request) { r.Budget = 1500 * time.Millisecond }
	first := cleanLogs(t, w, budget)
	want(t, "first", logCounts(first), "found 30 remaining 30 files 20")
	want(t, "complete", first.Complete, false)
	w.Files.Before = nil
	want(t, "last", logCounts(cleanLogs(t, w, budget)), "found 30 deleted 30 files 10")
}

func TestALogCleanupThatDies(t *testing.T) {
	for name, dies := range map[string]func(testing.TB, *testworld.World, ...func(*jobs.Request)){
		"before a file goes": diesBefore, "after a file went": diesAfter,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := 1; i <= 3; i++ {
				w.Insert(row{ExportID: id(i), URL: fmt.Sprintf("f%d", i), Status: exportops.Expired, Timestamp: w.Ago(40 * day)})
				w.Write(fmt.Sprintf("f%d", i), "x")
			}
			dies(t, w, func(r *jobs.Request) { r.Job = exportops.LogCleanup })
			want(t, "rows", len(w.Statuses()), 3)
			want(t, "result", logCounts(cleanLogs(t, w)), "found 3 deleted 3 files 3")
		})
	}
}

// dying is a store whose process dies when a page of log rows is gone.
type dying struct{ *sqlite.Store }

func (d dying) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (exportops.LogDeletion, error) {
	gone, err := d.Store.DeleteLogRows(ctx, c, rows, progress)
	if slices.Contains(gone.Gone, true) {
		panic(errCrash)
	}
	return gone, err
}

func TestRowsThatWentBeforeACrashAreCounted(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 3; i++ {
		w.Insert(row{ExportID: id(i), Status: exportops.Failed, Timestamp: w.Ago(40 * day)})
	}
	w.Insert(row{ExportID: id(4), Status: exportops.Queued, Timestamp: w.Ago(40 * day)})
	func() {
		defer func() {
			if p := recover(); p != errCrash { //nolint:errorlint // the very value
				t.Fatalf("the run did not die as planned: %v", p)
			}
		}()
		r := w.Runner(func(o *jobs.Options) { o.Store = dying{w.Store} })
		a, err := r.Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		t.Errorf("the run did not die: %+v, %v", a, err)
	}()
	want(t, "rows", len(w.Statuses()), 1)
	w.Clock.Advance(time.Minute)
	want(t, "result", logCounts(cleanLogs(t, w)), "found 4 deleted 3 in_progress 1")
}
