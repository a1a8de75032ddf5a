package postgres

import (
	"testing"

	"github.com/exportops/exportops"
)

// erase erases those traces of a user that are of a kind, beside the test, and returns
// what waits for the end.
func (w *world) erase(user string, kind exportops.TraceKind) (wait func()) {
	w.Helper()
	all, _, err := w.b.Traces(w.Context(), user, "", 100)
	must(w, err)
	var found []exportops.Trace
	for _, x := range all {
		if x.Kind == kind {
			found = append(found, x)
		}
	}
	if len(found) == 0 {
		w.Fatalf("of %q there is only %v", kind, all)
	}
	c := w.begin(w.b, exportops.EraseUser, noon)
	done := make(chan error, 1)
	go func() {
		_, err := w.b.EraseTraces(w.Context(), c, user, found, nil)
		done <- err
	}()
	return func() {
		w.Helper()
		must(w, <-done)
	}
}

func TestErasuresBesideOthers(t *testing.T) {
	t.Run("a_hold_that_is_being_placed_is_waited_for", func(t *testing.T) {
		w := newWorld(t)
		m := metricOf(exportops.NewID(), exportops.Processing, 1)
		w.record(w.a, m)()
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockHolds)
		w.exec(tx, `INSERT INTO exportops.holds (scope, subject, row_only, reason, placed_by, placed_at)
			VALUES ('user', $1::uuid, false, 'a case', 'counsel', now())`, m.UserID)
		waits := w.waiting(tx)
		erased := w.erase(m.UserID, exportops.TraceMetric)
		done := make(chan struct{})
		go func() { erased(); close(done) }()
		select {
		case <-waits:
		case <-done:
		}
		w.commit(tx)
		<-done
		if n := w.count(`SELECT count(*) FROM exportops.export_metrics`); n != 1 {
			t.Fatal("a metric was deleted that is held")
		}
	})
}
