package jobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// dying is the store of a process that dies: from some moment on it does nothing any
// more.
type dying struct {
	jobs.Store
	atFinish bool  // at the end of the run
	traces   int   // after so many calls that erased traces; 0 for never
	dead     error // set once it has died
}

var errDied = errors.New("the process has died")

func (d *dying) FinishRun(ctx context.Context, c exportops.Checkpoint, s exportops.RunState, m string) (exportops.Run, error) {
	if d.atFinish {
		d.dead = errDied
	}
	if d.dead != nil {
		return exportops.Run{}, d.dead
	}
	return d.Store.FinishRun(ctx, c, s, m)
}

func (d *dying) EraseTraces(ctx context.Context, c exportops.Checkpoint, user string, traces []exportops.Trace,
	progress exportops.TraceProgress,
) (int64, error) {
	if d.dead != nil {
		return 0, d.dead
	}
	n, err := d.Store.EraseTraces(ctx, c, user, traces, progress)
	if d.traces--; d.traces == 0 {
		d.dead = errDied
		return 0, d.dead
	}
	return n, err
}

// takenOver runs a job in a process that dies, and then in one that does not.
func takenOver(t *testing.T, w *testworld.World, d *dying, req jobs.Request) jobs.Result {
	t.Helper()
	d.Store = w.Store
	if _, err := w.Runner(func(o *jobs.Options) { o.Store = d }).Run(t.Context(), req); !errors.Is(err, errDied) {
		t.Fatalf("it did not die: %v", err)
	}
	w.Clock.Advance(time.Minute)
	a := run(t, w.Runner(), req)
	want(t, "how it began", a.Beginning, exportops.TookOver)
	return a.Result
}

func TestATakeoverCountsNoFileTwice(t *testing.T) {
	w := newWorld(t)
	w.Write("known", "")
	w.Write("unknown", "")
	w.Insert(row{ExportID: id(1), URL: "known", Expires: never}, row{ExportID: id(2), URL: "missing", Expires: never})
	r := takenOver(t, w, &dying{atFinish: true}, jobs.Request{Job: exportops.Reconcile, Trigger: exportops.ByCommand}).Recon
	want(t, "counted", [4]int64{r.FilesSeen, r.FilesKnown, r.UnknownSeen, r.MissingFiles}, [4]int64{2, 1, 1, 1})
	want(t, "listed", [2]int{len(r.Unknown), len(r.Missing)}, [2]int{1, 1})
	want(t, "complete", r.Complete, true)
}

func TestAReceiptCountsWhatADeadProcessErased(t *testing.T) {
	const hours = 3
	w := newWorld(t)
	for i := range hours {
		w.Insert(row{ExportID: id(i), Timestamp: w.Ago(time.Duration(50+i) * time.Hour)})
	}
	w.Insert(row{ExportID: id(hours), UserID: "00000000-0000-4000-8000-000000000001"}) // whose counts stay
	run(t, w.Runner(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCommand})
	req := jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: testworld.User}
	r := takenOver(t, w, &dying{traces: 1}, req).Erased
	want(t, "hours that counted the user", r.Counters, hours)
	if r.Receipt == nil || r.Receipt.Counters != hours {
		t.Errorf("the receipt is %+v", r.Receipt)
	}
}

// A run for one user begins with the claims of dead runs, whoever they are about.
func TestARunForAUserCountsFilesOfNobodyElse(t *testing.T) {
	const person = "a1b2c3d4-1111-4222-8333-c0ffee00beef"
	for name, c := range map[string]struct {
		job   exportops.Job
		dying dying
		files func(jobs.Result) int64
	}{
		"in_the_receipt_of_an_erasure": {
			exportops.EraseUser, dying{traces: 1}, func(r jobs.Result) int64 { return r.Erased.Receipt.Files },
		},
		"in_the_result_of_a_user's_log_cleanup": {
			exportops.UserLogCleanup, dying{atFinish: true}, func(r jobs.Result) int64 { return r.Logs.FilesDeleted + r.Logs.FilesAbsent },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 3)
			w.Insert(row{ExportID: id(4), UserID: strings.ToUpper(person), URL: "f4"}) // any program may have written it
			w.Write("f4", "content")
			w.Files.Before = func([]string) error { panic(errDied) }
			func() {
				defer func() { _ = recover() }()
				_, _ = w.Runner().Run(t.Context(), filesBy(exportops.ByCron))
			}()
			w.Files.Before = nil
			w.Clock.Advance(time.Minute)
			want(t, "claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 4)
			r := takenOver(t, w, &c.dying, jobs.Request{Job: c.job, Trigger: exportops.ByCommand, UserID: person})
			want(t, "files of the user", c.files(r), 1)
			want(t, "files left", len(w.Keys()), 0)
		})
	}
}
