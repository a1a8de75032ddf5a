package cleanup_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// another lets the next run be one with other parameters: a run of its own,
// which does not go on from what the dead one counted.
func another(r *jobs.Request) { hours := 24; r.RetentionHours = &hours }

func TestAClaimOfADeadRun(t *testing.T) {
	for name, next := range map[string]func(*jobs.Request){
		"met by the run that takes over": func(*jobs.Request) {},
		"met by another run":             another,
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("whose_file_is_still_there_is_carried_out", func(t *testing.T) {
				w := newWorld(t)
				expired(w, 3)
				diesBefore(t, w)
				want(t, "result", counts(clean(t, w, next)), "found 3 deleted 3 updated 3 recovered 3")
				want(t, "ledger", w.Ledger(2), []string{"deleted confirmed"})
				wantKeys(t, w)
			})
			t.Run("whose_file_is_gone_was_carried_out", func(t *testing.T) {
				w := newWorld(t)
				expired(w, 3)
				diesAfter(t, w)
				want(t, "status before", w.Status(1), exportops.Completed)
				want(t, "result", counts(clean(t, w, next)), "found 3 deleted 3 updated 3 recovered 3")
				want(t, "ledger", w.Ledger(2), []string{"deleted absent_after_attempt"})
				want(t, "status", w.Status(1), exportops.Expired)
			})
			t.Run("whose_file_storage_refuses_is_one_failure", func(t *testing.T) {
				w := newWorld(t)
				expired(w, 2)
				diesBefore(t, w)
				w.Files.Fail = map[string]error{"f1": errors.New("device on fire")}
				got := clean(t, w, next)
				want(t, "result", counts(got), "found 2 deleted 1 failed 1 updated 1 recovered 2")
				want(t, "errors", got.Errors, []exportops.ExportError{{ExportID: id(1), Error: "device on fire"}})
				want(t, "failures", w.Count(`SELECT failures FROM exportops_deletions WHERE export_id = ?`, id(1)), 1)
			})
		})
	}
}

// TestAnExportThatIsTriedAgain runs the story of PROTOCOL.md: between a crash
// and the recovery, the application makes the export again under its old id and
// key.
func TestAnExportThatIsTriedAgain(t *testing.T) {
	const again = "written again"
	for name, c := range map[string]struct {
		change func(w *testworld.World)
		want   string
		status exportops.Status
		keys   []string
	}{
		"and_is_under_way": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET status = 'processing' WHERE export_id = ?`, id(1))
			}, "found 1 changed 1 recovered 1", exportops.Processing, []string{"f1"},
		},
		"and_has_a_new_expiry": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(-day), id(1))
			}, "found 1 changed 1 recovered 1", exportops.Completed, []string{"f1"},
		},
		"and_never_expires_now": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET expires_at = NULL WHERE export_id = ?`, id(1))
			}, "found 1 changed 1 recovered 1", exportops.Completed, []string{"f1"},
		},
		"and_has_another_size_in_its_row": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET file_size = 13 WHERE export_id = ?`, id(1))
			}, "found 1 changed 1 recovered 1", exportops.Completed, []string{"f1"},
		},
		"and_only_its_file_is_new_yet": {
			func(*testworld.World) {}, "found 1 changed 1 recovered 1", exportops.Completed, []string{"f1"},
		},
		"and_its_row_is_gone": {
			func(w *testworld.World) { w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(1)) },
			"found 1 changed 1 recovered 1", "",
			[]string{"f1"},
		},
		"and_names_another_file_that_expired_as_well": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET file_url = 'f2' WHERE export_id = ?`, id(1))
				w.Write("f2", "x")
			}, "found 1 deleted 1 updated 1 recovered 1", exportops.Expired, []string{"f1"},
		},
		"and_belongs_to_someone_else": {
			func(w *testworld.World) {
				w.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id = ?`, other, id(1))
			},
			"found 1 changed 1 recovered 1", exportops.Completed,
			[]string{"f1"},
		},
	} {
		for _, gone := range []bool{false, true} {
			for how, next := range map[string][]func(*jobs.Request){"taken over": nil, "another run": {byAge(1e5)}} {
				if how == "another run" && name == "and_names_another_file_that_expired_as_well" {
					continue // by age it is not due at all
				}
				t.Run(fmt.Sprintf("%s/%s/deleted before the crash %v", name, how, gone), func(t *testing.T) {
					w := newWorld(t)
					w.Insert(row{ExportID: id(1), URL: "f1", Size: 7})
					w.Write("f1", "content")
					w.Write("z", "so that the folder is not empty")
					if gone {
						diesAfter(t, w)
					} else {
						diesBefore(t, w)
					}
					w.WriteAt("f1", again, w.Clock.Now().Add(-time.Second))
					c.change(w)
					got := clean(t, w, next...)
					want(t, "result", counts(got), c.want)
					want(t, "status", w.Status(1), c.status)
					wantKeys(t, w, append(c.keys, "z")...)
					want(t, "first entry", w.Ledger(1)[0], "changed")
				})
			}
		}
	}
}

// TestAChangedExportIsCountedOnce whatever it is when the run is taken over.
func TestAChangedExportIsCountedOnce(t *testing.T) {
	const expires = `UPDATE export_logs SET status = 'completed', file_url = 'f3' WHERE export_id = ?`
	for name, c := range map[string]struct {
		change func(t *testing.T, w *testworld.World)
		want   string
	}{
		"still_under_way": {func(*testing.T, *testworld.World) {}, "found 2 deleted 1 changed 1 updated 1 recovered 2"},
		"as_it_was_claimed": {func(_ *testing.T, w *testworld.World) {
			w.Exec(`UPDATE export_logs SET status = 'completed' WHERE export_id = ?`, id(1))
		}, "found 2 deleted 1 changed 1 updated 1 recovered 2"},
		"gone": {func(_ *testing.T, w *testworld.World) {
			w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(1))
		}, "found 2 deleted 1 changed 1 updated 1 recovered 2"},
		"due_with_another_file": {func(_ *testing.T, w *testworld.World) {
			w.Exec(expires, id(1))
		}, "found 2 deleted 2 updated 2 recovered 2"},
		"due_and_found_by_the_next_holder_but_one": {func(t *testing.T, w *testworld.World) {
			w.Exec(expires, id(1))
			w.Files.Before = func(keys []string) error {
				if slices.Contains(keys, "f3") {
					panic(errCrash)
				}
				return nil
			}
			die(t, w)
		}, "found 2 deleted 2 updated 2 recovered 3"},
		"due_and_implausible": {func(_ *testing.T, w *testworld.World) {
			w.Exec(expires, id(1))
			w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(5*day), id(1))
		}, "found 2 deleted 1 implausible 1 updated 1 recovered 2"},
		"due_and_kept_by_a_hold": {func(t *testing.T, w *testworld.World) {
			w.Exec(expires, id(1))
			_, err := w.Store.PlaceHold(t.Context(), holdOn(id(1)), w.Locator)
			w.Must(err)
		}, "found 2 deleted 1 held 1 updated 1 recovered 2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 1)
			w.Write("f3", "content")
			diesBefore(t, w, another)
			w.Exec(`UPDATE export_logs SET status = 'processing' WHERE export_id = ?`, id(1))
			w.Insert(row{ExportID: id(2), URL: "f2"})
			w.Write("f2", "content")
			diesBefore(t, w) // with one changed, and one claimed
			want(t, "changed", w.Count(`SELECT result ->> 'changed' FROM exportops_runs WHERE state = 'running'`), 1)
			c.change(t, w)
			want(t, "result", counts(clean(t, w)), c.want)
		})
	}
}

func TestARewrittenFileGoesWithALaterRun(t *testing.T) {
	w := newWorld(t)
	expired(w, 1)
	diesBefore(t, w)
	w.WriteAt("f1", "written again", w.Clock.Now())
	want(t, "first", counts(clean(t, w)), "found 1 changed 1 recovered 1")
	// The row still says that what it names expired, a day later.
	w.Clock.Advance(day)
	want(t, "next", counts(clean(t, w)), "found 1 deleted 1 updated 1")
	want(t, "ledger", w.Ledger(1), []string{"changed", "deleted confirmed"})
}

func TestRecoveryLeavesASharedFile(t *testing.T) {
	t.Run("that_a_live_export_names_since_the_crash", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 1)
		diesBefore(t, w)
		w.Insert(row{ExportID: id(2), URL: "file://" + w.Folder + "/f1", Expires: w.Ago(-day), Timestamp: w.Ago(0)})
		want(t, "result", counts(clean(t, w)), "found 1 changed 1 recovered 1")
		wantKeys(t, w, "f1")
		want(t, "next", counts(clean(t, w)), "found 1 shared 1")
		wantKeys(t, w, "f1")
	})
	t.Run("but_not_one_that_only_expired_exports_name", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "one"}, row{ExportID: id(2), URL: "one"})
		w.Write("one", "x")
		diesAfter(t, w)
		// The folder is empty now: the open claim explains it.
		want(t, "result", counts(clean(t, w)), "found 2 deleted 1 absent 1 updated 2 recovered 1")
		want(t, "statuses", w.Statuses(), map[string]exportops.Status{id(1): exportops.Expired, id(2): exportops.Expired})
	})
}

// TestRecoveryAcrossJobs: whichever cleanup comes next deals with the claims of
// the other.
func TestRecoveryAcrossJobs(t *testing.T) {
	logCleanup := func(r *jobs.Request) { r.Job = exportops.LogCleanup }
	old := func(w *testworld.World, n int, status exportops.Status) row {
		return row{ExportID: id(n), URL: fmt.Sprintf("f%d", n), Status: status, Timestamp: w.Ago(40 * day), Expires: w.Ago(39 * day)}
	}
	t.Run("a_file_cleanup_finishes_a_log_cleanup's", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(old(w, 1, exportops.Expired))
		w.Write("f1", "x")
		diesAfter(t, w, logCleanup)
		want(t, "result", counts(clean(t, w)), "found 1 deleted 1 recovered 1")
		want(t, "ledger", w.Ledger(1), []string{"deleted absent_after_attempt"})
		want(t, "status", w.Status(1), exportops.Expired)
	})
	t.Run("a_file_cleanup_leaves_the_file_of_a_live_export", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(old(w, 1, exportops.Expired))
		w.Write("f1", "x")
		diesBefore(t, w, logCleanup)
		w.Insert(row{ExportID: id(2), URL: "f1", Expires: never})
		want(t, "result", counts(clean(t, w)), "found 1 changed 1 recovered 1")
		wantKeys(t, w, "f1")
	})
	t.Run("a_log_cleanup_finishes_a_file_cleanup's", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(old(w, 1, exportops.Completed))
		w.Write("f1", "x")
		diesAfter(t, w)
		a, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		w.Must(err)
		want(t, "files", [2]int64{a.Result.Logs.FilesDeleted, a.Result.Logs.DeletedCount}, [2]int64{1, 1})
		want(t, "rows", len(w.Statuses()), 0)
	})
}

func TestAKeyThatKillsTheProcess(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	kills := func(keys []string) error {
		for _, k := range keys {
			if k == "f1" || k == "f14" {
				panic(errCrash)
			}
		}
		return nil
	}
	left := func() int { return len(w.Keys()) }
	var runs int
	for runs = 0; left() > 2; runs++ {
		if runs == 15 {
			t.Fatalf("%d files are still there after %d runs that died: %v", left(), runs, w.Keys())
		}
		w.Files.Before = kills
		die(t, w)
	}
	wantKeys(t, w, "f1", "f14")
	want(t, "quarantined", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'quarantined'`), 0)
	t.Logf("after %d runs that died", runs)

	got := clean(t, w)
	want(t, "total of the run that all of them were", counts(got), fmt.Sprintf("found 30 deleted 30 updated 30 recovered %d", got.Recovered))
}

func TestASharerOfAKeyThatIsTriedAlone(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "one"}, row{ExportID: id(2), URL: "one"})
	w.Write("one", "x")
	for range exportops.AloneAfter {
		diesBefore(t, w)
	}
	want(t, "result", counts(clean(t, w)), "found 2 deleted 1 absent 1 updated 2 recovered 1")
}

func TestAnOutageIsNoFailureOfAFile(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "storage is away"}
	for range 7 {
		w.Files.Before = func([]string) error { return down }
		a, err := w.Runner().Run(t.Context(), cronCall)
		if !exportops.IsKind(err, exportops.KindUnavailable) || a.Run.State != exportops.RunFailed {
			t.Fatalf("answer %+v, error %v", a.Run, err)
		}
	}
	w.Files.Before = nil
	want(t, "result", counts(clean(t, w)), "found 2 deleted 2 updated 2 recovered 2")
}

func TestFiveFailuresQuarantine(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	w.Files.Fail = map[string]error{"f2": errors.New("permission denied")}
	for i := range exportops.QuarantineAfter {
		want := "found 1 failed 1"
		if i == 0 {
			want = "found 3 deleted 2 failed 1 updated 2"
		}
		a, err := w.Runner().Run(t.Context(), cronCall)
		w.Must(err)
		if got := counts(*a.Result.Files); got != want || a.Failure == "" || a.Run.State != exportops.RunFailed {
			t.Errorf("run %d: %s, failure %q, state %s", i+1, got, a.Failure, a.Run.State)
		}
	}
	a, err := w.Runner().Run(t.Context(), cronCall)
	w.Must(err)
	want(t, "after five", counts(*a.Result.Files), "found 1 quarantined 1")
	want(t, "state", [2]string{string(a.Run.State), a.Failure}, [2]string{"done", ""})
	want(t, "status", w.Status(2), exportops.Completed)
	want(t, "dry run", counts(clean(t, w, dryRun)), "found 1 quarantined 1")
	wantKeys(t, w, "f2")
	// A row that changed is another generation, and gets another chance.
	w.Exec(`UPDATE export_logs SET expires_at = ? WHERE export_id = ?`, w.Ago(time.Hour), id(2))
	w.Files.Fail = nil
	want(t, "changed", counts(clean(t, w)), "found 1 deleted 1 updated 1")
}

func TestFailuresInterleavedWithCrashes(t *testing.T) {
	w := newWorld(t)
	expired(w, 1)
	w.Files.Fail = map[string]error{"f1": errors.New("no")}
	for range 2 {
		want(t, "failing", counts(clean(t, w)), "found 1 failed 1")
		diesBefore(t, w)
		want(t, "recovering", counts(clean(t, w)), "found 1 failed 1 recovered 1")
	}
	want(t, "failures", w.Count(`SELECT failures FROM exportops_deletions`), 4)
	want(t, "attempts", w.Count(`SELECT attempts FROM exportops_deletions`), 6)
	want(t, "fifth", counts(clean(t, w)), "found 1 failed 1")
	want(t, "sixth", counts(clean(t, w)), "found 1 quarantined 1")
}
