package cleanup_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// restoredFrom makes a runner know that the database is a backup of that time.
func restoredFrom(at time.Time) func(*jobs.Options) {
	return func(o *jobs.Options) { o.RestoredFrom = exportops.At(at) }
}

// TestWhatIsYoungerThanTheBackup looks at a database that was restored from a backup
// of two days ago, beside files of today.
func TestWhatIsYoungerThanTheBackup(t *testing.T) {
	w := newWorld(t)
	backup := w.Clock.Now().Add(-2 * day)
	files := map[string]time.Time{
		"untouched": backup.Add(-day), "made-again": backup.Add(time.Hour), "of-a-lost-row": backup.Add(time.Hour),
		"since": backup.Add(day), "unreadable": backup.Add(time.Hour), "shared-key": backup.Add(time.Hour),
	}
	for key, at := range files {
		w.WriteAt(key, "x", at)
	}
	w.Insert(
		row{ExportID: id(1), URL: "untouched"},
		row{ExportID: id(2), URL: "made-again"},
		row{ExportID: id(3), URL: "of-a-lost-row"},
		row{ExportID: id(4), URL: "since", Timestamp: w.Ago(day + time.Hour), Expires: w.Ago(time.Hour)}, // after the restoration
		row{ExportID: id(5), URL: "gone-since"},
		row{ExportID: id(6), URL: "shared-key"},
		row{ExportID: id(7), URL: "shared-key"}, // looked at exactly
	)
	run := func(req jobs.Request) jobs.Answer {
		t.Helper()
		a, err := w.Runner(restoredFrom(backup)).Run(t.Context(), req)
		w.Must(err)
		return a
	}
	dry := cronCall
	dry.DryRun = true
	want(t, "dry run", counts(*run(dry).Result.Files), "found 7 changed 4 would 3")

	got := *run(cronCall).Result.Files
	want(t, "result", counts(got), "found 7 deleted 2 absent 1 changed 4 updated 3")
	wantKeys(t, w, "made-again", "of-a-lost-row", "shared-key", "unreadable")
	want(t, "status", w.Status(2), exportops.Completed)
	want(t, "reasons", w.Strings(`SELECT DISTINCT error FROM exportops_deletions WHERE state = 'changed'`),
		[]string{"it was written after the backup that the database was restored from; it was left alone"})

	// What died after its claim is looked at in the same way, by whichever job recovers it.
	w.WriteAt("again", "x", backup.Add(time.Hour))
	erase := jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByCommand, UserID: other}
	for i, next := range []jobs.Request{cronCall, erase} {
		w.Insert(row{ExportID: id(80 + i), URL: "again"})
		w.Files.Before = func([]string) error { panic(errCrash) }
		func() {
			defer func() { _ = recover() }()
			run(cronCall)
		}()
		w.Files.Before = nil
		w.Clock.Advance(time.Minute)
		run(next)
		want(t, "status", w.Status(80+i), exportops.Completed)
		w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(80+i))
	}

	// A person's own wish is about all of the files; and once it is settled, all go.
	w.WriteAt("of-another", "x", backup.Add(time.Hour))
	w.Insert(row{ExportID: id(9), UserID: other, URL: "of-another"})
	run(erase)
	want(t, "rows of the other user", w.Count(`SELECT count(*) FROM export_logs WHERE user_id = ?`, other), 0)
	clean(t, w)
	wantKeys(t, w, "again", "unreadable")
}

// TestTheBackupIsLaterThanIsSaid: a time that is too early does not make the last rows
// of the backup rows of after the restoration.
func TestTheBackupIsLaterThanIsSaid(t *testing.T) {
	w := newWorld(t)
	said := w.Clock.Now().Add(-2 * day)
	w.WriteAt("made-again", "x", said.Add(day))
	w.Insert(row{ExportID: id(1), URL: "made-again", Created: exportops.At(said.Add(30 * time.Minute)).String(), Expires: w.Ago(day)})
	a, err := w.Runner(restoredFrom(said)).Run(t.Context(), cronCall)
	w.Must(err)
	want(t, "result", counts(*a.Result.Files), "found 1 changed 1")
	wantKeys(t, w, "made-again")
}

func TestReconcilingARestoredDatabase(t *testing.T) {
	w := newWorld(t)
	w.WriteAt("unknown", "x", w.Clock.Now().Add(-30*day))
	w.WriteAt("named", "x", w.Clock.Now().Add(-30*day))
	w.Insert(
		row{ExportID: id(1), URL: "named", Expires: never},
		row{ExportID: id(2), Status: exportops.Processing, Expires: never},
	)
	w.Clock.Advance(8 * day)
	reconcile(t, w, func(r *jobs.Request) { r.StuckAfter = 100 * day })
	w.Clock.Advance(8 * day)
	reconcile(t, w, func(r *jobs.Request) { r.StuckAfter = 100 * day })
	wantList(t, "as the backup has it", unknown(w), "unknown: quarantined")

	a, err := w.Runner(restoredFrom(w.Clock.Now())).Run(t.Context(), byHand)
	w.Must(err)
	wantList(t, "the grace begins again", unknown(w), "unknown: seen")
	want(t, "stuck", a.Result.Recon.StuckFailed, 0)
	want(t, "status", w.Status(2), exportops.Processing)

	w.Clock.Advance(day)
	reconcile(t, w)
	wantList(t, "a day after it was settled", unknown(w), "unknown: seen")
	want(t, "status after it was settled", w.Status(2), exportops.Failed)
	w.Clock.Advance(7 * day)
	reconcile(t, w)
	wantList(t, "a week later", unknown(w), "unknown: quarantined")
}

// TestAPlanOfUnknownFilesOnARestoredDatabase deletes nothing, whenever it was made: the
// backup has files as quarantined that a row may have come to name since.
func TestAPlanOfUnknownFilesOnARestoredDatabase(t *testing.T) {
	w := newWorld(t)
	quarantined(t, w, "adopted-since", "claimed")
	plan := unknownPlan(t, w)
	w.Files.Before = func([]string) error { panic(errCrash) }
	func() {
		defer func() {
			if p := recover(); p != errCrash { //nolint:errorlint // the very value
				t.Errorf("the run did not die as planned: %v", p)
			}
		}()
		discard(t, w, plan)
	}()
	w.Files.Before = nil
	w.Clock.Advance(day)
	runner := w.Runner(restoredFrom(w.Clock.Now()))
	for range 2 {
		var req jobs.Request
		discarding(t, plan)(&req)
		a, err := runner.Run(t.Context(), req)
		w.Must(err)
		wantUnknownSum(t, *a.Result.Unknown)
		want(t, "deleted", a.Result.Unknown.DeletedCount, int64(0))
		want(t, "in grace", a.Result.Unknown.KeptInGrace, int64(2))
	}
	want(t, "claims left open", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(0))
	wantKeys(t, w, "adopted-since", "claimed")
	a, err := runner.Run(t.Context(), jobs.Request{Job: exportops.UnknownCleanup, DryRun: true})
	w.Must(err)
	want(t, "a plan that is made now", unknownCounts(*a.Result.Unknown), "in_grace 2")
}
