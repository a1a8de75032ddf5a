package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

func TestCallsAtOnceShareOneRun(t *testing.T) {
	w := newWorld(t)
	expired(w, 1)
	var runners []*jobs.Runner
	for range 5 {
		another := w.OpenStore()
		runners = append(runners, w.Runner(func(o *jobs.Options) { o.Store = another }))
	}
	goOn, all := make(chan struct{}), make(chan answer, 50)
	w.Files.Before = func([]string) error { <-goOn; return nil }
	for i := range 50 {
		go func() {
			a, err := runners[i%5].Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, IdempotencyKey: fmt.Sprint(i)})
			all <- answer{a, err}
		}()
	}
	// Every call has its run when its key is kept.
	poll(t, func() bool { return w.Count(`SELECT count(*) FROM exportops_run_keys`) == 50 })
	close(goOn)
	ids, how := map[string]int{}, map[exportops.Beginning]int{}
	for range 50 {
		a := <-all
		if a.err != nil || a.Result.Files.DeletedCount != 1 {
			t.Errorf("answer %+v, %v", a.Answer, a.err)
		}
		ids[a.Run.ID]++
		how[a.Beginning]++
	}
	if len(ids) != 1 {
		t.Errorf("the answers name %v", ids)
	}
	want(t, "beginnings", how, map[exportops.Beginning]int{exportops.Started: 1, exportops.Joined: 49})
	want(t, "runs", w.Count(`SELECT count(*) FROM exportops_runs`), 1)
}

// poll waits for what other goroutines do.
func poll(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestACallWhileARunIsActive(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	oldRows(w, 2)
	first, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 3)
	hours := 24

	t.Run("with_other_parameters_conflicts", func(t *testing.T) {
		_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, RetentionHours: &hours})
		wantKind(t, err, exportops.KindConflict)
	})
	t.Run("as_a_dry_run_never_joins", func(t *testing.T) {
		a := run(t, w.Runner(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, DryRun: true})
		want(t, "in flight", a.Result.Files.InFlight, 3)
		want(t, "run", a.Run.ID, "")
	})
	t.Run("of_another_job_goes_its_own_way", func(t *testing.T) {
		a := run(t, w.Runner(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		want(t, "deleted", a.Result.Logs.DeletedCount, 2)
	})
	t.Run("with_a_budget_waits_no_longer", func(t *testing.T) {
		looks := 0
		r := w.Runner(func(o *jobs.Options) {
			o.Now = func() time.Time { looks++; return w.Clock.Now().Add(time.Duration(looks) * time.Millisecond) }
		})
		a := run(t, r, jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, Budget: 4 * time.Millisecond})
		if !a.Pending || a.Beginning != exportops.Joined || a.Run.ID == "" || a.Run.Finished() {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("is_told_to_stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var a jobs.Answer
		done := make(chan error)
		looking := make(chan struct{})
		var once sync.Once
		r := w.Runner(func(o *jobs.Options) { o.Store = looker{w.Store, func() { once.Do(func() { close(looking) }) }} })
		go func() {
			var err error
			a, err = r.Run(ctx, filesBy(exportops.ByCron))
			done <- err
		}()
		<-looking
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !a.Pending || a.Beginning != exportops.Joined {
			t.Errorf("answer %+v", a)
		}
	})
	goOn()
	w.Must((<-first).err)
}

// looker is a store that says when somebody looks at a run.
type looker struct {
	*sqlite.Store
	looks func()
}

func (l looker) Run(ctx context.Context, id string) (exportops.Run, error) {
	l.looks()
	return l.Store.Run(ctx, id)
}

func TestADryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	expired(w, 5)
	oldRows(w, 3)
	w.Insert(row{ExportID: id(50), URL: "../x"}, row{ExportID: id(51)}, row{ExportID: id(52), URL: "f1", Expires: never})
	run(t, w.Runner(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCommand})
	dump, keys, hours, days := w.Dump(), w.Keys(), 1, 1
	events := w.Events.Len()
	for _, req := range []jobs.Request{
		{Job: exportops.FileCleanup},
		{Job: exportops.FileCleanup, RetentionHours: &hours},
		{Job: exportops.LogCleanup},
		{Job: exportops.LogCleanup, RetentionDays: &days},
		{Job: exportops.UserLogCleanup, UserID: testworld.User},
		{Job: exportops.MetricsAggregate},
	} {
		req.DryRun, req.Trigger, req.IdempotencyKey, req.Force = true, exportops.ByAPI, "key", true
		a := run(t, w.Runner(), req)
		want(t, string(req.Job)+" run", a.Run.ID, "")
		want(t, string(req.Job)+" changed the database", w.Dump(), dump)
		want(t, string(req.Job)+" changed the folder", w.Keys(), keys)
	}
	want(t, "events", w.Events.Len(), events)
}

func TestTheEndOfABudget(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	w.Files.Before = w.Ahead([]int64{20, 20}, func() { w.Clock.Advance(time.Second) })
	req := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, Budget: time.Second}
	a := run(t, w.Runner(), req)
	got := *a.Result.Files
	if a.Run.State != exportops.RunPartial || got.Complete || a.Failure != "" || a.Pending {
		t.Errorf("answer %+v", a)
	}
	want(t, "found, deleted, remaining", [3]int64{got.TotalFound, got.DeletedCount, got.Remaining}, [3]int64{30, 10, 20})
	b := run(t, w.Runner(), req)
	if b.Run.ID == a.Run.ID || b.Result.Files.DeletedCount != 10 || b.Result.Files.TotalFound != 20 {
		t.Errorf("the next: %+v", b.Result.Files)
	}
	w.Files.Before = nil
	c := run(t, w.Runner(), req)
	if c.Run.State != exportops.RunDone || !c.Result.Files.Complete || c.Result.Files.TotalFound != 10 {
		t.Errorf("the last: %+v", c.Result.Files)
	}
}

func TestAProcessThatIsToldToStop(t *testing.T) {
	for trigger, goesOn := range map[exportops.Trigger]bool{
		exportops.BySchedule: true, exportops.ByCatchUp: true, exportops.ByCron: true,
		exportops.ByCommand: false, exportops.ByAPI: false,
	} {
		t.Run(string(trigger), func(t *testing.T) {
			w := newWorld(t)
			expired(w, 30)
			w.Files.Batch = 10
			w.Files.Fail = map[string]error{"f1": errors.New("no")}
			ctx, cancel := context.WithCancel(t.Context())
			w.Files.Before = w.Ahead([]int64{20}, cancel)
			a, err := w.Runner().Run(ctx, filesBy(trigger))
			w.Must(err)
			want(t, "pending", a.Pending, goesOn)
			stored, err := w.Store.Run(t.Context(), a.Run.ID)
			w.Must(err)
			if !goesOn {
				// A failure outweighs that it was stopped.
				want(t, "state", stored.State, exportops.RunFailed)
				want(t, "remaining", a.Result.Files.Remaining, 20)
				return
			}
			want(t, "state", stored.State, exportops.RunRunning)
			want(t, "abandoned", stored.Abandoned(w.Clock.At()), true)
			w.Files.Before = nil
			b := run(t, w.Runner(), filesBy(trigger))
			want(t, "run", b.Run.ID, a.Run.ID)
			want(t, "beginning", b.Beginning, exportops.TookOver)
			want(t, "takeovers", b.Run.Takeovers, 1)
			got := b.Result.Files
			want(t, "found, deleted, failed", [3]int64{got.TotalFound, got.DeletedCount, got.FailedCount}, [3]int64{30, 29, 1})
			want(t, "failures", w.Count(`SELECT max(failures) FROM exportops_deletions`), 1)
		})
	}
}

func TestAHolderThatWakesUpLate(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	late, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 20)
	w.Clock.Advance(exportops.LeaseLength + time.Millisecond)

	second := run(t, w.Runner(func(o *jobs.Options) { o.Holder = "second" }), filesBy(exportops.ByCron))
	want(t, "beginning", second.Beginning, exportops.TookOver)
	want(t, "deleted", second.Result.Files.DeletedCount, 30)
	after := w.Dump()
	var reached [][]string
	w.Files.Change = func(keys []string, _ []exportops.FileResult) error { reached = append(reached, keys); return nil }
	goOn()
	a := <-late
	if !errors.Is(a.err, exportops.ErrFenced) {
		t.Errorf("the late holder's error is %v", a.err)
	}
	want(t, "what it changed", w.Dump(), after)
	if len(reached) != 1 || len(reached[0]) != 10 {
		t.Errorf("the late holder reached storage with %v", reached)
	}
	want(t, "events", len(w.Events.Of(exportops.EventFileCleanupComplete)), 1)
}

func TestTheSameIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	req := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, IdempotencyKey: "monday"}
	w.Files.Fail = map[string]error{"f1": errors.New("no")}
	failed := run(t, w.Runner(), req)
	w.Files.Fail = nil
	first := run(t, w.Runner(), req)
	if first.Run.ID == failed.Run.ID || first.Beginning != exportops.Started {
		t.Errorf("a failure was replayed: %+v", first)
	}
	expired2(w)
	again := run(t, w.Runner(), req)
	want(t, "beginning", again.Beginning, exportops.Replayed)
	want(t, "result", again.Result, first.Result)
	hours := 24
	other := req
	other.RetentionHours = &hours
	_, err := w.Runner().Run(t.Context(), other)
	wantKind(t, err, exportops.KindConflict)
	_, err = w.Runner().Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron, IdempotencyKey: "monday"})
	wantKind(t, err, exportops.KindConflict)
	w.Clock.Advance(exportops.ReplayFor)
	want(t, "a day later", run(t, w.Runner(), req).Beginning, exportops.Started)
}

func expired2(w *testworld.World) {
	w.Insert(row{ExportID: id(77), URL: "f77"})
	w.Write("f77", "x")
}

func TestASlotRunsOnce(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	slot := w.Clock.At()
	req := jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.BySchedule, Slot: &slot}
	first := run(t, w.Runner(), req)
	expired2(w)
	again := run(t, w.Runner(), req)
	want(t, "beginning", again.Beginning, exportops.Replayed)
	want(t, "run", again.Run.ID, first.Run.ID)
}

func TestAFailureIsSaid(t *testing.T) {
	w := newWorld(t)
	expired(w, 3)
	w.Insert(row{ExportID: id(9), Status: exportops.Expired, URL: "old", Timestamp: w.Ago(40 * day)})
	w.Write("old", "x")
	w.Files.Fail = map[string]error{"f2": errors.New("permission denied"), "old": errors.New("permission denied")}
	t.Run("of_files", func(t *testing.T) {
		a := run(t, w.Runner(), filesBy(exportops.ByCron))
		want(t, "sentence", a.Failure, "1 of 3 files could not be deleted")
		want(t, "state", a.Run.State, exportops.RunFailed)
		want(t, "record", a.Run.Error, a.Failure)
		event := fields(t, w.Events.Of(exportops.EventFileCleanupFailed))
		for _, name := range []string{"error", "total_found", "deleted_count", "failed_count", "logs_updated", "errors", "duration_ms", "timestamp", "complete", "run_id"} {
			if _, ok := event[name]; !ok {
				t.Errorf("the event has no %s: %v", name, event)
			}
		}
		want(t, "error in the event", event["error"], any(a.Failure))
		want(t, "complete events", len(w.Events.Of(exportops.EventFileCleanupComplete)), 0)
	})
	t.Run("of_logs", func(t *testing.T) {
		a := run(t, w.Runner(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		want(t, "sentence", a.Failure, "1 of 1 log rows could not be deleted")
		event := fields(t, w.Events.Of(exportops.EventLogCleanupFailed))
		for _, name := range []string{"error", "total_found", "deleted_count", "failed_count", "archived_count", "archived_size_bytes", "errors", "duration_ms", "timestamp"} {
			if _, ok := event[name]; !ok {
				t.Errorf("the event has no %s: %v", name, event)
			}
		}
	})
	t.Run("of_the_whole", func(t *testing.T) {
		w.Files.Before = func([]string) error {
			return &exportops.Error{Kind: exportops.KindUnavailable, Message: "storage\nis away"}
		}
		w.Files.Fail = nil
		a, err := w.Runner().Run(t.Context(), filesBy(exportops.ByCron))
		wantKind(t, err, exportops.KindUnavailable)
		want(t, "state", a.Run.State, exportops.RunFailed)
		if strings.Contains(a.Run.Error, "\n") || !strings.Contains(a.Run.Error, "is away") {
			t.Errorf("the record says %q", a.Run.Error)
		}
		w.Files.Before = nil
		want(t, "next", run(t, w.Runner(), filesBy(exportops.ByCron)).Result.Files.DeletedCount, 1)
	})
}

func fields(t testing.TB, events []any) map[string]any {
	t.Helper()
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	b, err := json.Marshal(events[0])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRowsThatCannotBeArchivedStay(t *testing.T) {
	for name, req := range map[string]jobs.Request{
		"log cleanup": {Job: exportops.LogCleanup, Trigger: exportops.ByCron},
		"forced":      {Job: exportops.LogCleanup, Trigger: exportops.ByCron, Force: true},
		"of a user":   {Job: exportops.UserLogCleanup, UserID: testworld.User, Trigger: exportops.ByAPI},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			oldRows(w, 3)
			rows := w.Statuses()
			full := w.Objects()
			full.Before = func(string) error {
				return &exportops.Error{Kind: exportops.KindUnavailable, Message: "the archive is full"}
			}
			r := w.Runner(w.Archiving(full))
			a, err := r.Run(t.Context(), req)
			wantKind(t, err, exportops.KindUnavailable)
			want(t, "rows", w.Statuses(), rows)
			want(t, "state", a.Run.State, exportops.RunFailed)
			if !strings.Contains(a.Run.Error, "the archive is full") {
				t.Errorf("the run says %q", a.Run.Error)
			}
			want(t, "remaining", a.Result.Logs.Remaining, int64(len(rows)))
			// Files are none of the archive's business.
			want(t, "file cleanup", run(t, r, filesBy(exportops.ByCron)).Run.State, exportops.RunDone)
		})
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	zero, one, huge := 0, 1, 1<<40
	for name, req := range map[string]jobs.Request{
		"retention_hours": {Job: exportops.FileCleanup, RetentionHours: &zero},
		"hours beyond":    {Job: exportops.FileCleanup, RetentionHours: &huge},
		"retention_days":  {Job: exportops.LogCleanup, RetentionDays: &zero},
		"days beyond":     {Job: exportops.LogCleanup, RetentionDays: &huge},
		"hours of logs":   {Job: exportops.LogCleanup, RetentionHours: &one},
		"days of files":   {Job: exportops.FileCleanup, RetentionDays: &one},
		"no user":         {Job: exportops.UserLogCleanup},
		"user no uuid":    {Job: exportops.UserLogCleanup, UserID: "%"},
		"no job":          {},
	} {
		req.Trigger = exportops.ByAPI
		for _, dry := range []bool{false, true} {
			req.DryRun = dry
			if _, err := w.Runner().Run(t.Context(), req); !exportops.IsKind(err, exportops.KindInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	want(t, "runs", w.Count(`SELECT count(*) FROM exportops_runs`), 0)
}

func TestResume(t *testing.T) {
	hours := 5
	slot := exportops.At(testworld.Noon)
	w := newWorld(t)
	for name, c := range map[string]struct {
		req  jobs.Request
		goes bool
	}{
		"a schedule's":  {jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.BySchedule, Slot: &slot, RetentionHours: &hours, Force: true}, true},
		"a cron call's": {jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron, RetentionDays: &hours}, true},
		"a person's":    {jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand}, false},
		"a user's":      {jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByCron, UserID: testworld.User}, false},
	} {
		ended := run(t, w.Runner(), c.req).Run
		got, ok := jobs.Resume(ended)
		want(t, name, ok, c.goes)
		if c.req.Resumes = ended.ID; ok {
			want(t, name, got, c.req)
		}
	}
}
