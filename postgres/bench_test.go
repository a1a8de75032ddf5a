package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// analyzed makes the planner know the tables, as autovacuum does in time.
func (w *world) analyzed() {
	w.Helper()
	w.now(`VACUUM ANALYZE`)
}

// dueAtScale inserts completed exports of which the last due ones are expired,
// each a second after the one before, a microsecond apart from the full one.
func (w *world) dueAtScale(n, due int) {
	w.Helper()
	w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
			file_url, expires_at, created_at, updated_at)
		SELECT gen_random_uuid() AS export, gen_random_uuid() AS owner, t.at, 'csv', '{"scope":"all"}', 10, 1000, 'completed', 'a/' || i,
			t.at + interval '24 hours' + interval '1 microsecond', t.at, t.at + interval '2 seconds'
		FROM generate_series(1, $1::int) i
			CROSS JOIN LATERAL (SELECT $3::timestamptz - interval '24 hours' + (i - $2::int) * interval '1 second' AS at) t`,
		n, due, noon.String())
	w.analyzed()
}

// BenchmarkClaimAndSettle deletes the files of 100,000 due exports among as many
// that are not due, in batches of 1000, with a storage that takes no time.
func BenchmarkClaimAndSettle(b *testing.B) {
	const due = 100_000
	for range b.N {
		b.StopTimer()
		w := newWorld(b)
		w.dueAtScale(2*due, due)
		c := w.begin(w.a, exportops.FileCleanup, noon)
		r := claimAllOf(nil)
		r.Limit = 1000
		b.StartTimer()
		done := 0
		for {
			page := w.claim(w.a, c, r)
			batch := make([]exportops.Settlement, len(page.Claims))
			for i, claim := range page.Claims {
				batch[i] = exportops.Settlement{Claim: claim, State: exportops.DeletionDone, Evidence: "confirmed"}
			}
			out, err := w.a.Settle(b.Context(), c, batch)
			must(b, err)
			for _, s := range out {
				if s.RowExpired {
					done++
				}
			}
			if r.After = page.Next; r.After == "" {
				break
			}
		}
		if done < due-2 {
			b.Fatalf("%d of %d rows expired", done, due)
		}
	}
	b.ReportMetric(float64(due)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// oldLogs inserts a million rows that may all go, with their metrics and hours,
// and an entry of the ledger for every tenth.
func (w *world) oldLogs(n int) {
	w.Helper()
	w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
			file_url, expires_at, created_at, updated_at)
		SELECT gen_random_uuid() AS export, gen_random_uuid() AS owner, t.at, 'csv', '{"scope":"all"}', 10, 1000, 'expired',
			CASE WHEN i % 10 = 0 THEN 'a/' || i END, t.at + interval '24 hours', t.at, t.at + interval '2 seconds'
		FROM generate_series(1, $1::int) i
			CROSS JOIN LATERAL (SELECT $2::timestamptz - i * interval '1 second' AS at) t`, n, noon.String())
	w.now(`INSERT INTO exportops.export_metrics (export_id, user_id, format, status, attempt, source, conversation_count, duration_ms,
			timestamp, received_at, outcome, counted_hour)
		SELECT e.export_id, e.user_id, e.format, 'completed', 1, 'measured', 10, 2000, e.timestamp, e.timestamp AS received, true,
			date_trunc('hour', e.timestamp, 'UTC') FROM public.export_logs e`)
	w.now(`INSERT INTO exportops.rollup_hours (start, version, clean)
		SELECT DISTINCT date_trunc('hour', e.timestamp, 'UTC'), 1, true FROM public.export_logs e`)
	w.now(`INSERT INTO exportops.deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at, row_status,
			run_id, token, attempts, claimed_at, finished_at)
		SELECT e.export_id, e.user_id, 'expiry', 'deleted', 's', 'b', e.file_url AS key, e.file_url, e.expires_at, 'completed', 'r', 1, 1,
			e.expires_at, e.expires_at FROM public.export_logs e WHERE e.file_url IS NOT NULL`)
	w.analyzed()
}

// BenchmarkDeleteLogRows deletes a million old rows as a log cleanup does: a page
// is read while the one before is deleted. Beside it, what a bare DELETE of the
// same rows, and of the same rows and their metrics, takes.
func BenchmarkDeleteLogRows(b *testing.B) {
	const old = 1_000_000
	bare := func(b *testing.B, queries ...string) {
		for range b.N {
			b.StopTimer()
			w := newWorld(b)
			w.oldLogs(old)
			b.StartTimer()
			for _, q := range queries {
				w.now(q, noon.String())
			}
		}
		b.ReportMetric(float64(old)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("bare", func(b *testing.B) { bare(b, `DELETE FROM public.export_logs WHERE timestamp < $1::timestamptz`) })
	b.Run("bare_with_metrics", func(b *testing.B) {
		bare(b, `DELETE FROM exportops.export_metrics m USING public.export_logs e
			WHERE m.export_id = e.export_id AND e.timestamp < $1::timestamptz`,
			`DELETE FROM public.export_logs WHERE timestamp < $1::timestamptz`)
	})
	b.Run("ours", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			w := newWorld(b)
			w.oldLogs(old)
			c := w.begin(w.a, exportops.LogCleanup, noon)
			b.StartTimer()
			if n := w.deleteOld(b, c); n != old {
				b.Fatalf("%d of %d rows are gone", n, old)
			}
		}
		b.ReportMetric(float64(old)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

func (w *world) deleteOld(b *testing.B, c exportops.Checkpoint) (n int) {
	type page struct {
		rows []exportops.LogRow
		next exportops.Cursor
		took time.Duration
	}
	read := func(at exportops.Cursor) chan page {
		ahead := make(chan page, 1)
		go func() {
			began := time.Now()
			rows, next, err := w.a.LogRows(b.Context(), exportops.LogSelection{Cut: noon}, at, 1000)
			if err != nil {
				b.Error(err)
			}
			ahead <- page{rows, next, time.Since(began)}
		}()
		return ahead
	}
	var reading, deleting time.Duration
	for ahead := read(""); ; {
		p := <-ahead
		reading += p.took
		if p.next != "" {
			ahead = read(p.next)
		}
		for _, r := range p.rows {
			if v := exportops.JudgeRow(r, r.FileURL == nil, noon); v != exportops.DeleteRow {
				b.Fatalf("%+v is %s", r, v)
			}
		}
		d, err := w.a.DeleteLogRows(b.Context(), c, p.rows, nil)
		must(b, err)
		deleting += d.Took
		for _, gone := range d.Gone {
			if gone {
				n++
			}
		}
		if p.next == "" {
			b.ReportMetric(reading.Seconds(), "s-reading")
			b.ReportMetric(deleting.Seconds(), "s-deleting")
			return n
		}
	}
}
