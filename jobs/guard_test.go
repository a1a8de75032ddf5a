package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// due inserts n expired exports that never had a file, which are cleaned fast.
func due(w *testworld.World, n int, change ...func(*row)) {
	w.Helper()
	rows := make([]row, n)
	for i := range rows {
		for _, c := range change {
			c(&rows[i])
		}
	}
	w.Insert(rows...)
}

func forced(r jobs.Request) jobs.Request { r.Force = true; return r }

// refused runs a job that guards refuse, and returns what they said.
func refused(t testing.TB, r *jobs.Runner, req jobs.Request, by ...exportops.Guard) exportops.Guards {
	t.Helper()
	a, err := r.Run(t.Context(), req)
	wantKind(t, err, exportops.KindRefused)
	g := said(t, a)
	want(t, "refused by", g.RefusedBy, by)
	want(t, "overridden", g.OverriddenBy, "")
	want(t, "state", a.Run.State, exportops.RunRefused)
	return g
}

func said(t testing.TB, a jobs.Answer) exportops.Guards {
	t.Helper()
	var g *exportops.Guards
	switch r := a.Result; {
	case r.Files != nil:
		g = r.Files.Guards
	case r.Logs != nil:
		g = r.Logs.Guards
	case r.Recon != nil:
		g = r.Recon.Guards
	}
	if g == nil {
		t.Fatalf("nothing is known of the guards: %+v", a)
	}
	return *g
}

// before records a run that deleted so many files.
func before(w *testworld.World, n int64, state exportops.RunState, ago time.Duration) {
	w.Helper()
	b, err := json.Marshal(exportops.FileCleanupResult{DeletedCount: n, Complete: true})
	w.Must(err)
	now := exportops.At(w.Clock.Now().Add(-ago))
	_, fence, _, err := w.Store.BeginRun(w.Context(), exportops.RunRequest{
		Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: json.RawMessage(`{}`),
		Trigger: exportops.ByCron, Now: now, Lease: time.Minute,
	})
	w.Must(err)
	_, err = w.Store.FinishRun(w.Context(), exportops.Checkpoint{Fence: fence, Now: now, Progress: b, Lease: time.Minute}, state, "")
	w.Must(err)
}

func TestTooManyFilesAreRefused(t *testing.T) {
	t.Run("a_first_backlog_above_ten_thousand", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001)
		g := refused(t, w.Runner(), filesBy(exportops.ByCron), exportops.GuardFiles)
		want(t, "guard", *g.Files, exportops.CountGuard{Found: 10_001, Limit: 10_000})
		want(t, "rows as they were", w.Count(`SELECT count(*) FROM export_logs WHERE status = 'completed'`), int64(10_001))
		want(t, "entries", w.Count(`SELECT count(*) FROM exportops_deletions`), int64(0))
		want(t, "events", len(w.Events.Of(exportops.EventFileCleanupFailed)), 1)

		w.Exec(`UPDATE export_logs SET expires_at = NULL WHERE id = (SELECT min(id) FROM export_logs)`)
		a := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "dealt with", a.Result.Files.NoFile, int64(10_000))
	})
	t.Run("by_age_likewise", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001, func(r *row) { r.Expires = never })
		req, hours := filesBy(exportops.ByCron), 24
		req.RetentionHours = &hours
		refused(t, w.Runner(), req, exportops.GuardFiles)
	})
	t.Run("force_overrides_and_is_recorded", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001)
		a := run(t, w.Runner(), forced(filesBy(exportops.ByCommand)))
		want(t, "dealt with", a.Result.Files.NoFile, int64(10_001))
		kept, err := w.Store.Run(t.Context(), a.Run.ID)
		w.Must(err)
		var res exportops.FileCleanupResult
		w.Must(json.Unmarshal(kept.Result, &res))
		want(t, "forced", kept.Forced, true)
		want(t, "refused by", res.Guards.RefusedBy, []exportops.Guard{exportops.GuardFiles})
		want(t, "overridden by", res.Guards.OverriddenBy, exportops.ByForce)

		due(w, 10_500)
		a = run(t, w.Runner(), filesBy(exportops.ByCron)) // plausible from now on
		want(t, "limit", said(t, a).Files.Limit, int64(100_010))
	})
	t.Run("force_overrides_nothing_where_nothing_is_refused", func(t *testing.T) {
		w := newWorld(t)
		due(w, 3)
		g := said(t, run(t, w.Runner(), forced(filesBy(exportops.ByCommand))))
		want(t, "guards", g, exportops.Guards{Files: &exportops.CountGuard{Found: 3, Limit: 10_000}})
	})
	t.Run("ten_times_the_largest_of_the_last_fourteen", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_100)
		before(w, 5000, exportops.RunDone, 20*time.Hour) // the fifteenth
		before(w, 1005, exportops.RunFailed, 19*time.Hour)
		for i := range 13 {
			before(w, 7, exportops.RunDone, time.Duration(18-i)*time.Hour)
		}
		before(w, 9000, exportops.RunRefused, time.Hour)
		g := refused(t, w.Runner(), filesBy(exportops.ByCron), exportops.GuardFiles)
		want(t, "guard", *g.Files, exportops.CountGuard{Found: 10_051, Limit: 10_050, Largest: 1005})
	})
	t.Run("what_would_not_be_deleted_does_not_count", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_050, func(r *row) { r.Expires = w.Ago(9 * day) }) // before they were created
		due(w, 5)
		a := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "dealt with", a.Result.Files.NoFile, int64(5))
		want(t, "guard", said(t, a).Files.Found, int64(5))
	})
	t.Run("a_dry_run_says_so", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001)
		req := filesBy(exportops.ByCron)
		req.DryRun = true
		a := run(t, w.Runner(), req)
		want(t, "found", a.Result.Files.NoFile, int64(10_001))
		want(t, "refused by", said(t, a).RefusedBy, []exportops.Guard{exportops.GuardFiles})
	})
	t.Run("whoever_asks_for_the_same_slot_is_told_the_same", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001)
		slot := w.Clock.At()
		req := filesBy(exportops.BySchedule)
		req.Slot = &slot
		refused(t, w.Runner(), req, exportops.GuardFiles)
		_, err := w.Runner().Run(t.Context(), req)
		var e *exportops.Error
		if !errors.As(err, &e) || e.Kind != exportops.KindRefused || !strings.Contains(e.Hint, "--force") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestABacklogInParts(t *testing.T) {
	w := newWorld(t)
	due(w, 11_000)
	part := func(req jobs.Request, batches int) jobs.Answer {
		t.Helper()
		req.Budget = time.Minute
		req.OnProgress = func(jobs.Result) { w.Clock.Advance(time.Minute / time.Duration(batches)) }
		return run(t, w.Runner(), req)
	}
	a := part(forced(filesBy(exportops.ByCron)), 1)
	left := a.Result.Files.Remaining
	if a.Run.State != exportops.RunPartial || left < 5000 {
		t.Fatalf("the first part was to be partial: %+v", a)
	}
	due(w, 9000) // of this night
	if left+9000 <= 10_000 {
		t.Fatalf("%d are left: the next part would not be refused anyway", left)
	}

	t.Run("an_accident_beside_it_is_refused", func(t *testing.T) {
		due(w, 5000, func(r *row) { r.Expires = w.Ago(time.Hour) }) // 14,000 are new, and the largest run dealt with 1250
		refused(t, w.Runner(), filesBy(exportops.ByCron), exportops.GuardFiles)
		w.Exec(`DELETE FROM export_logs WHERE expires_at = ?`, w.Ago(time.Hour))
	})
	a = part(filesBy(exportops.ByCron), 6)
	want(t, "left over", said(t, a).Files.LeftOver, left)
	want(t, "refused by", len(said(t, a).RefusedBy), 0)
	for a.Run.State == exportops.RunPartial {
		next := part(filesBy(exportops.ByCron), 6)
		if l := said(t, next).Files.LeftOver; l != a.Result.Files.Remaining {
			t.Errorf("%d are left over of %d", l, a.Result.Files.Remaining)
		}
		a = next
	}
	want(t, "left", w.Count(`SELECT count(*) FROM export_logs WHERE status = 'completed'`), int64(0))
	want(t, "left over in the end", said(t, run(t, w.Runner(), filesBy(exportops.ByCron))).Files.LeftOver, int64(0))
}

func TestARunThatWasLetThroughGoesOn(t *testing.T) {
	die := func(t *testing.T, w *testworld.World, req jobs.Request) {
		t.Helper()
		w.Files.Before = func([]string) error { panic("dies") }
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("it was to die")
				}
			}()
			_, err := w.Runner().Run(t.Context(), req)
			t.Fatalf("it did not die: %v", err)
		}()
		w.Files.Before = nil
		w.Clock.Advance(time.Minute)
	}
	t.Run("its_backlog_is_not_counted_again", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		die(t, w, filesBy(exportops.ByCron))
		due(w, 10_001)
		a := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "beginning", a.Beginning, exportops.TookOver)
		want(t, "dealt with", a.Result.Files.Dealt(), int64(10_004))
		want(t, "guard", said(t, a).Files.Found, int64(3))
	})
	t.Run("a_forced_one_stays_forced", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		due(w, 10_001, func(r *row) { r.Expires = w.Ago(day) }) // after the files
		die(t, w, forced(filesBy(exportops.ByCron)))
		a := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "dealt with", a.Result.Files.Dealt(), int64(10_004))
		want(t, "overridden by", said(t, a).OverriddenBy, exportops.ByForce)
	})
	t.Run("the_clock_is_looked_at_again", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		die(t, w, filesBy(exportops.ByCron))
		late := w.Runner(func(o *jobs.Options) { o.Store = clockOf{w.Store, exportops.At(w.Clock.Now().Add(time.Hour))} })
		refused(t, late, filesBy(exportops.ByCron), exportops.GuardClock)
		want(t, "files", len(w.Keys()), 3)
	})
}

// clockOf is a database with a clock of its own.
type clockOf struct {
	jobs.Store
	now exportops.Time
}

func (c clockOf) Clock(ctx context.Context, runID string) (exportops.ClockReading, error) {
	r, err := c.Store.Clock(ctx, runID)
	r.Now = &c.now
	return r, err
}

func TestTheClockIsGuarded(t *testing.T) {
	for _, job := range []exportops.Job{exportops.FileCleanup, exportops.LogCleanup} {
		t.Run(string(job), func(t *testing.T) {
			w := newWorld(t)
			expired(w, 2)
			req := jobs.Request{Job: job, Trigger: exportops.ByCron}
			off := w.Runner(func(o *jobs.Options) { o.Store = clockOf{w.Store, exportops.At(w.Clock.Now().Add(-6 * time.Minute))} })
			g := refused(t, off, req, exportops.GuardClock)
			want(t, "ours", g.Clock.Ours, w.Clock.At())
			want(t, "files", len(w.Keys()), 2)
			near := w.Runner(func(o *jobs.Options) { o.Store = clockOf{w.Store, exportops.At(w.Clock.Now().Add(4 * time.Minute))} })
			run(t, near, req)
		})
	}
	t.Run("backwards", func(t *testing.T) {
		w := newWorld(t)
		run(t, w.Runner(), filesBy(exportops.ByCron))
		w.Clock.Advance(-time.Hour)
		expired(w, 2)
		for range 2 { // a refusal is no reason to go on
			g := refused(t, w.Runner(), filesBy(exportops.ByCron), exportops.GuardClock)
			want(t, "newest", *g.Clock.Newest, exportops.At(w.Clock.Now().Add(time.Hour)))
		}
		a := run(t, w.Runner(), forced(filesBy(exportops.ByCron)))
		want(t, "overridden by", said(t, a).OverriddenBy, exportops.ByForce)
		run(t, w.Runner(), filesBy(exportops.ByCron)) // that one is what it is compared with now
	})
}

// A comparison deletes nothing, but by a clock that is ahead every export at work is
// stuck, and every grace of an unknown file over.
func TestTheClockOfAComparisonIsGuarded(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), Status: exportops.Processing, Timestamp: w.Ago(time.Hour), Created: w.Ago(time.Hour)})
	w.Write("unknown", "x")
	req := jobs.Request{Job: exportops.Reconcile, Trigger: exportops.ByCron}
	want(t, "unknown", run(t, w.Runner(), req).Result.Recon.UnknownSeen, int64(1))

	right := w.Clock.At()
	w.Clock.Advance(8 * day)
	ahead := w.Runner(func(o *jobs.Options) { o.Store = clockOf{w.Store, right} })
	g := refused(t, ahead, req, exportops.GuardClock)
	want(t, "database", *g.Clock.Database, right)
	want(t, "export", w.Status(1), exportops.Processing)
	want(t, "quarantined", w.Count(`SELECT count(*) FROM exportops_unknown_files WHERE state = 'quarantined'`), int64(0))

	dry := req
	dry.DryRun = true
	want(t, "refused by, says a dry run", said(t, run(t, ahead, dry)).RefusedBy, []exportops.Guard{exportops.GuardClock})
	a := run(t, ahead, forced(req))
	want(t, "overridden by", said(t, a).OverriddenBy, exportops.ByForce)
	want(t, "failed", a.Result.Recon.StuckFailed, int64(1))
	if g := run(t, w.Runner(), req).Result.Recon.Guards; g != nil {
		t.Errorf("of a clock that is right it says %+v", g)
	}
}

func TestTooManyLogRowsAreRefused(t *testing.T) {
	logs := jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron}
	old := func(w *testworld.World, s exportops.Status, url string) func(*row) {
		return func(r *row) { r.Status, r.Timestamp, r.URL = s, w.Ago(40*day), url }
	}
	t.Run("rows", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001, old(w, exportops.Failed, ""))
		g := refused(t, w.Runner(), logs, exportops.GuardLogRows)
		want(t, "guard", *g.LogRows, exportops.CountGuard{Found: 10_001, Limit: 10_000})
		want(t, "rows", w.Count(`SELECT count(*) FROM export_logs`), int64(10_001))
		a := run(t, w.Runner(), forced(logs))
		want(t, "deleted", a.Result.Logs.DeletedCount, int64(10_001))
	})
	t.Run("files", func(t *testing.T) {
		w := newWorld(t)
		b, err := json.Marshal(exportops.LogCleanupResult{DeletedCount: 5000, FilesDeleted: 3})
		w.Must(err)
		_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.LogCleanup, Lane: "x", Params: json.RawMessage(`{}`), Trigger: exportops.ByCron, Now: w.Clock.At(), Lease: time.Minute,
		})
		w.Must(err)
		_, err = w.Store.FinishRun(t.Context(), exportops.Checkpoint{Fence: fence, Now: w.Clock.At(), Progress: b, Lease: time.Minute}, exportops.RunDone, "")
		w.Must(err)
		n := 0
		due(w, 10_001, func(r *row) {
			old(w, exportops.Expired, "gone/"+exportops.NewID())(r)
			n++
		})
		w.Write("a", "the root is not empty")
		g := refused(t, w.Runner(), logs, exportops.GuardFiles)
		want(t, "files", *g.Files, exportops.CountGuard{Found: 10_001, Limit: 10_000, Largest: 3})
		want(t, "rows", *g.LogRows, exportops.CountGuard{Found: 10_001, Limit: 50_000, Largest: 5000})
	})
	t.Run("rows_that_stay_do_not_count", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_050, old(w, exportops.Processing, ""))
		due(w, 5, old(w, exportops.Failed, ""))
		a := run(t, w.Runner(), logs)
		want(t, "deleted", a.Result.Logs.DeletedCount, int64(5))
	})
	t.Run("a_user_who_asks_is_not_refused", func(t *testing.T) {
		w := newWorld(t)
		due(w, 10_001, old(w, exportops.Failed, ""))
		a := run(t, w.Runner(), jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByAPI, UserID: testworld.User})
		want(t, "deleted", a.Result.Logs.DeletedCount, int64(10_001))
	})
}

func TestARootThatIsNotThereCannotBeForced(t *testing.T) {
	for name, break_ := range map[string]func(*testworld.World) error{
		"missing": func(w *testworld.World) error { return os.RemoveAll(w.Folder) },
		"empty": func(w *testworld.World) error {
			return errors.Join(os.Remove(w.Folder+"/f1"), os.Remove(w.Folder+"/f2"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 2)
			w.Must(break_(w))
			a, err := w.Runner().Run(t.Context(), forced(filesBy(exportops.ByCommand)))
			wantKind(t, err, exportops.KindUnavailable)
			want(t, "state", a.Run.State, exportops.RunFailed)
			want(t, "rows as they were", w.Count(`SELECT count(*) FROM export_logs WHERE status = 'completed'`), int64(2))
		})
	}
}

func TestNobodyHelpsBeforeTheGuardsHaveSpoken(t *testing.T) {
	w := newWorld(t)
	expired(w, 5)
	_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: json.RawMessage(`{}`),
		Trigger: exportops.ByCron, Holder: "holder", Now: w.Clock.At(), Lease: time.Minute,
	})
	w.Must(err)
	other := helper(w, "another")
	w.Must(other.Help(t.Context(), active(t, w)))
	want(t, "files", len(w.Keys()), 5)

	b, err := json.Marshal(exportops.FileCleanupResult{Guards: &exportops.Guards{Files: exportops.NewCountGuard(0, 0)}})
	w.Must(err)
	w.Must(w.Store.Renew(t.Context(), exportops.Checkpoint{Fence: fence, Now: w.Clock.At(), Lease: time.Minute, Progress: b}))
	w.Must(other.Help(t.Context(), active(t, w)))
	want(t, "files", len(w.Keys()), 0)
}
