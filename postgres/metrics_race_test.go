package postgres

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

func metricOf(export string, status exportops.Status, attempt int64) exportops.Metric {
	took, size := int64(1200), int64(4096)
	return exportops.Metric{
		ExportID: export, UserID: exportops.NewID(), Format: exportops.CSV, Status: status, ConversationCount: 3,
		DurationMS: &took, FileSizeBytes: &size, Attempt: attempt, Timestamp: after(noon, 10*time.Minute),
	}
}

// inHours are metrics of new exports, one in each of the hours from noon on.
func inHours(n int) []exportops.Metric {
	batch := make([]exportops.Metric, n)
	for i := range batch {
		batch[i] = metricOf(exportops.NewID(), exportops.Completed, 1)
		batch[i].Timestamp = after(noon, time.Duration(i)*time.Hour)
	}
	return batch
}

// holdHour locks an hour in the application's place, and returns what lets go.
func (w *world) holdHour(hour exportops.Time) (pgx.Tx, func()) {
	w.Helper()
	w.now(`INSERT INTO exportops.rollup_hours (start) VALUES ($1::timestamptz) ON CONFLICT DO NOTHING`, hour.String())
	tx := w.app()
	w.exec(tx, `SELECT 1 FROM exportops.rollup_hours WHERE start = $1::timestamptz FOR UPDATE`, hour.String())
	return tx, func() { must(w, tx.Rollback(w.Context())) }
}

// record stores metrics beside the test, and returns what waits for the end.
func (w *world) record(s *Store, batch ...exportops.Metric) (wait func()) {
	done := make(chan error, 1)
	go func() {
		_, err := s.RecordMetrics(w.Context(), batch)
		done <- err
	}()
	return func() {
		w.Helper()
		must(w, <-done)
	}
}

// deadlocks counts what the server ended to untie a deadlock: the store tries
// that again, so that nobody else sees it.
type deadlocks struct{ n atomic.Int64 }

func (*deadlocks) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (d *deadlocks) TraceQueryEnd(_ context.Context, _ *pgx.Conn, q pgx.TraceQueryEndData) {
	if code(q.Err) == deadlockDetected {
		d.n.Add(1)
	}
}

func TestMetricsOfTwoReplicas(t *testing.T) {
	t.Run("two_attempts_recorded_at_once_count_once", func(t *testing.T) {
		w := newWorld(t)
		app, release := w.holdHour(noon)
		export := exportops.NewID()
		first := w.record(w.a, metricOf(export, exportops.Failed, 1))
		w.blockedBy(app, 1)
		second := w.record(w.b, metricOf(export, exportops.Completed, 2))
		w.blockedBy(app, 2)
		release()
		first()
		second()
		if n := w.count(`SELECT count(*) FROM exportops.export_metrics WHERE outcome`); n != 1 {
			t.Fatalf("the export counts %d times", n)
		}
		if n := w.count(`SELECT attempt FROM exportops.export_metrics WHERE outcome AND counted_hour IS NOT NULL`); n != 2 {
			t.Fatalf("it counts as attempt %d, want the latest", n)
		}
	})
	t.Run("the_same_event_delivered_twice_at_once_is_new_once", func(t *testing.T) {
		w := newWorld(t)
		app, release := w.holdHour(noon)
		m := metricOf(exportops.NewID(), exportops.Completed, 1)
		first := w.record(w.a, m)
		w.blockedBy(app, 1)
		receipts := make(chan []exportops.Receipt, 1)
		go func() {
			r, err := w.b.RecordMetrics(w.Context(), []exportops.Metric{m})
			if err != nil {
				t.Error(err)
			}
			receipts <- r
		}()
		w.blockedBy(app, 2)
		release()
		first()
		if r := <-receipts; len(r) != 1 || r[0].New || r[0].Err != nil {
			t.Fatalf("receipts %+v, want a repeat", r)
		}
	})
	t.Run("what_was_observed_and_goes_with_its_row_meanwhile_is_no_reason_to_lose_an_event", func(t *testing.T) {
		w := newWorld(t)
		w.noonExists()
		w.now(`UPDATE exportops.rollup_hours SET sealed = true`)
		export := exportops.NewID()
		w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status)
			VALUES ($1::uuid, gen_random_uuid(), $2::timestamptz, 'csv', '{}', 1, 'completed')`, export, noon.String())
		_, err := w.a.Observe(t.Context(), exportops.Span{From: noon, To: after(noon, time.Hour)}, noon)
		must(t, err)
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.export_metrics FOR UPDATE`)
		wait := w.record(w.a, metricOf(export, exportops.Completed, 1))
		w.blockedBy(tx, 1) // it has read what was observed, and is about to replace it
		w.exec(tx, `DELETE FROM public.export_logs`)
		w.exec(tx, `DELETE FROM exportops.export_metrics`)
		w.commit(tx)
		wait()
		stored := w.count(`SELECT count(*) FROM exportops.export_metrics WHERE source = 'measured' AND outcome`)
		if n := w.count(`SELECT sum(completed) FROM exportops.rollups`); stored != 1 || n != 2 {
			t.Fatalf("%d events are stored, and %d exports counted, want what was deleted and what came after it", stored, n)
		}
	})
	t.Run("batches_in_any_order_do_not_wait_crosswise", func(t *testing.T) {
		w := newWorld(t)
		var tied deadlocks
		for _, s := range []**Store{&w.a, &w.b} {
			replica, err := open(t.Context(), Options{URL: w.url}, &tied)
			must(t, err)
			defer func() { must(t, replica.Close()) }()
			*s = replica
		}
		app, release := w.holdHour(after(noon, time.Hour))
		up := inHours(3)
		down := inHours(3)
		down[0], down[2] = down[2], down[0]
		first := w.record(w.a, up...)
		w.blockedBy(app, 1)
		second := w.record(w.b, down...)
		w.blockedBy(app, 2)
		release()
		first()
		second()
		if n := w.count(`SELECT count(*) FROM exportops.export_metrics WHERE outcome`); n != 6 {
			t.Fatalf("%d count, want 6", n)
		}
		if n := tied.n.Load(); n != 0 {
			t.Fatalf("%d deadlocks", n)
		}
	})
	t.Run("two_observers_freeze_a_row_once", func(t *testing.T) {
		w := newWorld(t)
		w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status)
			VALUES (gen_random_uuid(), gen_random_uuid(), $1::timestamptz, 'csv', '{}', 1, 'completed')`, noon.String())
		app, release := w.holdHour(noon)
		total := make(chan int64, 2)
		for i, s := range []*Store{w.a, w.b} {
			go func() {
				n, err := s.Observe(w.Context(), exportops.Span{From: noon, To: after(noon, time.Hour)}, noon)
				if err != nil {
					t.Error(err)
				}
				total <- n
			}()
			w.blockedBy(app, int64(i+1))
		}
		release()
		if n := <-total + <-total; n != 1 {
			t.Fatalf("frozen %d times", n)
		}
	})
	t.Run("an_update_waits_for_a_claim_and_is_refused", func(t *testing.T) {
		w := newWorld(t)
		e := exportops.Export{
			ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: noon, Format: exportops.CSV,
			Config: []byte(`{}`), Status: exportops.Completed,
		}
		_, err := w.a.CreateExport(t.Context(), e)
		must(t, err)
		claim := w.app()
		w.exec(claim, `SELECT 1 FROM public.export_logs FOR NO KEY UPDATE`)
		done := make(chan error, 1)
		go func() {
			failed := exportops.Failed
			_, err := w.a.UpdateExport(w.Context(), e.ExportID, exportops.ExportUpdate{Status: &failed}, nil, noon)
			done <- err
		}()
		w.blockedBy(claim, 1)
		w.exec(claim, `INSERT INTO exportops.deletions (export_id, mode, state, store, bucket, key, row_status, run_id, token, attempts,
			claimed_at) VALUES ($1::uuid, 'expiry', 'claimed', 's', 'b', 'k', 'completed', 'r', 1, 1, now())`, e.ExportID)
		must(t, claim.Commit(t.Context()))
		if err := <-done; !exportops.IsKind(err, exportops.KindConflict) {
			t.Fatalf("error is %v, want a conflict", err)
		}
		if n := w.count(`SELECT count(*) FROM public.export_logs WHERE status = 'completed'`); n != 1 {
			t.Fatal("the row was changed")
		}
	})
}

func TestRollupsOfTwoReplicas(t *testing.T) {
	// reporting is a replica that has reported to noon, and has not committed.
	reporting := func(w *world) (app pgx.Tx, commit func()) {
		app, release := w.holdHour(after(w.noonExists(), time.Hour))
		wait := w.record(w.a, inHours(2)...)
		w.blockedBy(app, 1)
		return app, func() {
			release()
			wait()
		}
	}
	t.Run("an_hour_is_not_taken_for_clean_while_somebody_reports_to_it", func(t *testing.T) {
		w := newWorld(t)
		w.noonExists()
		w.now(`UPDATE exportops.rollup_hours SET version = 7`)
		app, commit := reporting(w)
		wrote := make(chan bool, 1)
		go func() {
			is, err := w.b.WriteHour(w.Context(), exportops.Rollup{Start: noon}, 7)
			if err != nil {
				t.Error(err)
			}
			wrote <- is
		}()
		w.blockedBy(app, 2)
		commit()
		if <-wrote {
			t.Fatal("an hour was written that was reported to meanwhile")
		}
	})
	t.Run("nor_is_its_day", func(t *testing.T) {
		w := newWorld(t)
		day := exportops.Span{From: noon.Day(), To: after(noon.Day(), 24*time.Hour)}
		must(t, w.a.WriteEmpty(t.Context(), day))
		app, commit := reporting(w)
		wrote := make(chan bool, 1)
		go func() {
			is, err := w.b.WriteDay(w.Context(), exportops.Rollup{Start: day.From}, 0)
			if err != nil {
				t.Error(err)
			}
			wrote <- is
		}()
		w.blockedBy(app, 2)
		commit()
		days, err := w.b.DayStates(t.Context(), day)
		if <-wrote || err != nil || len(days) != 0 {
			t.Fatalf("the day stands beside an hour that is dirty: %v, %v", days, err)
		}
	})
	t.Run("a_sealed_hour_takes_both_of_two_changes", func(t *testing.T) {
		w := newWorld(t)
		w.noonExists()
		w.now(`UPDATE exportops.rollup_hours SET sealed = true`)
		app, commit := reporting(w)
		second := w.record(w.b, inHours(1)...)
		w.blockedBy(app, 2)
		commit()
		second()
		if n := w.count(`SELECT completed FROM exportops.rollups WHERE start = $1::timestamptz`, noon.String()); n != 2 {
			t.Fatalf("the sealed hour counts %d, want both", n)
		}
	})
}

// noonExists gives noon a state, and returns it.
func (w *world) noonExists() exportops.Time {
	w.now(`INSERT INTO exportops.rollup_hours (start, clean) VALUES ($1::timestamptz, true) ON CONFLICT DO NOTHING`, noon.String())
	return noon
}
