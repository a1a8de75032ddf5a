package cleanup_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// asks are the jobs that delete files, as real runs and as dry ones.
var asks = map[string]jobs.Request{
	"file cleanup":         {Job: exportops.FileCleanup, Trigger: exportops.ByCommand},
	"file cleanup dry run": {Job: exportops.FileCleanup, Trigger: exportops.ByCommand, DryRun: true},
	"log cleanup":          {Job: exportops.LogCleanup, Trigger: exportops.ByCommand},
	"log cleanup dry run":  {Job: exportops.LogCleanup, Trigger: exportops.ByCommand, DryRun: true},
	"user's cleanup":       {Job: exportops.UserLogCleanup, UserID: testworld.User, Trigger: exportops.ByCommand, Force: true},
}

// TestARootThatIsNotThere: it is never read as "all files are gone".
func TestARootThatIsNotThere(t *testing.T) {
	for ask, req := range asks {
		for name, c := range map[string]struct {
			happens func(t *testing.T, w *testworld.World)
			says    string
		}{
			"missing": {
				func(t *testing.T, w *testworld.World) { move(t, w) }, "is missing",
			},
			"replaced by an empty folder": {
				func(t *testing.T, w *testworld.World) { move(t, w); mkdir(t, w) }, "was replaced",
			},
			"empty in a new process": {
				func(t *testing.T, w *testworld.World) { move(t, w); mkdir(t, w); w.Reopen() }, "is empty, but export",
			},
			"missing in the middle of the batch": {
				func(t *testing.T, w *testworld.World) {
					w.Files.Before = func([]string) error { move(t, w); return nil }
				}, "is missing",
			},
		} {
			if strings.HasPrefix(name, "missing in") && (req.DryRun || req.Job == exportops.LogCleanup) {
				continue // no file is deleted
			}
			t.Run(ask+"/"+name, func(t *testing.T) {
				w := newWorld(t)
				expired(w, 3)
				c.happens(t, w)
				before := w.Statuses()
				a, err := w.Runner().Run(t.Context(), req)
				if !exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("error is %v, want one that says %q", err, c.says)
				}
				if !req.DryRun && a.Run.State != exportops.RunFailed {
					t.Errorf("the run is %s", a.Run.State)
				}
				want(t, "rows", w.Statuses(), before)
				want(t, "confirmed", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state IN ('deleted', 'absent')`), 0)

				// It comes back, and everything goes on.
				w.Files.Before = nil
				back(t, w)
				w.Reopen()
				want(t, "afterwards", clean(t, w).DeletedCount, 3)
			})
		}
	}
}

func move(t testing.TB, w *testworld.World) {
	t.Helper()
	if err := os.Rename(w.Folder, w.Folder+".away"); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, w *testworld.World) {
	t.Helper()
	if err := os.Mkdir(w.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
}

func back(t testing.TB, w *testworld.World) {
	t.Helper()
	if err := os.RemoveAll(w.Folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.Folder+".away", w.Folder); err != nil {
		t.Fatal(err)
	}
}

func TestAnEmptyRoot(t *testing.T) {
	t.Run("that_is_marked_may_be_empty", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "gone"})
		w.Write(".exportops-root", "")
		want(t, "result", counts(clean(t, w)), "found 1 absent 1 updated 1")
	})
	t.Run("of_which_no_row_expects_anything_may_be_empty", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1)}, row{ExportID: id(2), URL: "f", Status: exportops.Expired},
			row{ExportID: id(3), URL: "s3://another/f", Expires: never})
		want(t, "result", counts(clean(t, w)), "found 1 no_file 1 updated 1")
	})
	for _, status := range []exportops.Status{exportops.Expired, exportops.Failed} {
		t.Run("is_no_proof_for_a_row_that_says_"+string(status), func(t *testing.T) {
			w := newWorld(t)
			w.Insert(row{ExportID: id(1), URL: "f1", Status: status, Timestamp: w.Ago(40 * day)})
			for _, ask := range []string{"log cleanup", "log cleanup dry run", "user's cleanup"} {
				if _, err := w.Runner().Run(t.Context(), asks[ask]); !exportops.IsKind(err, exportops.KindUnavailable) {
					t.Errorf("%s: error is %v", ask, err)
				}
			}
			want(t, "rows", w.Status(1), status)
			w.Write(".exportops-root", "")
			want(t, "marked", logCounts(cleanLogs(t, w)), "found 1 deleted 1 absent 1")
		})
	}
	t.Run("may_be_what_a_dead_run_left", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		diesAfter(t, w)
		w.Reopen()
		want(t, "files", len(w.Keys()), 0)
		want(t, "result", counts(clean(t, w)), "found 3 deleted 3 updated 3 recovered 3")
	})
	t.Run("is_not_explained_by_claims_on_other_files", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		diesAfter(t, w)
		w.Insert(row{ExportID: id(4), URL: "f4", Expires: never})
		if _, err := w.Runner().Run(t.Context(), cronCall); !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Fatalf("error is %v", err)
		}
	})
}

func TestAReadOnlyRoot(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	readOnly := errors.New("delete it: read-only file system")
	w.Files.Fail = map[string]error{"f1": readOnly, "f2": readOnly, "f3": readOnly}
	a, err := w.Runner().Run(t.Context(), cronCall)
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 3 failed 3")
	want(t, "failure", a.Failure, "3 of 3 files could not be deleted")
	want(t, "rows", w.Status(1), exportops.Completed)
	w.Files.Fail = nil
	want(t, "afterwards", counts(clean(t, w)), "found 3 deleted 3 updated 3")
}
