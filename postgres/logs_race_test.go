package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// rolledUp inserts rows that are expired, frozen, and counted by a clean hour,
// each with its file confirmed to be gone.
func (w *world) rolledUp(n int) {
	w.Helper()
	w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status,
			file_url, expires_at)
		SELECT gen_random_uuid() AS export, gen_random_uuid() AS owner, '2025-10-31T11:00:00Z'::timestamptz + i * interval '1 second', 'csv', '{}', 1,
			'expired', 'a/' || i, '2025-10-31T11:30:00Z' FROM generate_series(1, $1) i`, n)
	w.now(`INSERT INTO exportops.export_metrics (export_id, user_id, format, status, attempt, source, conversation_count,
			timestamp, received_at, outcome, counted_hour)
		SELECT e.export_id, e.user_id, e.format, 'completed', 1, 'observed', 1, e.timestamp, now(), true, '2025-10-31T11:00:00Z'
		FROM public.export_logs e`)
	w.now(`INSERT INTO exportops.rollup_hours (start, version, clean) VALUES ('2025-10-31T11:00:00Z', 3, true)`)
	w.now(`INSERT INTO exportops.deletions (export_id, mode, state, store, bucket, key, file_url, expires_at, row_status, run_id,
			token, attempts, claimed_at, finished_at)
		SELECT e.export_id, 'expiry', 'deleted', 's', 'b', e.file_url AS key, e.file_url, e.expires_at, 'completed', 'r', 1, 1, now(), now()
		FROM public.export_logs e`)
}

func (w *world) logRows(want int) []exportops.LogRow {
	w.Helper()
	rows, _, err := w.a.LogRows(w.Context(), exportops.LogSelection{Cut: noon}, "", 100)
	must(w, err)
	if len(rows) != want {
		w.Fatalf("%d rows, want %d", len(rows), want)
	}
	for _, r := range rows {
		if exportops.JudgeRow(r, false, noon) != exportops.DeleteRow {
			w.Fatalf("the row %+v with %+v is not to go: %s", r, r.Prior, exportops.JudgeRow(r, false, noon))
		}
	}
	return rows
}

func (w *world) deleteRows(c exportops.Checkpoint, rows []exportops.LogRow) []bool {
	w.Helper()
	d, err := w.a.DeleteLogRows(w.Context(), c, rows, nil)
	if err != nil {
		w.Error(err)
	}
	return d.Gone
}

// wantGone fails unless what is said to be gone is, with its metrics, and
// nothing else.
func (w *world) wantGone(rows []exportops.LogRow, gone []bool, want ...bool) {
	w.Helper()
	for i, r := range rows {
		left := w.count(`SELECT count(*) FROM public.export_logs WHERE id = $1::uuid`, r.ID)
		metrics := w.count(`SELECT count(*) FROM exportops.export_metrics WHERE export_id = $1::uuid`, r.ExportID)
		if gone[i] != want[i] || (left == 0) != want[i] || (metrics == 0) != want[i] {
			w.Fatalf("row %d: gone %v, %d left with %d metrics, want %v", i, gone[i], left, metrics, want[i])
		}
	}
}

func TestDeletedLogRows(t *testing.T) {
	for name, c := range map[string]struct {
		change  string
		commits bool
	}{
		"being_changed":   {`UPDATE public.export_logs SET status = 'processing' WHERE id = $1::uuid`, false},
		"changed":         {`UPDATE public.export_logs SET status = 'processing' WHERE id = $1::uuid`, true},
		"moved_the_least": {`UPDATE public.export_logs SET timestamp = timestamp + interval '1 microsecond' WHERE id = $1::uuid`, true},
		"of_another_user": {`UPDATE public.export_logs SET user_id = gen_random_uuid() WHERE id = $1::uuid`, true},
		"claimed_since": {`INSERT INTO exportops.deletions (export_id, mode, state, store, bucket, key, row_status, run_id, token, attempts, claimed_at)
			SELECT e.export_id, 'erasure', 'claimed', 's', 'b', e.file_url, e.status, 'other', 1, 1, now() FROM public.export_logs e WHERE e.id = $1::uuid`, true},
	} {
		t.Run("a_row_that_is_"+name+"_stays", func(t *testing.T) {
			w := newWorld(t)
			w.rolledUp(2)
			rows := w.logRows(2)
			tx := w.app()
			w.exec(tx, c.change, rows[0].ID)
			if c.commits {
				w.commit(tx)
			}
			w.wantGone(rows, w.deleteRows(w.begin(w.a, exportops.LogCleanup, noon), rows), false, true)
			if !c.commits {
				must(t, tx.Rollback(t.Context()))
			}
		})
	}
	t.Run("a_row_that_is_being_claimed_stays", func(t *testing.T) {
		w := newWorld(t)
		w.rolledUp(2)
		rows := w.logRows(2)
		r := claimAllOf(func() {
			w.wantGone(rows, w.deleteRows(w.begin(w.a, exportops.LogCleanup, noon), rows), false, true)
		})
		r.Selection = exportops.Selection{Mode: exportops.ByErasure, UserID: rows[0].UserID}
		r.ExportIDs = []string{rows[0].ExportID}
		w.claim(w.b, w.begin(w.b, exportops.FileCleanup, noon), r)
	})
	hours := map[string]struct {
		change string
		want   bool
	}{
		"was_told_something_new_keeps_its_rows": {`UPDATE exportops.rollup_hours SET version = version + 1, clean = false`, false},
		"was_computed_again_loses_its_rows":     {`UPDATE exportops.rollup_hours SET version = version + 1`, true},
		"was_sealed_loses_its_rows":             {`UPDATE exportops.rollup_hours SET version = version + 1, clean = false, sealed = true`, true},
		"no_longer_counts_them_keeps_its_rows": {`WITH h AS (UPDATE exportops.rollup_hours SET version = version + 1)
			UPDATE exportops.export_metrics SET outcome = false, counted_hour = NULL`, false},
	}
	for name, c := range hours {
		t.Run("an_hour_that_"+name, func(t *testing.T) {
			w := newWorld(t)
			w.rolledUp(2)
			rows := w.logRows(2)
			cp := w.begin(w.a, exportops.LogCleanup, noon)
			tx := w.app()
			w.exec(tx, `SELECT 1 FROM exportops.rollup_hours FOR UPDATE`)
			done := make(chan []bool)
			go func() { done <- w.deleteRows(cp, rows) }()
			w.blockedBy(tx, 1)
			w.exec(tx, c.change)
			w.commit(tx)
			w.wantGone(rows, <-done, c.want, c.want)
		})
	}
	t.Run("a_hold_that_is_being_placed_is_waited_for", func(t *testing.T) {
		w := newWorld(t)
		w.rolledUp(1)
		rows := w.logRows(1)
		cp := w.begin(w.a, exportops.LogCleanup, noon)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockHolds)
		done := make(chan []bool)
		go func() { done <- w.deleteRows(cp, rows) }()
		w.blockedBy(tx, 1)
		w.commit(tx)
		w.wantGone(rows, <-done, true)
	})
	t.Run("a_deadlock_is_tried_again", func(t *testing.T) {
		w := newWorld(t)
		w.rolledUp(1)
		rows := w.logRows(1)
		cp := w.begin(w.a, exportops.LogCleanup, noon)
		// Who locks the metric, and then the hour, does it crosswise.
		tx := w.app()
		w.exec(tx, `SET LOCAL deadlock_timeout = '1min'`) // the store is the one to find out
		w.exec(tx, `SELECT 1 FROM exportops.export_metrics FOR UPDATE`)
		done := make(chan []bool)
		go func() { done <- w.deleteRows(cp, rows) }()
		w.blockedBy(tx, 1)
		w.exec(tx, `SELECT 1 FROM exportops.rollup_hours FOR UPDATE`) // waits until the store gives way
		w.commit(tx)
		w.wantGone(rows, <-done, true)
	})
}

// beforeSealing does something when a store is about to seal hours.
type beforeSealing struct{ do func() }

func (b *beforeSealing) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if strings.Contains(d.SQL, "SET sealed = true") {
		b.do()
	}
	return ctx
}

func (*beforeSealing) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A row whose time cannot be read is counted in no hour of its own: an event of its
// export may come in any.
func TestAnEventThatComesAsItsUnreadableRowGoes(t *testing.T) {
	w := newWorld(t)
	export, user := exportops.NewID(), exportops.NewID()
	w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status)
		VALUES ($1::uuid, $2::uuid, '-infinity', 'csv', '{}', 1, 'failed')`, export, user)
	rows, _, err := w.a.LogRows(t.Context(), exportops.LogSelection{UserID: user}, "", 9)
	must(t, err)
	cp := w.begin(w.a, exportops.LogCleanup, noon)
	recorded := make(chan error, 1)
	var sealing beforeSealing
	sealing.do = func() {
		sealing.do = func() {}
		done := make(chan struct{})
		go func() {
			_, err := w.b.RecordMetrics(w.Context(), []exportops.Metric{metricOf(export, exportops.Completed, 1)})
			close(done)
			recorded <- err
		}()
		for w.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	s, err := open(t.Context(), Options{URL: w.url}, &sealing)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	d, err := s.DeleteLogRows(t.Context(), cp, rows, nil)
	must(t, err)
	must(t, <-recorded)
	if len(d.Gone) != 1 || !d.Gone[0] {
		t.Errorf("gone: %v", d.Gone)
	}
	if n := w.count(`SELECT count(*) FROM exportops.rollup_hours WHERE sealed AND NOT clean`); n != 0 {
		t.Errorf("%d hours are sealed that do not count what was reported to them", n)
	}
	if n := w.count(`SELECT count(*) FROM exportops.export_metrics WHERE export_id = $1::uuid`, export); n != 1 {
		t.Errorf("%d metrics of the event are left", n)
	}
}

func TestLoneMetrics(t *testing.T) {
	// lone is a metric that no row stands for, counted at noon.
	lone := func(w *world) string {
		w.Helper()
		export := exportops.NewID()
		w.noonExists()
		w.record(w.a, metricOf(export, exportops.Completed, 1))()
		w.now(`UPDATE exportops.rollup_hours SET clean = true`)
		return export
	}
	remove := func(w *world) <-chan int64 {
		w.Helper()
		c := w.begin(w.a, exportops.LogCleanup, noon)
		done := make(chan int64, 1)
		go func() {
			n, _, err := w.a.DeleteLoneMetrics(w.Context(), c, exportops.LogSelection{Cut: after(noon, 24*time.Hour)}, "", 100, nil)
			if err != nil {
				w.Error(err)
			}
			done <- n
		}()
		return done
	}
	t.Run("an_hour_that_one_moves_to_meanwhile_is_not_sealed_while_somebody_reports_to_it", func(t *testing.T) {
		w := newWorld(t)
		lone(w)
		one := after(noon, time.Hour).String()
		w.now(`INSERT INTO exportops.rollup_hours (start, clean) VALUES ($1::timestamptz, true)`, one)
		first, second := w.app(), w.app()
		w.exec(first, `SELECT 1 FROM exportops.rollup_hours WHERE start = $1::timestamptz FOR UPDATE`, noon.String())
		done := remove(w)
		w.blockedBy(first, 1) // it has found the metric, and locks the hours that count it
		w.exec(first, `UPDATE exportops.export_metrics SET counted_hour = $1::timestamptz`, one)
		w.exec(second, `UPDATE exportops.rollup_hours SET clean = false, version = version + 1 WHERE start = $1::timestamptz`, one)
		waits := w.waiting(second)
		w.commit(first)
		select {
		case <-waits: // it is about to seal that hour, which looked clean
			w.commit(second)
			<-done
		case <-done:
			w.commit(second)
		}
		if n := w.count(`SELECT count(*) FROM exportops.rollup_hours WHERE sealed AND NOT clean`); n != 0 {
			t.Fatal("an hour is sealed that does not count what was reported to it")
		}
	})
	t.Run("one_whose_row_is_being_added_stays", func(t *testing.T) {
		w := newWorld(t)
		export := lone(w)
		tx := w.app()
		w.exec(tx, dueRow, export, noon.String(), after(noon, time.Hour).String())
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, lockExports, int32(turnOf(export)))
		done := remove(w)
		select {
		case n := <-done:
			t.Fatalf("%d were deleted, of an export that somebody decides about", n)
		case <-w.waiting(tx):
		}
		w.commit(tx)
		if n := <-done; n != 0 {
			t.Fatalf("%d were deleted", n)
		}
	})
}
