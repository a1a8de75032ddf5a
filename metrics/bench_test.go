package metrics_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/recorder"
	"github.com/exportops/exportops/sqlite"
)

const million = 1_000_000

var (
	benchFrom = mustTime("2025-10-01T00:00:00.000Z")
	benchTo   = exportops.At(benchFrom.Add(30 * 24 * time.Hour))
	benchNow  = exportops.At(benchTo.Add(25 * time.Hour))
)

func openBench(b *testing.B) *sqlite.Store {
	b.Helper()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

// openMillion returns a store with a million rows of 30 days and of 50,000
// users, as another program left them.
func openMillion(b *testing.B) *sqlite.Store {
	b.Helper()
	s := openBench(b)
	for _, query := range []string{
		`PRAGMA synchronous = OFF`, `PRAGMA cache_size = -100000`, `PRAGMA secure_delete = OFF`,
		`DROP INDEX export_logs_user_id`, `DROP INDEX export_logs_timestamp`, `DROP INDEX export_logs_status`,
		`DROP INDEX export_logs_format`, `DROP INDEX export_logs_expires_at`,
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1),
			t AS (SELECT i, (i * 2654435761) %% 4294967296 AS r, 1759276800000 + i * 2592 AS ms FROM n)
			INSERT INTO export_logs (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
				error_message, created_at, updated_at)
			SELECT printf('%%08x-0000-4000-8000-000000000000', i), printf('%%08x-0000-4000-8000-000000000001', i),
				printf('%%08x-0000-4000-8000-000000000002', r %% 50000),
				strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', ms / 1000.0, 'unixepoch'),
				CASE i %% 4 WHEN 0 THEN 'json' WHEN 1 THEN 'jsonl' WHEN 2 THEN 'csv' ELSE 'markdown' END, '{"scope":"all"}',
				r %% 1500, r %% 5000000, CASE WHEN r %% 20 = 0 THEN 'failed' WHEN r %% 20 < 10 THEN 'expired' ELSE 'completed' END,
				CASE WHEN r %% 20 = 0 THEN 'TimeoutError: it took too long' END,
				strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', ms / 1000.0, 'unixepoch'),
				strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', (ms + 100 + r %% 9000) / 1000.0, 'unixepoch') FROM t`, million),
		`CREATE INDEX export_logs_user_id ON export_logs (user_id)`, `CREATE INDEX export_logs_timestamp ON export_logs (timestamp DESC)`,
		`CREATE INDEX export_logs_status ON export_logs (status)`, `CREATE INDEX export_logs_format ON export_logs (format)`,
		`CREATE INDEX export_logs_expires_at ON export_logs (expires_at)`,
		`PRAGMA wal_checkpoint(TRUNCATE)`, `PRAGMA cache_size = -2000`, `PRAGMA synchronous = FULL`, `PRAGMA secure_delete = ON`,
	} {
		if _, err := s.Writer().Exec(query); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func serviceOf(s *sqlite.Store) *metrics.Service {
	return metrics.New(s, metrics.Options{Now: func() exportops.Time { return benchNow }})
}

// BenchmarkAggregateMillion sums up a million exports: from rows, as the same
// figures in bare SQL through the same driver, and from rollups. Everything is
// in one benchmark because making the rows takes longer than reading them.
func BenchmarkAggregateMillion(b *testing.B) {
	s := openMillion(b)
	m := serviceOf(s)
	aggregate := func() {
		got, err := m.Aggregate(b.Context(), benchFrom, benchTo, exportops.Daily)
		if err != nil || got.TotalExports != million || got.DistinctUsers != 50_000 {
			b.Fatalf("%d exports of %d users, %v", got.TotalExports, got.DistinctUsers, err)
		}
	}
	compare := func(b *testing.B) {
		var ours, bare, exact time.Duration
		heap := peakHeap(func() {
			for b.Loop() {
				ours += timed(aggregate)
				bare += timed(func() { bareAggregate(b, s, "") })
			}
		})
		exact = timed(func() { bareAggregate(b, s, barePercentiles) })
		n := float64(b.N)
		b.ReportMetric(ours.Seconds()*1000/n, "ms/ours")
		b.ReportMetric(bare.Seconds()*1000/n, "ms/bare")
		b.ReportMetric(ours.Seconds()/bare.Seconds(), "ours/bare")
		b.ReportMetric(exact.Seconds()*1000, "ms/bare-percentiles")
		b.ReportMetric(ours.Seconds()/n/exact.Seconds(), "ours/bare-percentiles")
		b.ReportMetric(float64(heap)/1e6, "MB-peak-heap")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("rows", func(b *testing.B) { compare(b) })
	adopted := false
	b.Run("adopt", func(b *testing.B) {
		if adopted {
			return // it can be done once
		}
		adopted = true
		var took time.Duration
		heap := peakHeap(func() {
			took = timed(func() {
				r, err := m.Roll(b.Context(), benchNow)
				if err != nil || !r.Complete || r.Observed != million {
					b.Fatalf("%+v %v", r, err)
				}
			})
		})
		b.ReportMetric(took.Seconds(), "s/million")
		b.ReportMetric(float64(heap)/1e6, "MB-peak-heap")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("rollups", func(b *testing.B) {
		for b.Loop() {
			aggregate()
		}
	})
	b.Run("rollups_without_ranking", func(b *testing.B) {
		m := metrics.New(unranked{s}, metrics.Options{Now: func() exportops.Time { return benchNow }})
		for b.Loop() {
			if got, err := m.Aggregate(b.Context(), benchFrom, benchTo, exportops.Daily); err != nil || got.TotalExports != million {
				b.Fatalf("%d exports, %v", got.TotalExports, err)
			}
		}
	})
	b.Run("volume", func(b *testing.B) {
		for b.Loop() {
			if got, err := m.Volume(b.Context(), exportops.Daily, 32); err != nil || got.TotalExports != million {
				b.Fatalf("%d exports, %v", got.TotalExports, err)
			}
		}
	})
	b.Run("figures", func(b *testing.B) {
		for b.Loop() {
			if got, err := m.Figures(b.Context(), exportops.Window{Last: 30 * 24 * time.Hour}); err != nil || got[0].Finished() < million*9/10 {
				b.Fatalf("%d exports, %v", got[0].Finished(), err)
			}
		}
	})
	b.Run("nothing_new", func(b *testing.B) { // an hourly run with nothing to do
		for b.Loop() {
			if _, err := m.Roll(b.Context(), benchNow); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rows_with_metrics", func(b *testing.B) {
		if _, err := s.Writer().Exec(`DELETE FROM exportops_rollup_hours; DELETE FROM exportops_rollup_days`); err != nil {
			b.Fatal(err)
		}
		compare(b)
	})
}

// unranked leaves the ranking by user away.
type unranked struct{ *sqlite.Store }

func (unranked) TopUsers(context.Context, exportops.ReadPlan, int) ([]exportops.UserCount, int64, error) {
	return nil, 0, nil
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// peakHeap samples the memory in use while f runs.
func peakHeap(f func()) (most uint64) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most
}

// bareFrom is what an aggregate by hand would read: the same rule of what an
// export counts as, and nothing more.
const bareFrom = ` FROM (SELECT coalesce(m.format, e.format) AS format, coalesce(m.user_id, e.user_id) AS user_id,
	coalesce(m.conversation_count, e.conversation_count) AS n,
	coalesce(m.status, CASE e.status WHEN 'expired' THEN 'completed' ELSE e.status END) AS status,
	coalesce(m.duration_ms, CASE WHEN e.status IN ('completed', 'failed')
		THEN CAST(round((julianday(e.updated_at) - julianday(e.created_at)) * 86400000) AS INTEGER) END) AS duration_ms,
	coalesce(m.file_size_bytes, e.file_size) AS size,
	coalesce(m.error_type, substr(e.error_message, 1, instr(e.error_message, ':') - 1)) AS error
	FROM export_logs e LEFT JOIN exportops_export_metrics m ON m.export_id = e.export_id AND m.outcome = 1
		AND m.status IN ('completed', 'failed')
	WHERE e.timestamp >= ?1 AND e.timestamp < ?2
	UNION ALL
	SELECT m.format, m.user_id, m.conversation_count, m.status, m.duration_ms, m.file_size_bytes, m.error_type
	FROM exportops_export_metrics m WHERE m.outcome = 1 AND m.timestamp >= ?1 AND m.timestamp < ?2
		AND NOT EXISTS (SELECT 1 FROM export_logs e WHERE e.export_id = m.export_id))`

const bareRange = `CASE WHEN n < 100 THEN 'small' WHEN n < 500 THEN 'medium' WHEN n < 1000 THEN 'large' ELSE 'xlarge' END`

const barePercentiles = `SELECT format, max(CASE WHEN r <= c / 2 THEN duration_ms END), max(CASE WHEN r <= c * 95 / 100 THEN duration_ms END),
	max(CASE WHEN r <= c * 99 / 100 THEN duration_ms END) FROM (
		SELECT format, duration_ms, row_number() OVER (PARTITION BY format ORDER BY duration_ms) AS r,
			count(*) OVER (PARTITION BY format) AS c` + bareFrom + ` WHERE status = 'completed' AND duration_ms IS NOT NULL)
	GROUP BY format`

// bareAggregate asks for the same figures in as few statements as it takes.
func bareAggregate(b *testing.B, s *sqlite.Store, more string) {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+s.Path()+"?mode=ro")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	figures := `count(*), sum(status = 'completed'), sum(status = 'failed'),
		avg(CASE WHEN status = 'completed' THEN duration_ms END), avg(CASE WHEN status = 'completed' THEN size END),
		max(CASE WHEN status = 'completed' THEN size END)`
	queries := []string{
		// By format and count range at once: the rest is adding up.
		`SELECT format, ` + bareRange + `, ` + figures + bareFrom + ` GROUP BY 1, 2`,
		`SELECT user_id, count(*), count(*) OVER ()` + bareFrom + ` GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT 100`,
		`SELECT error, count(*)` + bareFrom + ` WHERE status = 'failed' GROUP BY error`,
	}
	if more != "" {
		queries = append(queries, more)
	}
	// As parallel as ours.
	var wg sync.WaitGroup
	for _, q := range queries {
		wg.Go(func() {
			rows, err := db.QueryContext(b.Context(), q, benchFrom.String(), benchTo.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer rows.Close()
			for rows.Next() {
			}
			if err := rows.Err(); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkRecord measures durable events: each call returns after its commit
// is synced.
func BenchmarkRecord(b *testing.B) {
	metric := func() exportops.Metric {
		n := int64(2500)
		return exportops.Metric{
			ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.JSONL, Status: exportops.Completed,
			ConversationCount: 150, DurationMS: &n, FileSizeBytes: &n, Timestamp: benchNow,
		}
	}
	b.Run("single_by_32_callers", func(b *testing.B) {
		m := serviceOf(openBench(b))
		var next atomic.Int64
		b.ResetTimer()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for next.Add(1) <= int64(b.N) {
					if r, err := m.Record(b.Context(), []exportops.Metric{metric()}); err != nil || !r[0].New {
						b.Errorf("%+v %v", r, err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("batches_of_500", func(b *testing.B) {
		m := serviceOf(openBench(b))
		for b.Loop() {
			batch := make([]exportops.Metric, 500)
			for i := range batch {
				batch[i] = metric()
			}
			if _, err := m.Record(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("through_the_recorder", func(b *testing.B) {
		r := recorder.New(serviceOf(openBench(b)), recorder.Options{})
		b.ReportAllocs()
		for b.Loop() {
			if err := r.Log(metric()); err != nil {
				b.Fatal(err)
			}
			if r.Stats().Queued == 5000 { // the queue is faster than the disk
				if err := r.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := r.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if n := r.Stats().Recorded; n < int64(b.N) {
			b.Fatalf("%d of %d were recorded", n, b.N)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
