package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

const lease = exportops.LeaseLength

// request asks for a file cleanup at noon.
func request(change ...func(*exportops.RunRequest)) exportops.RunRequest {
	r := exportops.RunRequest{
		Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: json.RawMessage(`{}`),
		Trigger: exportops.ByCron, Holder: "a", Now: noon, Lease: lease,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// begin asks for a run and fails unless the request is met as want says.
func begin(t testing.TB, f Fixture, want exportops.Beginning, change ...func(*exportops.RunRequest)) (
	exportops.Run, exportops.Fence,
) {
	t.Helper()
	run, fence, how, err := f.Store.BeginRun(t.Context(), request(change...))
	must(t, err)
	if how != want {
		t.Fatalf("the request was met with %q, want %q", how, want)
	}
	held := want == exportops.Started || want == exportops.TookOver
	if held != (fence.RunID == run.ID) || held != (fence.Token > 0) {
		t.Fatalf("%s run %s has the fence %+v", how, run.ID, fence)
	}
	return run, fence
}

func at(now exportops.Time) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.Now = now }
}

func by(holder string) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.Holder = holder }
}

func withKey(key string) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.IdempotencyKey = key }
}

func withParams(p string) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.Params = json.RawMessage(p) }
}

func forSlot(slot exportops.Time) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.Slot, r.Trigger = &slot, exportops.BySchedule }
}

func ofJob(j exportops.Job) func(*exportops.RunRequest) {
	return func(r *exportops.RunRequest) { r.Job, r.Lane = j, string(j) }
}

// check is a checkpoint of the holder with this fence.
func check(fence exportops.Fence, now exportops.Time) exportops.Checkpoint {
	return exportops.Checkpoint{Fence: fence, Now: now, Lease: lease}
}

// finish ends a run at the time given.
func finish(t testing.TB, f Fixture, fence exportops.Fence, now exportops.Time, state exportops.RunState) exportops.Run {
	t.Helper()
	run, err := f.Store.FinishRun(t.Context(), check(fence, now), state, "")
	must(t, err)
	return run
}

func runOf(t testing.TB, f Fixture, id string) exportops.Run {
	t.Helper()
	run, err := f.Store.Run(t.Context(), id)
	must(t, err)
	return run
}

// wantFenced fails unless err says that the run is no longer the holder's.
func wantFenced(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, exportops.ErrFenced) {
		t.Fatalf("%s: error is %v, want ErrFenced", what, err)
	}
}

// dead is a time at which a lease that began at noon is over.
var dead = after(noon, lease)

// alive is the last time at which it is not.
var alive = after(noon, lease-time.Millisecond)
