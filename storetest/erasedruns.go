package storetest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// beginRun begins a run of a job in a lane of its own.
func beginRun(t testing.TB, f Fixture, j exportops.Job) exportops.Checkpoint {
	t.Helper()
	_, fence, _, err := f.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: j, Lane: exportops.NewID(), Params: []byte(`{}`), Trigger: exportops.ByCommand, Holder: "storetest", Now: noon, Lease: time.Minute,
	})
	must(t, err)
	return exportops.Checkpoint{Fence: fence, Now: noon, Lease: time.Minute}
}

// working are runs at work that name a user: in the record of the run and in that of a
// worker.
func working(t testing.TB, f Fixture, user string) (all []exportops.Checkpoint) {
	t.Helper()
	names := json.RawMessage(`{"errors":[{"error":"` + user + `"}]}`)
	run, helped := beginRun(t, f, exportops.FileCleanup), beginRun(t, f, exportops.FileCleanup)
	run.Progress = names
	must(t, f.Store.Renew(t.Context(), run))
	fence, err := f.Store.JoinRun(t.Context(), helped.RunID, "worker", noon, time.Minute)
	must(t, err)
	worker := exportops.Checkpoint{Fence: fence, Now: noon, Lease: time.Minute, Progress: names}
	must(t, f.Store.Renew(t.Context(), worker))
	return []exportops.Checkpoint{run, helped, worker}
}

func keepAtWork(t *testing.T, f Fixture) {
	user := exportops.NewID()
	working(t, f, user)
	c := heldRun(t, f, noon)
	found := allTraces(t, f, user, 100)
	if runs := exportops.RunsOf(found); len(runs) != 2 || len(found) != 2 {
		t.Fatalf("found %v", found)
	}
	n, err := f.Store.EraseTraces(t.Context(), c, user, found, nil)
	must(t, err)
	if again := allTraces(t, f, user, 100); n != 0 || len(again) != len(found) {
		t.Errorf("%d of %v were erased, which leaves %v", n, found, again)
	}
}

func endDead(t *testing.T, f Fixture) {
	user := exportops.NewID()
	dead := working(t, f, user)
	c := heldRun(t, f, after(noon, time.Minute))
	found := allTraces(t, f, user, 100)
	n, err := f.Store.EraseTraces(t.Context(), c, user, found, nil)
	must(t, err)
	if again := allTraces(t, f, user, 100); n != 2 || len(again) != 0 {
		t.Errorf("%d of %v were erased, which leaves %v", n, found, again)
	}
	for _, d := range dead {
		d.Now = after(noon, time.Minute)
		if err := f.Store.Renew(t.Context(), d); err != exportops.ErrFenced { //nolint:errorlint // it is not wrapped
			t.Errorf("whoever wakes up is told %v", err)
		}
	}
}

func eraseExports(t *testing.T, f Fixture) {
	gone, there, other := Row{}.Complete(noon), Row{}.Complete(noon), Row{}.Complete(noon)
	gone.UserID = there.UserID
	f.Insert(t, there, other)
	f.Exec(t, `INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, row_status, run_id, token, attempts,
		claimed_at) VALUES (?, ?, 'expiry', 'deleted', 's', 'b', 'k', 'completed', 'r', 1, 1, ?)`, gone.ExportID, gone.UserID, noon.String())
	run := beginRun(t, f, exportops.Reconcile)
	var missing []exportops.MissingFile
	var res exportops.ReconcileResult
	for _, id := range []string{gone.ExportID, there.ExportID, other.ExportID} {
		m := exportops.MissingFile{ExportID: id, Store: "s", Key: "file of " + id, FirstSeen: noon, LastSeen: noon}
		missing, res.Stuck = append(missing, m), append(res.Stuck, id)
		res.Errors = append(res.Errors, exportops.ExportError{ExportID: id, Error: "no\x00\x00, not \\u0000 nor \\\x00"})
	}
	must(t, f.Store.RecordMissing(t.Context(), run, missing))
	res.Missing = missing
	var err error
	run.Progress, err = json.Marshal(res)
	must(t, err)
	_, err = f.Store.FinishRun(t.Context(), run, exportops.RunDone, "")
	must(t, err)
	for next := exportops.Cursor(""); ; { // one by one
		c := heldRun(t, f, noon)
		page, after, err := f.Store.Traces(t.Context(), there.UserID, nil, next, 1)
		must(t, err)
		_, err = f.Store.EraseTraces(t.Context(), c, there.UserID, page, nil)
		must(t, err)
		if next = after; next == "" {
			break
		}
	}
	if again := allTraces(t, f, there.UserID, 100); len(again) != 0 {
		t.Errorf("there still are %v", again)
	}
	left, err := f.Store.MissingFiles(t.Context(), exportops.MissingFilter{})
	must(t, err)
	var now exportops.ReconcileResult
	must(t, json.Unmarshal(runOf(t, f, run.RunID).Result, &now))
	if len(left) != 1 || left[0].ExportID != other.ExportID || len(now.Missing) != 1 || len(now.Errors) != 1 || len(now.Stuck) != 1 ||
		now.Stuck[0] != other.ExportID || !strings.Contains(now.Errors[0].Error, `, not \u0000 nor \`) {
		t.Errorf("what is left is %+v and %+v, want what is another's", left, now)
	}
}
