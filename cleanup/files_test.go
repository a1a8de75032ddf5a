package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

func TestWhatExpires(t *testing.T) {
	const soon = time.Millisecond
	w := newWorld(t)
	for name, c := range map[string]struct {
		row
		want   string
		status exportops.Status
		kept   bool
	}{
		"just_now":            {row{Expires: w.Ago(0)}, "found 1 deleted 1 updated 1", exportops.Expired, false},
		"in_a_millisecond":    {row{Expires: w.Ago(-soon)}, "", exportops.Completed, true},
		"never":               {row{Expires: never}, "", exportops.Completed, true},
		"empty":               {row{Expires: " "}, "", exportops.Completed, true},
		"unreadable":          {row{Expires: "2025-10-01"}, "", exportops.Completed, true},
		"without_a_zone":      {row{Expires: "2025-10-01T00:00:00.000"}, "", exportops.Completed, true},
		"no_such_day":         {row{Expires: "2025-02-31T00:00:00.000Z"}, "", exportops.Completed, true},
		"epoch":               {row{Expires: "0"}, "", exportops.Completed, true},
		"before_creation":     {row{Created: w.Ago(day), Expires: w.Ago(2 * day)}, "found 1 implausible 1", exportops.Completed, true},
		"unreadable_creation": {row{Created: "yesterday"}, "found 1 implausible 1", exportops.Completed, true},
		"at_creation":         {row{Created: w.Ago(day), Expires: w.Ago(day)}, "found 1 deleted 1 updated 1", exportops.Expired, false},
		"while_queued":        {row{Status: exportops.Queued}, "", exportops.Queued, true},
		"while_processing":    {row{Status: exportops.Processing}, "", exportops.Processing, true},
		"failed":              {row{Status: exportops.Failed}, "", exportops.Failed, true},
		"expired_already":     {row{Status: exportops.Expired}, "", exportops.Expired, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.ExportID, c.URL = id(1), "f"
			w.Insert(c.row)
			w.Write("f", "x")
			w.Insert(row{ExportID: id(2), URL: "beside"}) // what is wrong with one row never stops the others
			w.Write("beside", "x")
			dry, got := clean(t, w, dryRun), clean(t, w)
			if w.Status(2) != exportops.Expired {
				t.Errorf("the row beside it is %s", w.Status(2))
			}
			got.TotalFound, got.DeletedCount, got.LogsUpdated = got.TotalFound-1, got.DeletedCount-1, got.LogsUpdated-1
			want(t, "result", counts(got), c.want)
			want(t, "dry run", [2]int64{dry.WouldDelete - 1, dry.Implausible}, [2]int64{got.DeletedCount, got.Implausible})
			want(t, "status", w.Status(1), c.status)
			want(t, "kept", len(w.Keys()) == 1, c.kept)
		})
	}
}

func TestByAge(t *testing.T) {
	w := newWorld(t)
	young := w.Ago(24 * time.Hour)
	w.Insert(
		row{ExportID: id(1), URL: "f1", Expires: never},
		row{ExportID: id(2), URL: "f2", Expires: w.Ago(-day)},
		row{ExportID: id(3), URL: "f3", Expires: w.Ago(40 * day)}, // implausible, which is no matter here
		row{ExportID: id(4), URL: "f4", Created: young},           // not before the cut
		row{ExportID: id(5), URL: "f5", Created: "long ago"},
		row{ExportID: id(6), URL: "f6", Status: exportops.Processing},
		row{ExportID: id(7), URL: "f7", Status: exportops.Failed},
		row{ExportID: id(8), Expires: never},
	)
	for n := range 7 {
		w.Write(fmt.Sprintf("f%d", n+1), "x")
	}
	want(t, "by expiry", counts(clean(t, w, dryRun)), "found 3 implausible 3")
	want(t, "dry run", counts(clean(t, w, byAge(24), dryRun)), "found 4 no_file 1 would 3")
	want(t, "result", counts(clean(t, w, byAge(24))), "found 4 deleted 3 no_file 1 updated 4")
	wantKeys(t, w, "f4", "f5", "f6", "f7")
}

func TestExportsWithoutAFile(t *testing.T) {
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1)},
		row{ExportID: id(2), URL: "/api/export/download/x.json"},
		row{ExportID: id(3), URL: "gone"},
	)
	w.Exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url,
		expires_at, created_at) SELECT ?, user_id, timestamp, format, config, 1, status, '', expires_at, created_at
		FROM export_logs WHERE export_id = ?`, id(4), id(1))
	w.Write(".exportops-root", "")
	want(t, "dry run", counts(clean(t, w, dryRun)), "found 4 no_file 3 would 1")
	want(t, "result", counts(clean(t, w)), "found 4 absent 1 no_file 3 updated 4")
	want(t, "absence", len(w.Ledger(3)), 1)
	want(t, "no entry", len(w.Ledger(1)), 0)
	want(t, "next", counts(clean(t, w)), "")
}

func TestLocationsThatAreNotOurs(t *testing.T) {
	w := newWorld(t)
	for n, url := range []string{
		"../outside", "s3://another/f", "https://elsewhere.example.com/exports/f", "file:///etc/passwd", "%zz", ".exportops-root",
		"folder", "link",
	} {
		w.Insert(row{ExportID: id(n + 1), URL: url})
	}
	w.Write("folder/file", "x")
	w.Write(".exportops-root", "x")
	w.Insert(row{ExportID: id(20), URL: "good"})
	w.Write("good", "x")
	want(t, "dry run", clean(t, w, dryRun).FailedCount, 5)
	got := clean(t, w)
	want(t, "result", counts(got), "found 9 deleted 1 absent 1 failed 7 updated 2")
	want(t, "errors", [2]int{len(got.Errors), int(got.ErrorsTotal)}, [2]int{7, 7})
	wantKeys(t, w, ".exportops-root", "folder/file")
	want(t, "status", w.Status(1), exportops.Completed)
	for range exportops.QuarantineAfter - 1 {
		clean(t, w)
	}
	want(t, "after five", counts(clean(t, w)), "found 7 quarantined 7")
}

func TestAKeyMustBeTheUsersOwn(t *testing.T) {
	w := newWorld(t)
	w.Locator.KeyPrefix = "{user_id}/"
	w.Insert(
		row{ExportID: id(1), UserID: other, URL: other + "/a"},
		row{ExportID: id(2), URL: other + "/b"}, // another user's file
		row{ExportID: id(3), URL: other + "/../" + other + "/b"},
		row{ExportID: id(4), URL: "b"},
		row{ExportID: id(5), UserID: "..", URL: "../b"},
		row{ExportID: id(6), UserID: other, URL: other + "/b", Expires: never},
	)
	w.Write(other+"/a", "x")
	w.Write(other+"/b", "x")
	want(t, "result", counts(clean(t, w)), "found 5 deleted 1 failed 4 updated 1")
	wantKeys(t, w, other+"/b")
}

// TestARowThatChangesWhileItsFileIsDeleted also shows that no transaction is
// open while storage works: another process writes.
func TestARowThatChangesWhileItsFileIsDeleted(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		want   string
		ledger []string
	}{
		"its expiry is put off": {
			`UPDATE export_logs SET expires_at = '2099-01-01T00:00:00.000Z' WHERE export_id = ?`,
			"found 2 deleted 2 updated 1",
			[]string{"changed deleted"},
		},
		"it is made again": {
			`UPDATE export_logs SET status = 'processing' WHERE export_id = ?`, "found 2 deleted 2 updated 1", []string{"changed deleted"},
		},
		"it names another file": {
			`UPDATE export_logs SET file_url = 'elsewhere' WHERE export_id = ?`, "found 2 deleted 2 updated 1", []string{"changed deleted"},
		},
		"it is deleted": {
			`DELETE FROM export_logs WHERE export_id = ?`, "found 2 deleted 2 updated 1", []string{"changed deleted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 2)
			another := w.OpenStore()
			w.Files.Before = func([]string) error {
				_, err := another.Writer().ExecContext(t.Context(), c.change, id(1))
				return err
			}
			want(t, "result", counts(clean(t, w)), c.want)
			want(t, "ledger", w.Ledger(1), c.ledger)
			if s := w.Status(1); s == exportops.Expired {
				t.Error("the row expired although it no longer was what was claimed")
			}
			want(t, "the other", w.Status(2), exportops.Expired)
		})
	}
	t.Run("a row without a file", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1)})
		expired(w, 0)
		w.Insert(row{ExportID: id(2), URL: "f"})
		w.Write("f", "x")
		w.Files.Before = func([]string) error {
			w.Exec(`UPDATE export_logs SET status = 'queued' WHERE export_id = ?`, id(1))
			return nil
		}
		want(t, "result", counts(clean(t, w)), "found 2 deleted 1 changed 1 updated 1")
		want(t, "status", w.Status(1), exportops.Queued)
	})
}

func TestTheBudgetEnds(t *testing.T) {
	w := newWorld(t)
	expired(w, 50)
	w.Insert(row{ExportID: id(60), URL: "f1", Expires: never}) // f1 is shared
	w.Files.Batch = 10
	w.Files.Before = w.Ahead([]int64{19, 20}, func() { w.Clock.Advance(time.Second) })
	budget := func(r *jobs.Request) { r.Budget = 1500 * time.Millisecond }
	first := clean(t, w, budget)
	want(t, "first", counts(first), "found 50 deleted 19 remaining 31 updated 19")
	want(t, "complete", first.Complete, false)
	w.Files.Before = nil
	last := clean(t, w, budget)
	want(t, "last", counts(last), "found 31 deleted 30 shared 1 updated 30")
	want(t, "complete", last.Complete, true)
}

func TestABudgetThatEndsBeforeTheFirstFile(t *testing.T) {
	w := newWorld(t)
	expired(w, 7)
	w.Files.Checked = func() { w.Clock.Advance(time.Minute) }
	budget := func(r *jobs.Request) { r.Budget = time.Second }
	want(t, "result", counts(clean(t, w, budget)), "found 7 remaining 7")

	t.Run("after_a_crash", func(t *testing.T) {
		w.Files.Checked = nil
		diesBefore(t, w)
		w.Files.Fail = map[string]error{"f3": errors.New("no")}
		w.Files.Change = func([]string, []exportops.FileResult) error { w.Clock.Advance(time.Minute); return nil }
		w.Insert(row{ExportID: id(8), URL: "f8"})
		w.Write("f8", "x")
		w.Exec(`UPDATE export_logs SET file_size = 3 WHERE export_id = ?`, id(5))
		want(t, "result", counts(clean(t, w, budget)), "found 8 deleted 5 failed 1 changed 1 remaining 1 updated 5 recovered 7")
	})
}

func TestARunIsStoppedWhileItReads(t *testing.T) {
	w := newWorld(t)
	expired(w, 7)
	ctx, cancel := context.WithCancel(t.Context())
	w.Files.Checked = cancel
	a, err := w.Runner().Run(ctx, jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 7 remaining 7")
	want(t, "state", a.Run.State, exportops.RunPartial)
}

func TestARunIsStoppedWhileItDeletes(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	ctx, cancel := context.WithCancel(t.Context())
	w.Files.Before = w.Ahead([]int64{20}, cancel)
	a, err := w.Runner().Run(ctx, jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 30 deleted 10 remaining 20 updated 10")
	want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 0)
}
