package cleanup_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// forms are the ways in which a row can name the file "u/a b".
func forms(w *testworld.World) map[string]string {
	return map[string]string{
		"plain":          "u/a b",
		"escaped":        "u/a%20b",
		"s3":             "s3://exports/u/a b",
		"s3 escaped":     "s3://exports/u/a%20b",
		"file":           "file://" + w.Folder + "/u/a%20b",
		"path style":     "https://files.example.com/exports/u/a%20b",
		"virtual hosted": "https://exports.files.example.com/u/a%20b",
		"public":         "https://files.example.com/storage/v1/object/public/exports/u/a%20b",
		"by its owner":   "https://files.example.com/storage/v1/object/exports/u/a%20b",
		"as an image":    "https://files.example.com/storage/v1/render/image/public/exports/u/a%20b",
		"signed":         "https://files.example.com/storage/v1/object/sign/exports/u/a%20b?token=x",
	}
}

// sharers are the states of a second row, and whether it keeps the file alive.
func sharers(w *testworld.World) map[string]struct {
	row
	keeps bool
} {
	type sharer = struct {
		row
		keeps bool
	}
	return map[string]sharer{
		"live":                    {row{Expires: w.Ago(-day)}, true},
		"queued":                  {row{Status: exportops.Queued}, true},
		"processing":              {row{Status: exportops.Processing, Expires: never}, true},
		"without expiry":          {row{Expires: never}, true},
		"with unreadable expiry":  {row{Expires: "2025-10-30 12:00:00"}, true},
		"with implausible expiry": {row{Expires: w.Ago(5 * day)}, true},
		"of another user, live":   {row{UserID: other, Expires: w.Ago(-day)}, true},
		"expired with its file":   {row{}, false},
		"failed":                  {row{Status: exportops.Failed}, false},
		"expired":                 {row{Status: exportops.Expired}, false},
	}
}

func TestASharedFile(t *testing.T) {
	shapes := forms(testworld.New(t, t.TempDir()))
	for form := range shapes {
		for state := range sharers(testworld.New(t, t.TempDir())) {
			if form != "plain" && form != "file" && state != "live" && state != "expired with its file" {
				continue // every form and every state, not every pair
			}
			t.Run(form+"/"+state, func(t *testing.T) {
				w := newWorld(t)
				for n, url := range []string{"u/a%20b", forms(w)["virtual hosted"]} {
					w.Insert(row{ExportID: id(n + 1), URL: url})
				}
				second := sharers(w)[state]
				second.ExportID, second.URL = id(9), forms(w)[form]
				w.Insert(second.row)
				w.Write("u/a b", "x")
				w.Write("z", "x")
				dry := counts(clean(t, w, dryRun))
				got := counts(clean(t, w))
				switch {
				case second.keeps:
					implausible, found := "", 2
					if state == "with implausible expiry" {
						implausible, found = " implausible 1", 3
					}
					want(t, "result", got, fmt.Sprintf("found %d shared 2%s", found, implausible))
					want(t, "dry run", dry, got)
					wantKeys(t, w, "u/a b", "z")
					want(t, "status", w.Status(1), exportops.Completed)
				case second.Status == "":
					want(t, "result", got, "found 3 deleted 1 absent 2 updated 3")
					want(t, "dry run", dry, "found 3 would 3")
					wantKeys(t, w, "z")
				default:
					want(t, "result", got, "found 2 deleted 1 absent 1 updated 2")
					want(t, "dry run", dry, "found 2 would 2")
					wantKeys(t, w, "z")
				}
			})
		}
	}
}

// TestAFileThatALiveRowMayName asks whether a file_url that cannot be read, and is
// refused, keeps the file that it may mean.
func TestAFileThatALiveRowMayName(t *testing.T) {
	for _, url := range []string{
		"https://files.example.com//exports/u/a", "https://files.example.com/exports/u/a?versionId=1", "https://files.example.com/exports/u/a/",
		"https://files.example.com/storage/v1/new/exports/u/a", "https://files.example.com/get?file=u/a", "https://cdn.example.com/u/a",
		"s3://localhost:9000/exports/u/a", "/u/a", "u/a\n", "https://files.example.com/exports/u/a\r\n",
	} {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "u/a"}, row{ExportID: id(2), URL: url, Expires: never}, row{ExportID: id(3), URL: "v/a"})
		w.Write("u/a", "x")
		w.Write("v/a", "x")
		dry := counts(clean(t, w, dryRun))
		want(t, "dry run beside "+url, dry, "found 2 shared 1 would 1")
		want(t, "result beside "+url, counts(clean(t, w)), "found 2 deleted 1 shared 1 updated 1")
		wantKeys(t, w, "u/a")
		w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(day), id(2))
		want(t, "when it has expired", counts(clean(t, w)), "found 2 deleted 1 failed 1 updated 1") // and is refused
	}
}

// TestWhatKeepsAFileAlive asks of each mode which other row forbids a deletion.
func TestWhatKeepsAFileAlive(t *testing.T) {
	const mine = testworld.User
	for name, c := range map[string]struct {
		candidate, other row // both name one file; times in days before now
		ask              jobs.Request
		keeps            bool
	}{
		"age_takes_a_sharer_that_is_old_too": {
			row{Expires: never}, row{Expires: never}, jobs.Request{Job: exportops.FileCleanup, RetentionHours: ptr(24)}, false,
		},
		"age_leaves_a_sharer_that_is_young": {
			row{Expires: never}, row{Expires: never, Timestamp: "1h"}, jobs.Request{Job: exportops.FileCleanup, RetentionHours: ptr(24)}, true,
		},
		"age_takes_a_young_sharer_that_expired": {
			row{Expires: never}, row{Expires: "1m", Timestamp: "1h"}, jobs.Request{Job: exportops.FileCleanup, RetentionHours: ptr(24)}, false,
		},
		"log_cleanup_leaves_the_file_of_one_live_export": {
			row{Status: exportops.Expired, Timestamp: "960h"}, row{Expires: never}, jobs.Request{Job: exportops.LogCleanup}, true,
		},
		"log_cleanup_leaves_the_file_of_one_in_progress": {
			row{Status: exportops.Failed, Timestamp: "960h"}, row{Status: exportops.Queued}, jobs.Request{Job: exportops.LogCleanup}, true,
		},
		"log_cleanup_takes_what_an_expired_export_names": {
			row{Status: exportops.Failed, Timestamp: "960h"}, row{}, jobs.Request{Job: exportops.LogCleanup}, false,
		},
		"a_user's_cleanup_leaves_what_another_user_needs": {
			row{Expires: never}, row{UserID: other, Expires: never}, jobs.Request{Job: exportops.UserLogCleanup, UserID: mine}, true,
		},
		"a_user's_expired_row_does_not_cost_another_user_a_file": {
			row{Status: exportops.Expired}, row{UserID: other, Expires: never}, jobs.Request{Job: exportops.UserLogCleanup, UserID: mine}, true,
		},
		"a_user's_cleanup_takes_what_only_the_user_names": {
			row{Expires: never}, row{Expires: "-24h"}, jobs.Request{Job: exportops.UserLogCleanup, UserID: mine}, false,
		},
		"a_user's_cleanup_leaves_what_is_in_progress": {
			row{Expires: never}, row{Status: exportops.Processing}, jobs.Request{Job: exportops.UserLogCleanup, UserID: mine}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for n, r := range []row{c.candidate, c.other} {
				r.ExportID, r.URL = id(n+1), []string{"one", "s3://exports/one"}[n]
				for _, at := range []*string{&r.Timestamp, &r.Expires} {
					if d, err := time.ParseDuration(*at); err == nil {
						*at = w.Ago(d)
					}
				}
				w.Insert(r)
			}
			w.Write("one", "x")
			w.Write("z", "x")
			c.ask.Trigger = exportops.ByCommand
			_, err := w.Runner().Run(t.Context(), c.ask)
			w.Must(err)
			keys := []string{"z"}
			if c.keeps {
				keys = []string{"one", "z"}
			}
			wantKeys(t, w, keys...)
			if c.keeps && w.Status(1) == "" {
				t.Error("the row went before its file")
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestALiveRowThatComesDuringTheRun(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 10
	expired(w, 30)
	once := false
	w.Files.Before = func([]string) error {
		if !once {
			once = true
			w.Clock.Advance(time.Second)
			w.Insert(row{ExportID: id(99), URL: "s3://exports/f30", Timestamp: w.Ago(0), Expires: w.Ago(-day)})
		}
		return nil
	}
	want(t, "result", counts(clean(t, w)), "found 30 deleted 29 shared 1 updated 29")
	wantKeys(t, w, "f30")
}

func TestTwoReadingsOfOneKey(t *testing.T) {
	t.Run("both_exist_and_neither_goes", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "a%20b"})
		w.Write("a b", "x")
		w.Write("a%20b", "x")
		want(t, "dry run", counts(clean(t, w, dryRun)), "found 1 failed 1")
		want(t, "result", counts(clean(t, w)), "found 1 failed 1")
		wantKeys(t, w, "a b", "a%20b")
	})
	t.Run("a_live_row_may_mean_the_other", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "https://files.example.com/exports/a%2520b"}, row{ExportID: id(2), URL: "a%20b", Expires: never})
		w.Write("a%20b", "x")
		want(t, "result", counts(clean(t, w)), "found 1 shared 1")
		wantKeys(t, w, "a%20b")
	})
}

// TestManyRowsWithOneFile goes through the exact look, which is bounded.
func TestManyRowsWithOneFile(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.Insert(row{ExportID: id(i + 1), URL: fmt.Sprintf("f%d", i%3)})
	}
	for i := range 3 {
		w.Write(fmt.Sprintf("f%d", i), "x")
	}
	want(t, "result", counts(clean(t, w)), "found 60 deleted 3 absent 57 updated 60")
	for n, s := range w.Statuses() {
		if !cmp.Equal(s, exportops.Expired) {
			t.Errorf("export %s is %s", n, s)
		}
	}
}
