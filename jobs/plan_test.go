package jobs_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// plannedFiles makes a plan of what is due, and returns the request that applies it.
func plannedFiles(t testing.TB, w *testworld.World) jobs.Request {
	t.Helper()
	var out bytes.Buffer
	req := filesBy(exportops.ByCommand)
	req.DryRun, req.PlanOut = true, &out
	run(t, w.Runner(), req)
	p, err := cleanup.ReadPlan(bytes.NewReader(out.Bytes()))
	w.Must(err)
	req.DryRun, req.PlanOut, req.Plan = false, nil, p
	return req
}

// The end of a run that applies a plan is that of what it did, as without one.
func TestAnAppliedPlanEndsAsItWent(t *testing.T) {
	t.Run("done_and_its_entries_are_linked", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		a := run(t, w.Runner(), plannedFiles(t, w))
		want(t, "deleted", a.Result.Files.DeletedCount, int64(3))
		want(t, "state", a.Run.State, exportops.RunDone)
		want(t, "failure", a.Failure, "")
		r, err := exportops.VerifyChain(t.Context(), w.Store, 0, w.Clock.At())
		w.Must(err)
		want(t, "links", r.Links, int64(3))
		want(t, "to be linked", r.Unchained, int64(0))
	})
	t.Run("failed_where_a_file_could_not_be_deleted", func(t *testing.T) {
		w := newWorld(t)
		expired(w, 3)
		req := plannedFiles(t, w)
		w.Files.Fail = map[string]error{"f2": errors.New("storage says no")}
		a := run(t, w.Runner(), req)
		want(t, "failed", a.Result.Files.FailedCount, int64(1))
		want(t, "state", a.Run.State, exportops.RunFailed)
		want(t, "failure", a.Failure, "1 of 3 files could not be deleted")
		want(t, "events that say so", len(w.Events.Of(exportops.EventFileCleanupFailed)), 1)
		want(t, "events that do not", len(w.Events.Of(exportops.EventFileCleanupComplete)), 0)
	})
}
