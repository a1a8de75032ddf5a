package jobs_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// dyingWalk kills the process in the middle of a walk.
type dyingWalk struct {
	exportops.FileStore
	left int
}

func (d *dyingWalk) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	return func(yield func(exportops.WalkedFile, error) bool) {
		for f, err := range d.FileStore.Walk(ctx, after) {
			if d.left--; d.left == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // it comes at once
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// TestReconcileForASlot: a schedule runs it as it runs the other jobs.
func TestReconcileForASlot(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	w.Write("unknown", "x")
	slot := w.Clock.At()
	r := jobs.Request{Job: exportops.Reconcile, Trigger: exportops.BySchedule, Slot: &slot}
	for _, how := range []exportops.Beginning{exportops.Started, exportops.Replayed} {
		a, err := w.Runner().Run(t.Context(), r)
		w.Must(err)
		if a.Beginning != how || a.Run.Slot == nil || !a.Run.Slot.Equal(slot.Time) || a.Run.State != exportops.RunDone {
			t.Errorf("%s: %+v", a.Beginning, a.Run)
		}
	}
	if again, ok := jobs.Resume(exportops.Run{ID: "x", Job: r.Job, Trigger: r.Trigger, Slot: &slot, Params: []byte(`{}`)}); !ok || again.Job != r.Job {
		t.Errorf("one whose process died is not taken over: %+v", again)
	}
}

// TestReconcileManyFiles: 100,000 files and as many rows are compared in little
// memory, and by a process that takes over from one that was killed.
func TestReconcileManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 rows and files take a while")
	}
	n, most := 100_000, 50_000 // files, kilobytes
	if raced {
		n = 5000
	}
	w := newWorld(t)
	var rows []row
	unknown, missing := int64(0), int64(0)
	for i := range n {
		key := fmt.Sprintf("u%d/%d", i%100, i)
		if i/100%100 == 7 {
			missing++
		} else {
			w.Write(key, "")
		}
		if i/100%100 == 3 {
			unknown++
			continue
		}
		rows = append(rows, row{ExportID: id(i), URL: key, Expires: never})
	}
	w.Insert(rows...)
	found := func() [2]int64 {
		return [2]int64{w.Count(`SELECT count(*) FROM exportops_unknown_files`), w.Count(`SELECT count(*) FROM exportops_missing_files`)}
	}
	if _, ended := child(t, order{Dir: w.Dir, Jobs: []exportops.Job{exportops.Reconcile}, DieWalked: n / 2}, 0); ended {
		t.Fatal("the process was to kill itself")
	}
	want(t, "found before it was killed", found()[0] > 0 && found()[0] < unknown, true)
	done, ended := child(t, order{Dir: w.Dir, Jobs: []exportops.Job{exportops.Reconcile}, Minutes: 1}, 0)
	if !ended {
		t.Fatal("the process did not end")
	}
	r := done.Answers[0].Result.Recon
	want(t, "how it began", done.Answers[0].Beginning, exportops.TookOver)
	want(t, "found", found(), [2]int64{unknown, missing})
	want(t, "counted", [4]int64{r.FilesSeen, r.UnknownSeen, r.MissingFiles, r.FailedCount}, [4]int64{int64(n) - missing, unknown, missing, 0})
	t.Logf("peak of the process: %d kB; %d ms", done.PeakKB, r.DurationMS)
	if !raced && done.PeakKB > most {
		t.Errorf("it took %d kB at its peak, more than %d", done.PeakKB, most)
	}
}

func TestReconcileParameters(t *testing.T) {
	w := newWorld(t)
	for name, req := range map[string]jobs.Request{
		"stuck too soon":       {Job: exportops.Reconcile, StuckAfter: 1},
		"stuck for another":    {Job: exportops.FileCleanup, StuckAfter: testworld.Day},
		"negative rate":        {Job: exportops.Reconcile, Rate: -1},
		"rate for another job": {Job: exportops.LogCleanup, Rate: 5},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Runner().Run(t.Context(), req)
			wantKind(t, err, exportops.KindInvalid)
		})
	}
}

// A run that failed says so, in its record and in its event.
func TestReconcileTellsWhatItCouldNotLookAt(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "folder", Expires: never})
	w.Write("folder/file", "x")
	a := run(t, w.Runner(), jobs.Request{Job: exportops.Reconcile, Trigger: exportops.ByAPI})
	if a.Failure == "" || a.Run.State != exportops.RunFailed || a.Result.Recon.FailedCount != 1 {
		t.Fatalf("%+v", a)
	}
	events := w.Events.Of(exportops.EventReconcileFailed)
	e, ok := events[0].(exportops.ReconcileEvent)
	want(t, "an event", ok && len(events) == 1, true)
	if d := cmp.Diff(a.Failure, e.Error); d != "" || e.FailedCount != 1 || e.RunID != a.Run.ID {
		t.Fatalf("%s %+v", d, e)
	}
}
