package jobs_test

import (
	"context"
	"errors"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// unlinked is the store of a process that does not come to link the ledger.
type unlinked struct{ jobs.Store }

func (unlinked) ChainDeletions(context.Context, exportops.Checkpoint, int64, int) (int, int64, error) {
	return 0, 0, errDied
}

// unchecked are alerts that cannot be checked.
type unchecked struct{ err error }

func (u unchecked) Evaluate(context.Context) error { return u.err }

// An aggregation that cannot check the alerts has failed, but what it came for is done.
func TestAlertsThatCannotBeChecked(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	_, err := w.Runner(func(o *jobs.Options) { o.Store = unlinked{w.Store} }).Run(t.Context(), filesBy(exportops.ByCron))
	if !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	const notLinked = `SELECT count(*) FROM exportops_deletions WHERE chain_seq IS NULL`
	want(t, "entries that are not linked before", w.Count(notLinked), int64(2))

	no := unchecked{errors.New("too many exports")}
	a, err := w.Runner(func(o *jobs.Options) { o.Alerts = no }).Run(t.Context(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCron})
	if !errors.Is(err, no.err) {
		t.Errorf("it said %v", err)
	}
	want(t, "state", a.Run.State, exportops.RunFailed)
	want(t, "reason", a.Run.Error, "check alerts: too many exports")
	want(t, "rolled up", a.Result.Rolls.Complete, true)
	want(t, "entries that are not linked", w.Count(notLinked), int64(0))
}
