package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// erase erases those traces of a user that are of a kind, beside the test, and returns
// what waits for the end.
func (w *world) erase(user string, kind exportops.TraceKind) (wait func()) {
	w.Helper()
	all, _, err := w.b.Traces(w.Context(), user, nil, "", 100)
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
	sealed := func(w *world) {
		w.noonExists()
		w.now(`UPDATE exportops.rollup_hours SET sealed = true`)
	}
	t.Run("an_export_that_is_reported_while_it_becomes_anothers_counts_once", func(t *testing.T) {
		w := newWorld(t)
		sealed(w)
		m := metricOf(exportops.NewID(), exportops.Completed, 1)
		w.record(w.a, m)()
		w.now(dueRow, m.ExportID, noon.String(), after(noon, time.Hour).String()) // of another user
		tx, release := w.holdHour(noon)
		erased := w.erase(m.UserID, exportops.TraceTold)
		w.blockedBy(tx, 1)
		again := metricOf(m.ExportID, exportops.Completed, 2)
		must(t, w.a.pool.QueryRow(t.Context(), `SELECT user_id::text FROM public.export_logs`).Scan(&again.UserID))
		recorded := w.record(w.a, again)
		w.blockedBy(tx, 2)
		release()
		erased()
		recorded()
		if n := w.count(`SELECT coalesce(sum(exports) FILTER (WHERE user_id = $1::uuid), 0) FROM exportops.rollup_users`, again.UserID); n != 1 {
			t.Fatalf("the export counts %d times for its user", n)
		}
	})
	t.Run("an_error_that_is_reported_while_it_loses_a_name_counts_once", func(t *testing.T) {
		w := newWorld(t)
		sealed(w)
		user := exportops.NewID()
		m := metricOf(exportops.NewID(), exportops.Failed, 1)
		text := "quota of " + user
		m.ErrorType = &text
		w.record(w.a, m)()
		tx, release := w.holdHour(noon)
		again := m
		plain := "quota"
		again.Attempt, again.ErrorType = 2, &plain
		recorded := w.record(w.a, again)
		w.blockedBy(tx, 1) // it has read what counts until now
		erased, done := w.erase(user, exportops.TraceText), make(chan struct{})
		go func() { erased(); close(done) }()
		errors := func() {
			w.now(`UPDATE exportops.runs SET state = 'done', finished_at = now()`)
			w.erase(user, exportops.TraceError)()
		}
		for waits := false; !waits; {
			select {
			case <-done:
				errors()
				waits = true
			case <-time.After(2 * time.Millisecond):
				waits = w.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 1
			}
		}
		release()
		recorded()
		<-done
		if w.count(`SELECT count(*) FROM exportops.rollup_errors WHERE error_type = $1`, text) > 0 {
			errors()
		}
		if n := w.count(`SELECT sum(exports) FROM exportops.rollup_errors`); n != 1 {
			t.Fatalf("%d errors are counted", n)
		}
	})
	t.Run("an_error_that_is_counted_while_it_loses_a_name_counts", func(t *testing.T) {
		w := newWorld(t)
		sealed(w)
		user := exportops.NewID()
		w.now(`INSERT INTO exportops.rollup_errors (start, error_type, exports) VALUES ($1::timestamptz, 'no ' || $2::text, 3)`, noon.String(), user)
		tx := w.app() // another replica, that reports to the hour
		w.exec(tx, `SELECT 1 FROM exportops.rollup_hours FOR UPDATE`)
		w.exec(tx, `UPDATE exportops.rollup_errors SET exports = exports + 1`)
		erased := w.erase(user, exportops.TraceError)
		w.blockedBy(tx, 1)
		w.commit(tx)
		erased()
		if n := w.count(`SELECT sum(exports) FROM exportops.rollup_errors`); n != 4 {
			t.Fatalf("%d errors are counted, want 4", n)
		}
	})
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
