package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// BenchmarkRecord stores metrics of new exports in batches of 500, each durable
// before the next. It says as much of the disk as of the server.
func BenchmarkRecord(b *testing.B) {
	const size = 500
	s := openStore(b, newDatabase(b))
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		batch := make([]exportops.Metric, size)
		for i := range batch {
			batch[i] = metricOf(exportops.NewID(), exportops.Completed, 1)
		}
		b.StartTimer()
		_, err := s.RecordMetrics(b.Context(), batch)
		must(b, err)
	}
	b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "metrics/s")
}

// BenchmarkAggregateMillion aggregates a million rows that nothing is rolled up
// of, beside the same in bare SQL.
func BenchmarkAggregateMillion(b *testing.B) {
	w := newWorld(b)
	w.now(`INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
			error_message, created_at, updated_at)
		SELECT gen_random_uuid(), md5((i % 5000)::text)::uuid, t.at, (ARRAY['json', 'jsonl', 'csv', 'markdown'])[1 + i % 4], '{}', i % 1500,
			i % 100000, CASE WHEN i % 20 = 0 THEN 'failed' ELSE 'completed' END, CASE WHEN i % 20 = 0 THEN 'TimeoutError: x' END,
			t.at, t.at + (i % 5000) * interval '1 millisecond'
		FROM generate_series(0, 999999) i
			CROSS JOIN LATERAL (SELECT $1::timestamptz + i * interval '2 seconds' AS at) t`, noon.String())
	w.analyzed()
	end := after(noon, 2_000_000*time.Second)
	b.Run("ours", func(b *testing.B) {
		m := metrics.New(w.a, metrics.Options{Events: exportops.NoEvents{}, Now: func() exportops.Time { return end }})
		for range b.N {
			sum, err := m.Aggregate(b.Context(), noon, end, exportops.Daily)
			must(b, err)
			if sum.TotalExports != 1_000_000 || sum.FailedExports != 50_000 {
				b.Fatalf("%+v", sum)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for range b.N {
			for _, query := range []string{
				`SELECT format, conversation_count < 100, count(*), count(*) FILTER (WHERE status = 'failed'), avg(file_size), max(file_size),
					avg(extract(epoch FROM updated_at - created_at)),
					percentile_cont('{0.5,0.95,0.99}'::float[]) WITHIN GROUP (ORDER BY extract(epoch FROM updated_at - created_at)),
					percentile_cont('{0.5,0.95,0.99}'::float[]) WITHIN GROUP (ORDER BY file_size)
				FROM public.export_logs WHERE timestamp >= $1::timestamptz AND timestamp < $2::timestamptz GROUP BY 1, 2`,
				`SELECT user_id, count(*) FROM public.export_logs WHERE timestamp >= $1::timestamptz AND timestamp < $2::timestamptz
				GROUP BY 1 ORDER BY 2 DESC LIMIT 100`,
				`SELECT split_part(error_message, ':', 1), count(*) FROM public.export_logs
				WHERE timestamp >= $1::timestamptz AND timestamp < $2::timestamptz AND status = 'failed' GROUP BY 1`,
			} {
				w.now(query, noon.String(), end.String())
			}
		}
	})
}
