package jobs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// inTime runs story in a world whose clock goes as fast as everybody waits.
func inTime(t *testing.T, story func(t *testing.T, w *testworld.World, runner func() *jobs.Runner)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := testworld.New(t, dir)
		began := time.Now()
		story(t, w, func() *jobs.Runner {
			return w.Runner(func(o *jobs.Options) {
				o.Now = func() time.Time { return testworld.Noon.Add(time.Since(began)) }
			})
		})
	})
}

// TestALongReadKeepsItsLease: nothing renews it but the heartbeat.
func TestALongReadKeepsItsLease(t *testing.T) {
	inTime(t, func(t *testing.T, w *testworld.World, runner func() *jobs.Runner) {
		expired(w, 3)
		w.Files.Checked = func() { <-time.After(10 * exportops.LeaseLength) }
		first := make(chan answer)
		ctx := t.Context()
		go func() {
			a, err := runner().Run(ctx, filesBy(exportops.ByCron))
			first <- answer{a, err}
		}()
		<-time.After(9 * exportops.LeaseLength)
		second := run(t, runner(), filesBy(exportops.ByCron))
		want(t, "beginning", second.Beginning, exportops.Joined)
		if a := <-first; a.err != nil || a.Result.Files.DeletedCount != 3 {
			t.Errorf("the first: %+v, %v", a.Answer, a.err)
		}
	})
}

// TestAPanicLetsGoOfTheRun: a server survives it, and the run must not stay the
// dead holder's.
func TestAPanicLetsGoOfTheRun(t *testing.T) {
	inTime(t, func(t *testing.T, w *testworld.World, runner func() *jobs.Runner) {
		expired(w, 1)
		w.Files.Before = func([]string) error { panic("a bug") }
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			a, err := runner().Run(t.Context(), filesBy(exportops.ByCron))
			t.Errorf("answer %+v, %v", a, err)
		}()
		w.Files.Before = nil
		<-time.After(exportops.LeaseLength)
		a := run(t, runner(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron, Budget: 2 * exportops.LeaseLength})
		want(t, "next", a.Beginning, exportops.TookOver)
	})
}

// TestAJoinedCallTakesOverFromADeadHolder: it does not wait for good.
func TestAJoinedCallTakesOverFromADeadHolder(t *testing.T) {
	inTime(t, func(t *testing.T, w *testworld.World, runner func() *jobs.Runner) {
		expired(w, 1)
		_, _, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: []byte(`{}`), Trigger: exportops.ByCron,
			Holder: "dead", Now: exportops.At(testworld.Noon), Lease: exportops.LeaseLength,
		})
		w.Must(err)
		began := time.Now()
		a := run(t, runner(), filesBy(exportops.ByCron))
		want(t, "beginning", a.Beginning, exportops.TookOver)
		want(t, "deleted", a.Result.Files.DeletedCount, 1)
		if waited := time.Since(began); waited < exportops.LeaseLength || waited > 2*exportops.LeaseLength {
			t.Errorf("waited %s", waited)
		}
	})
}

// TestAResultThatCannotBeRead: the run ends, and the next one does the work.
func TestAResultThatCannotBeRead(t *testing.T) {
	inTime(t, func(t *testing.T, w *testworld.World, runner func() *jobs.Runner) {
		expired(w, 2)
		_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: []byte(`{}`), Trigger: exportops.ByCron,
			Holder: "dead", Now: exportops.At(testworld.Noon), Lease: time.Millisecond,
		})
		w.Must(err)
		w.Must(w.Store.Renew(t.Context(), exportops.Checkpoint{
			Fence: fence, Now: exportops.At(testworld.Noon), Progress: []byte(`{"deleted_count":"many"}`),
		}))
		<-time.After(exportops.LeaseLength)
		a, err := runner().Run(t.Context(), filesBy(exportops.ByCron))
		if err == nil || a.Run.ID != fence.RunID || a.Run.State != exportops.RunFailed || a.Run.Error == "" {
			t.Fatalf("%+v, %v", a, err)
		}
		next := run(t, runner(), filesBy(exportops.ByCron))
		want(t, "deleted by the next", next.Result.Files.DeletedCount, 2)
	})
}
