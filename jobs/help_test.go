package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// helper is another process on the same database and folder, whose storage
// calls are its own.
func helper(w *testworld.World, name string, change ...func(*testworld.Files)) *jobs.Runner {
	files := &testworld.Files{FileStore: w.Files.FileStore, Batch: w.Files.Batch, Fail: w.Files.Fail}
	for _, c := range change {
		c(files)
	}
	store := w.OpenStore()
	return w.Runner(func(o *jobs.Options) { o.Store, o.Files, o.Holder = store, files, name })
}

func active(t testing.TB, w *testworld.World) exportops.Run {
	t.Helper()
	runs, err := w.Store.ActiveRuns(t.Context())
	if err != nil || len(runs) != 1 {
		t.Fatalf("active runs: %+v, %v", runs, err)
	}
	return runs[0]
}

// soon waits until a query counts one.
func soon(t testing.TB, w *testworld.World, query string) {
	t.Helper()
	const most = 30 * time.Second
	for end := time.Now().Add(most); w.Count(query) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is not 1 after %s", query, most)
		}
	}
}

func TestWorkersShareARun(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	w.Files.Fail = map[string]error{"f2": errors.New("no"), "f30": errors.New("no")}
	expired(w, 40)
	w.Insert(
		row{ExportID: id(101)},                    // without a file
		row{ExportID: id(102), URL: "gone"},       // absent
		row{ExportID: id(103), URL: "../outside"}, // refused
		row{ExportID: id(104), URL: "twice"},      // needs an exact look
		row{ExportID: id(105), URL: "twice"},
		row{ExportID: id(106), URL: "f1", Expires: never, Timestamp: w.Ago(2 * day)}, // keeps f1
	)
	w.Write("twice", "x")
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 7)
	if err := helper(w, "another").Help(t.Context(), active(t, w)); err != nil {
		t.Fatal(err)
	}
	byHelper := w.Count(`SELECT count(*) FROM exportops_deletions WHERE token < 0 AND state = 'deleted'`)
	goOn()
	a := <-out
	if a.err != nil {
		t.Fatal(a.err)
	}
	r := *a.Result.Files
	// The first eight are the holder's, and the helper came to all others that are
	// nothing but files.
	want(t, "deleted by the helper", byHelper > 30, true)
	want(t, "deleted", r.DeletedCount, int64(38))
	want(t, "absent", r.AlreadyAbsent, int64(2)) // one of those that share "twice"
	want(t, "without a file", r.NoFile, int64(1))
	want(t, "shared", r.Shared, int64(1))
	want(t, "failed", r.FailedCount, int64(3))
	want(t, "errors", len(r.Errors), 3)
	want(t, "in flight", r.InFlight, int64(0))
	want(t, "found", r.TotalFound, int64(45))
	want(t, "rows", w.Count(`SELECT count(*) FROM export_logs WHERE status = 'expired'`), 41)
	want(t, "complete", r.Complete, true)
	want(t, "state", a.Run.State, exportops.RunFailed) // as three files failed
	want(t, "keys", len(w.Keys()), 3)                  // two that fail, one that is shared
}

func TestAWorkerDoesNothingFor(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 2)
	run := active(t, w)
	for name, c := range map[string]struct {
		holder string
		change func(*exportops.Run)
	}{
		"its own run":        {"test", func(*exportops.Run) {}},
		"another job":        {"another", func(r *exportops.Run) { r.Job = exportops.LogCleanup }},
		"a run that is over": {"another", func(r *exportops.Run) { r.State = exportops.RunDone }},
		"a run that is dead": {"another", func(r *exportops.Run) { r.LeaseUntil = nil }},
		"a run that closes":  {"another", func(r *exportops.Run) { r.Closing = true }},
		"a run that is gone": {"another", func(r *exportops.Run) { r.ID = exportops.NewID() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := run
			c.change(&r)
			if err := helper(w, c.holder).Help(t.Context(), r); err != nil {
				t.Error(err)
			}
			want(t, "workers", w.Count(`SELECT count(*) FROM exportops_workers`), 0)
		})
	}
	goOn()
	if a := <-out; a.err != nil || a.Result.Files.DeletedCount != 2 {
		t.Errorf("%+v %v", a.Result.Files, a.err)
	}
}

// workerDies lets another process help with the active run, and die when it is about to
// delete the first files that it claimed.
func workerDies(t *testing.T, w *testworld.World) {
	t.Helper()
	crash := errors.New("crash")
	defer func() {
		if p := recover(); p != crash { //nolint:errorlint // the very value
			t.Errorf("the worker did not die as planned: %v", p)
		}
	}()
	err := helper(w, "another", func(f *testworld.Files) {
		f.Before = func([]string) error { panic(crash) }
	}).Help(t.Context(), active(t, w))
	t.Errorf("the worker ended with %v", err)
}

// TestAWorkerThatDies leaves claims, which the holder recovers before its end.
func TestAWorkerThatDies(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 8)
	workerDies(t, w)
	want(t, "claims left", w.Count(`SELECT count(*) FROM exportops_deletions WHERE token < 0 AND state = 'claimed'`), 4)
	goOn()
	// Its holder waits for the worker until its lease is over.
	soon(t, w, `SELECT count(*) FROM exportops_runs WHERE closing = 1`)
	w.Clock.Advance(exportops.LeaseLength + time.Second)
	a := <-out
	if a.err != nil {
		t.Fatal(a.err)
	}
	want(t, "deleted", a.Result.Files.DeletedCount, int64(12))
	want(t, "recovered", a.Result.Files.Recovered, int64(4))
	want(t, "found", a.Result.Files.TotalFound, int64(12))
	want(t, "keys", len(w.Keys()), 0)
}

// TestWorkersAreCountedOnce also where the holder died in between.
func TestWorkersAreCountedOnce(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	w.Files.Change = func([]string, []exportops.FileResult) error { panic(errHolder) }
	help := helper(w, "another")
	w.Files.Before = func([]string) error {
		w.AwaitClaims(8) // of the holder
		return help.Help(t.Context(), active(t, w))
	}
	func() {
		defer func() {
			if p := recover(); p != errHolder { //nolint:errorlint // the very value
				t.Errorf("the holder did not die as planned: %v", p)
			}
		}()
		a, err := w.Runner().Run(t.Context(), filesBy(exportops.ByCron))
		t.Errorf("the holder ended with %+v %v", a, err)
	}()
	w.Files.Before, w.Files.Change = nil, nil
	w.Clock.Advance(exportops.LeaseLength + time.Second)
	a := run(t, w.Runner(), filesBy(exportops.ByCron))
	want(t, "beginning", a.Beginning, exportops.TookOver)
	want(t, "deleted", a.Result.Files.DeletedCount, int64(12))
	want(t, "found", a.Result.Files.TotalFound, int64(12))
	want(t, "recovered", a.Result.Files.Recovered, int64(8))
	want(t, "record", fmt.Sprint(w.Strings(`SELECT result ->> 'deleted_count' FROM exportops_runs`)), "[12]")
}

var errHolder = errors.New("the holder dies")

// TestARunIsHelpedWithOnce: who has come to the end of it would read everything
// again for nothing.
func TestARunIsHelpedWithOnce(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 2)
	help := helper(w, "another")
	for range 3 {
		if err := help.Help(t.Context(), active(t, w)); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "workers", w.Count(`SELECT count(*) FROM exportops_workers`), 1)
	goOn()
	if a := <-out; a.err != nil || a.Result.Files.DeletedCount != 2 {
		t.Errorf("%+v %v", a.Result.Files, a.err)
	}
}

// TestWhatAWorkerCouldNotDoIsSaid also where its part has ended meanwhile.
func TestWhatAWorkerCouldNotDoIsSaid(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 1
	expired(w, 3)
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 2)
	no := errors.New("no route to the storage")
	err := helper(w, "another", func(f *testworld.Files) {
		f.Before = func([]string) error {
			w.Exec(`UPDATE exportops_workers SET left_at = lease_until`)
			return no
		}
	}).Help(t.Context(), active(t, w))
	if !errors.Is(err, no) {
		t.Errorf("the worker says %v, want %v", err, no)
	}
	goOn()
	if a := <-out; a.err != nil || a.Result.Files.TotalFound != 3 {
		t.Errorf("%+v %v", a.Result.Files, a.err)
	}
}

// TestWhatIsGivenBackMayBeTakenByAWorker of the run, which closes a moment later: it is
// the worker's, and not left.
func TestWhatIsGivenBackMayBeTakenByAWorker(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	w.Files.Fail = map[string]error{"f6": errors.New("no")}
	expired(w, 12)
	ctx, stop := context.WithCancel(t.Context())
	w.Files.Before = w.Ahead([]int64{8}, stop)
	help := helper(w, "another")
	store := &testworld.Unclaiming{Store: w.Store, Gave: func() { w.Must(help.Help(t.Context(), active(t, w))) }}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(ctx, filesBy(exportops.ByCommand))
	w.Must(err)
	r := a.Result.Files
	want(t, "keys", w.Keys(), []string{"f6"})
	want(t, "deleted, failed, remaining, found", [4]int64{r.DeletedCount, r.FailedCount, r.Remaining, r.TotalFound}, [4]int64{11, 1, 0, 12})
	want(t, "complete", r.Complete, false)
}

// TestAWorkerThatDiesIsNotForgotten where the time of the run ends with its lease: what
// it had claimed is left.
func TestAWorkerThatDiesIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	req := filesBy(exportops.ByCron)
	req.Budget = 10 * time.Second
	out, goOn := blocked(t, w, w.Runner(), req, 8)
	workerDies(t, w)
	goOn()
	soon(t, w, `SELECT count(*) FROM exportops_runs WHERE closing = 1`)
	w.Clock.Advance(exportops.LeaseLength + time.Second)
	a := <-out
	w.Must(a.err)
	r := a.Result.Files
	want(t, "deleted, remaining, found", [3]int64{r.DeletedCount, r.Remaining, r.TotalFound}, [3]int64{8, 4, 12})
	want(t, "complete", r.Complete, false)
}

// afterClaims is a store that does something after so many pages were claimed.
type afterClaims struct {
	jobs.Store
	pages int
	do    func()
}

func (a *afterClaims) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (exportops.ClaimPage, error) {
	page, err := a.Store.ClaimFiles(ctx, c, r)
	if a.pages--; a.pages == 0 {
		a.do()
	}
	return page, err
}

// TestAWorkerThatDiesIsNotForgottenHalfWay where the run has passed over what the worker
// had claimed, and its time ends before it comes to the rest.
func TestAWorkerThatDiesIsNotForgottenHalfWay(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 16)
	req := filesBy(exportops.ByCron)
	req.Budget = 10 * time.Second
	store := &afterClaims{Store: w.Store, pages: 3, do: func() { w.Clock.Advance(req.Budget) }}
	out, goOn := blocked(t, w, w.Runner(func(o *jobs.Options) { o.Store = store }), req, 8)
	workerDies(t, w)
	// It has claimed all the rest, of which the run passes over one page.
	want(t, "claims of the worker", w.Count(`SELECT count(*) FROM exportops_deletions WHERE token < 0 AND state = 'claimed'`), 8)
	goOn()
	soon(t, w, `SELECT count(*) FROM exportops_runs WHERE closing = 1`)
	w.Clock.Advance(exportops.LeaseLength + time.Second)
	a := <-out
	w.Must(a.err)
	r := a.Result.Files
	want(t, "deleted, remaining, found", [3]int64{r.DeletedCount, r.Remaining, r.TotalFound}, [3]int64{8, 8, 16})
	want(t, "complete", r.Complete, false)
}

// unmounted is a folder as a process sees it that has not mounted its volume.
type unmounted struct {
	exportops.FileStore
	id string
}

func (u unmounted) ID() string { return u.id }

// TestAWorkerLooksAtItsOwnRoot as the holder did at its: files that it does not see are
// not for that gone.
func TestAWorkerLooksAtItsOwnRoot(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	empty, err := disk.Open(t.TempDir())
	w.Must(err)
	defer empty.Close()
	out, goOn := blocked(t, w, w.Runner(), filesBy(exportops.ByCron), 8)
	err = helper(w, "another", func(f *testworld.Files) { f.FileStore = unmounted{empty, w.Files.ID()} }).Help(t.Context(), active(t, w))
	if !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("the worker says %v", err)
	}
	goOn()
	a := <-out
	w.Must(a.err)
	want(t, "deleted", a.Result.Files.DeletedCount, int64(12))
	want(t, "absent", a.Result.Files.AlreadyAbsent, int64(0))
	want(t, "keys", len(w.Keys()), 0)
}

// TestTheLastBatchOfAWorkerCounts also where the holder is told to stop while
// the worker is at it.
func TestTheLastBatchOfAWorkerCounts(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 4
	expired(w, 12)
	ctx, stop := context.WithCancel(t.Context())
	there, goOn := make(chan struct{}), make(chan struct{})
	helped := make(chan error, 1)
	w.Files.Before = func([]string) error {
		w.Files.Before = nil
		go func() {
			helped <- helper(w, "another", func(f *testworld.Files) {
				var once sync.Once
				f.Before = func([]string) error { once.Do(func() { close(there); <-goOn }); return nil }
			}).Help(t.Context(), active(t, w))
		}()
		<-there // it has claims
		stop()
		return nil
	}
	out := make(chan answer, 1)
	go func() {
		a, err := w.Runner().Run(ctx, filesBy(exportops.ByCommand))
		out <- answer{a, err}
	}()
	soon(t, w, `SELECT count(*) FROM exportops_runs WHERE closing = 1`)
	close(goOn)
	a := <-out
	if err := <-helped; err != nil || a.err != nil {
		t.Fatal(err, a.err)
	}
	want(t, "state", a.Run.State, exportops.RunPartial)
	want(t, "deleted", a.Result.Files.DeletedCount, int64(12-len(w.Keys())))
	want(t, "claims left", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 0)
	want(t, "found", a.Result.Files.TotalFound, int64(12))
}
