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

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

var logCall = jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron}

// archives is a world with archives, and old rows of August and September.
type archives struct {
	*testworld.World
	to  *testworld.Objects
	ids []string // of the rows that are to go
}

func newArchives(t testing.TB) *archives {
	t.Helper()
	w := newWorld(t)
	a := &archives{World: w, to: w.Objects()}
	for i := range 10 {
		w.Insert(row{
			ExportID: id(i), Status: exportops.Failed, Error: fmt.Sprintf("Timeout: late %d", i), Expires: never,
			Timestamp: w.Ago(time.Duration(40+5*i) * day),
		})
	}
	a.ids = w.Strings(`SELECT id FROM export_logs ORDER BY id`)
	w.Insert(
		row{ExportID: id(20), Status: exportops.Processing, Expires: never, Timestamp: w.Ago(45 * day)},
		row{ExportID: id(21), Status: exportops.Completed, URL: "live", Expires: never, Timestamp: w.Ago(45 * day)},
		row{ExportID: id(22), Status: exportops.Failed, Expires: never, Timestamp: w.Ago(2 * day)},
	)
	w.Write("live", "content")
	return a
}

func (a *archives) run(t testing.TB, change ...func(*jobs.Request)) (exportops.LogCleanupResult, error) {
	t.Helper()
	req := logCall
	for _, c := range change {
		c(&req)
	}
	answer, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), req)
	if answer.Result.Logs == nil {
		t.Fatalf("there is no result: %v", err)
	}
	return *answer.Result.Logs, err
}

func (a *archives) mustRun(t testing.TB, change ...func(*jobs.Request)) exportops.LogCleanupResult {
	t.Helper()
	res, err := a.run(t, change...)
	a.Must(err)
	return res
}

// wantEachOnce fails unless each row that may go is in the table or in exactly one
// archive that is done, and no archive is left in the middle.
func (a *archives) wantEachOnce(t testing.TB) {
	t.Helper()
	_, times := a.Archived(a.to)
	there := a.Strings(`SELECT id FROM export_logs`)
	for _, id := range a.ids {
		if n := times[id]; n > 1 || (n == 1) == slices.Contains(there, id) {
			t.Errorf("row %s is in %d archives, and in the table: %v", id, n, slices.Contains(there, id))
		}
	}
	if len(there) < 3 {
		t.Errorf("only %d rows are left", len(there))
	}
}

func (a *archives) states() (all []string) {
	for _, x := range a.Archives() {
		all = append(all, string(x.State))
	}
	return all
}

func TestArchiving(t *testing.T) {
	t.Run("rows_go_into_archives_of_their_months", func(t *testing.T) {
		a := newArchives(t)
		before, _, err := a.Store.ArchivedRows(t.Context(), a.ids)
		a.Must(err)
		res := a.mustRun(t)
		want(t, "found, deleted, archived, in progress, file", [5]int64{res.TotalFound, res.DeletedCount, res.ArchivedCount, res.KeptInProgress, res.KeptFileMayExist}, [5]int64{12, 10, 10, 1, 1})
		var keys []string
		var bytes int64
		for _, x := range a.Archives() {
			want(t, "state", x.State, exportops.ArchiveDone)
			want(t, "deleted", x.Deleted, x.Rows)
			bytes += x.Bytes
			keys = append(keys, x.Key, strings.TrimSuffix(x.Key, ".parquet")+".json")
		}
		slices.Sort(keys)
		want(t, "objects", a.to.Keys(), keys)
		want(t, "bytes", res.ArchivedSizeBytes, bytes)
		if len(keys) != 4 || !strings.HasPrefix(keys[0], "export_logs/year=2025/month=08/000001-") {
			t.Errorf("the keys are %q", keys)
		}
		a.wantEachOnce(t)
		rows, _ := a.Archived(a.to)
		for _, r := range before {
			// It was counted before it was archived.
			got := rows[r.ID]
			if got.Metric == nil || got.Metric.CountedHour == nil {
				t.Errorf("row %s is archived with the metric %+v", r.ID, got.Metric)
			}
			got.Metric = nil
			want(t, "row", got, r)
		}
		want(t, "members", a.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
		again := a.mustRun(t)
		want(t, "then", [2]int64{again.DeletedCount, again.ArchivedCount}, [2]int64{})
		want(t, "archives", len(a.Archives()), 2)
	})
	t.Run("what_the_retention_policy_keeps_stays", func(t *testing.T) {
		a := newArchives(t)
		p := keep(t, exportops.Rule{Name: "failed", Match: exportops.Match{Statuses: []exportops.Status{exportops.Failed}}, Files: exportops.Never, Logs: exportops.KeepFor(62 * day)})
		answer, err := a.Runner(a.Archiving(a.to), under(p)).Run(t.Context(), logCall)
		a.Must(err)
		res := answer.Result.Logs
		want(t, "deleted, archived, kept", [3]int64{res.DeletedCount, res.ArchivedCount, res.KeptByPolicy}, [3]int64{5, 5, 5})
		a.wantEachOnce(t)
	})
	t.Run("of_a_user_too", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id IN (?, ?)`, other, id(1), id(9))
		res := a.mustRun(t, func(r *jobs.Request) { r.Job, r.UserID = exportops.UserLogCleanup, other })
		want(t, "deleted, archived", [2]int64{res.DeletedCount, res.ArchivedCount}, [2]int64{2, 2})
		a.wantEachOnce(t)
		want(t, "archives", len(a.Archives()), 2)
	})
	t.Run("a_dry_run_says_what_would_be_archived", func(t *testing.T) {
		a := newArchives(t)
		before := a.Dump()
		res := a.mustRun(t, dryRun)
		want(t, "would delete, archived", [2]int64{res.WouldDelete, res.ArchivedCount}, [2]int64{10, 10})
		if res.ArchivedSizeBytes < 1000 {
			t.Errorf("it would take %d bytes", res.ArchivedSizeBytes)
		}
		want(t, "database", a.Dump(), before)
		want(t, "objects", a.to.Keys(), nil)
	})
	t.Run("what_an_archive_could_not_give_back_stays", func(t *testing.T) {
		a := newArchives(t)
		a.Exec(`UPDATE export_logs SET config = x'00ff' WHERE export_id = ?`, id(3))
		res, err := a.run(t)
		a.Must(err)
		want(t, "deleted, archived, failed", [3]int64{res.DeletedCount, res.ArchivedCount, res.FailedCount}, [3]int64{9, 9, 1})
		if len(res.Errors) != 1 || !strings.Contains(res.Errors[0].Error, "could not give back") {
			t.Errorf("the errors are %+v", res.Errors)
		}
		a.wantEachOnce(t)
	})
	t.Run("a_row_edited_before_it_is_deleted_is_archived_again", func(t *testing.T) {
		a := newArchives(t)
		edited := false
		a.to.Opening = func(string) error {
			if !edited {
				a.Exec(`UPDATE export_logs SET error_message = 'Timeout: edited' WHERE export_id = ?`, id(0))
			}
			edited = true
			return nil
		}
		for i := 1; i < 10; i++ { // all in one archive
			a.Exec(`UPDATE export_logs SET timestamp = ? WHERE export_id = ?`, a.Ago(40*day), id(i))
		}
		res := a.mustRun(t)
		want(t, "deleted, archived, remaining", [3]int64{res.DeletedCount, res.ArchivedCount, res.Remaining}, [3]int64{9, 10, 1})
		if res.Complete {
			t.Error("it says that nothing is left to do")
		}
		a.to.Opening = nil
		res = a.mustRun(t)
		want(t, "then", [3]int64{res.DeletedCount, res.ArchivedCount, res.Remaining}, [3]int64{1, 1, 0})
		rows, times := a.Archived(a.to)
		for id, row := range rows {
			if n := times[id]; n == 2 && *row.ErrorMessage != "Timeout: edited" {
				t.Errorf("the later one says %q", *row.ErrorMessage)
			}
		}
		want(t, "rows left", a.Count(`SELECT count(*) FROM export_logs`), 3)
	})
}

func TestArchivingFails(t *testing.T) {
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "the archive is down"}
	for name, c := range map[string]struct {
		fail func(a *archives)
		says string
		then []string // the states after a run that succeeds
	}{
		"nothing_can_be_written": {
			func(a *archives) { a.to.Before = func(string) error { return down } }, "is down",
			[]string{"abandoned", "done", "done"},
		},
		"it_is_written_and_the_answer_is_lost": {
			func(a *archives) { a.to.Created = func(string) error { return down } }, "is down",
			[]string{"done", "done"},
		},
		"it_cannot_be_read_back": {
			func(a *archives) { a.to.Opening = func(string) error { return down } }, "is down",
			[]string{"done", "done"},
		},
		"a_byte_was_flipped": {
			func(a *archives) { a.to.Created = func(key string) error { return a.to.Flip(key) } }, "its SHA-256 is not what it was",
			[]string{"abandoned", "done", "done"},
		},
		"it_vanished": {
			func(a *archives) {
				a.to.Created = func(key string) error { return a.to.Delete(context.Background(), key) }
			}, "there is no such object",
			[]string{"abandoned", "done", "done"},
		},
		"another_object_has_its_key": {
			func(a *archives) { a.to.Before = func(key string) error { return a.to.Put(key, []byte("another")) } }, "another size",
			[]string{"abandoned", "done", "done"},
		},
		"another_manifest_has_its_key": {
			func(a *archives) {
				a.to.Created = func(key string) error {
					return a.to.Put(strings.TrimSuffix(key, ".parquet")+".json", []byte("{}"))
				}
			}, "its manifest is none",
			[]string{"abandoned", "done", "done"},
		},
	} {
		t.Run(name+"_and_nothing_is_deleted", func(t *testing.T) {
			a := newArchives(t)
			c.fail(a)
			res, err := a.run(t)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the error is %v, want one that says %q", err, c.says)
			}
			want(t, "deleted, remaining, found", [3]int64{res.DeletedCount, res.Remaining, res.TotalFound}, [3]int64{0, 10, 12})
			want(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), 13)
			if last := a.Archives()[0]; last.Error == "" && last.State != exportops.ArchiveWritten {
				t.Errorf("the archive says nothing of it: %+v", last)
			}
			a.to.Before, a.to.Created, a.to.Opening = nil, nil, nil
			res = a.mustRun(t)
			want(t, "then deleted, archived", [2]int64{res.DeletedCount, res.ArchivedCount}, [2]int64{10, 10})
			want(t, "states", a.states(), c.then)
			a.wantEachOnce(t)
		})
	}
	t.Run("an_archive_lost_while_its_rows_are_deleted_stops_everything", func(t *testing.T) {
		a := newArchives(t)
		a.diesIn(t, "DeleteArchived", false)
		lost := a.Archives()[0]
		a.Must(a.to.Delete(t.Context(), lost.Key))
		for range 2 {
			_, err := a.run(t)
			var e *exportops.Error
			if !errors.As(err, &e) || !strings.Contains(e.Error(), lost.Key) || e.Hint == "" {
				t.Fatalf("the error is %v", err)
			}
			want(t, "states", a.states(), []string{"deleting"})
			want(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), 13)
		}
	})
	t.Run("an_archive_elsewhere_must_be_finished_there", func(t *testing.T) {
		a := newArchives(t)
		a.diesIn(t, "DeleteArchived", false)
		a.Exec(`UPDATE exportops_archives SET store = 'file:///before'`)
		if _, err := a.run(t); err == nil || !strings.Contains(err.Error(), "file:///before") {
			t.Fatalf("the error is %v", err)
		}
		a.Exec(`UPDATE exportops_archives SET store = 'test://archive'`)
		a.mustRun(t)
		a.wantEachOnce(t)
	})
}

// dyingStore dies before or after one of its calls.
type dyingStore struct {
	*archivesStore
	in    string
	after bool
}

type archivesStore = struct{ jobs.Store }

func (s dyingStore) die(call string, after bool) {
	if call == s.in && after == s.after {
		panic(errCrash)
	}
}

func (s dyingStore) BeginArchive(ctx context.Context, c exportops.Checkpoint, a exportops.Archive, epoch int64, name func(int64) string) (exportops.Archive, error) {
	s.die("BeginArchive", false)
	defer s.die("BeginArchive", true)
	return s.archivesStore.BeginArchive(ctx, c, a, epoch, name)
}

func (s dyingStore) AddArchiveMembers(ctx context.Context, c exportops.Checkpoint, id int64, m []exportops.ArchiveMember) error {
	s.die("AddArchiveMembers", false)
	defer s.die("AddArchiveMembers", true)
	return s.archivesStore.AddArchiveMembers(ctx, c, id, m)
}

func (s dyingStore) MoveArchive(ctx context.Context, c exportops.Checkpoint, id int64, to exportops.ArchiveState, why string) (exportops.Archive, error) {
	s.die("to "+string(to), false)
	defer s.die("to "+string(to), true)
	return s.archivesStore.MoveArchive(ctx, c, id, to, why)
}

func (s dyingStore) DeleteArchived(ctx context.Context, c exportops.Checkpoint, id int64, m []exportops.ArchiveMember,
	goes func(exportops.LogRow) bool, progress func(exportops.ArchivedDeletion) (json.RawMessage, error),
) (exportops.ArchivedDeletion, error) {
	s.die("DeleteArchived", false)
	defer s.die("DeleteArchived", true)
	return s.archivesStore.DeleteArchived(ctx, c, id, m, goes, progress)
}

// diesIn lets a run die before or after the first of some call; the clock moves on
// until it counts as dead.
func (a *archives) diesIn(t testing.TB, call string, after bool, change ...func(*jobs.Request)) {
	t.Helper()
	req := logCall
	for _, c := range change {
		c(&req)
	}
	to := *a.to
	die := func(want string) func(string) error {
		return func(key string) error {
			if call == want+key[strings.LastIndex(key, "."):] {
				panic(errCrash)
			}
			return nil
		}
	}
	to.Before, to.Created, to.Opening = die("before "), die("created "), die("opening ")
	func() {
		defer func() {
			if p := recover(); p != errCrash { //nolint:errorlint // the very value
				t.Fatalf("the run did not die as planned: %v", p)
			}
		}()
		r := a.Runner(func(o *jobs.Options) {
			o.Store = dyingStore{&archivesStore{o.Store}, call, after}
		}, a.Archiving(&to))
		answer, err := r.Run(t.Context(), req)
		t.Fatalf("the run did not die: %+v, %v", answer, err)
	}()
	a.Clock.Advance(time.Minute)
}

// editedStore changes something once, when an archive is about to be written.
type editedStore struct {
	archivesStore
	edit *func()
}

func (s editedStore) ArchiveEpoch(ctx context.Context) (int64, error) {
	edit := *s.edit
	*s.edit = func() {}
	edit()
	return s.Store.ArchiveEpoch(ctx)
}

// TestARowThatMovesToAnotherMonth before it is written stays: the archive is of its
// month alone.
func TestARowThatMovesToAnotherMonth(t *testing.T) {
	for name, c := range map[string]struct {
		to   time.Duration
		next int64 // of its rows a later run deletes
	}{"that_is_due": {45 * day, 1}, "that_is_not": {2 * day, 0}} {
		t.Run(name, func(t *testing.T) {
			a := newArchives(t)
			edit := func() {
				a.Exec(`UPDATE export_logs SET timestamp = ? WHERE export_id = ?`, a.Ago(c.to), id(9)) // of August
			}
			answer, err := a.Runner(func(o *jobs.Options) {
				o.Store = editedStore{archivesStore{o.Store}, &edit}
				a.Archiving(a.to)(o)
			}).Run(t.Context(), logCall)
			a.Must(err)
			res := answer.Result.Logs
			want(t, "deleted, failed, remaining, found", [4]int64{res.DeletedCount, res.FailedCount, res.Remaining, res.TotalFound}, [4]int64{9, 0, 1, 12})
			a.wantEachOnce(t)
			want(t, "deleted by the next run", a.mustRun(t).DeletedCount, c.next)
			a.wantEachOnce(t)
		})
	}
}

func TestArchivingDies(t *testing.T) {
	calm := newArchives(t)
	undisturbed := calm.mustRun(t)
	rowsThen := calm.Statuses()
	abandoned, done := []string{"abandoned", "done", "done"}, []string{"done", "done"}
	for call, then := range map[string][2][]string{ // before the call, and after it
		"BeginArchive":      {done, abandoned},
		"AddArchiveMembers": {abandoned, abandoned},
		"before .parquet":   {abandoned},
		"created .parquet":  {done},
		"to written":        {done, done},
		"opening .parquet":  {done},
		"before .json":      {done},
		"created .json":     {done},
		"to verified":       {done, done},
		"to deleting":       {done, done},
		"DeleteArchived":    {done, done},
		"to done":           {done, done},
	} {
		for i, states := range then {
			if states == nil {
				continue
			}
			t.Run(strings.ReplaceAll(call, " ", "_")+[]string{"_before", "_after"}[i], func(t *testing.T) {
				a := newArchives(t)
				a.diesIn(t, call, i == 1)
				res := a.mustRun(t)
				want(t, "states", a.states(), states)
				a.wantEachOnce(t)
				want(t, "rows", a.Statuses(), rowsThen)
				want(t, "deleted, archived", [2]int64{res.DeletedCount, res.ArchivedCount},
					[2]int64{undisturbed.DeletedCount, undisturbed.ArchivedCount})
				var bytes int64
				for _, x := range a.Archives() {
					if x.State == exportops.ArchiveDone {
						bytes += x.Bytes
					}
				}
				want(t, "bytes", res.ArchivedSizeBytes, bytes)
				want(t, "members", a.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
			})
		}
	}
}
