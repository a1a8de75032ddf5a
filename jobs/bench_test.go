package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
)

// rig is a whole installation, whose transactions are timed.
type rig struct {
	*sqlite.Store
	dir     string
	metrics *metrics.Service
	runner  *jobs.Runner

	mu    sync.Mutex
	locks []time.Duration // how long each transaction of a cleanup took, with the wait for it
}

type silent struct{}

func (silent) Emit(exportops.EventType, any) {}

func newRig(b *testing.B) *rig {
	b.Helper()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "bench.db"), Create: true})
	check(b, err)
	b.Cleanup(func() { _ = s.Close() })
	check(b, s.Migrate(b.Context()))
	r := &rig{Store: s, dir: b.TempDir()}
	files, err := disk.Open(r.dir)
	check(b, err)
	b.Cleanup(func() { _ = files.Close() })
	r.metrics = metrics.New(s, metrics.Options{Events: silent{}})
	r.runner = jobs.New(jobs.Options{
		Store: r, Files: files, Locator: exportops.Locator{Bucket: "exports", Root: r.dir}, Metrics: r.metrics,
		Events: silent{}, Now: time.Now, LogRetention: 30 * 24 * time.Hour,
	})
	return r
}

func (r *rig) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locks = append(r.locks, d)
}

// DeleteLogRows is timed from when it has the writer to its commit.
func (r *rig) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (exportops.LogDeletion, error) {
	d, err := r.Store.DeleteLogRows(ctx, c, rows, progress)
	r.took(d.Took)
	return d, err
}

// Settle is timed.
func (r *rig) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) ([]exportops.Settled, error) {
	began := time.Now()
	defer func() { r.took(time.Since(began)) }()
	return r.Store.Settle(ctx, c, batch)
}

var _ cleanup.Store = (*rig)(nil)

// fill writes rows by one statement of SQL.
func (r *rig) fill(b *testing.B, query string) {
	b.Helper()
	_, err := r.Writer().ExecContext(b.Context(), query)
	check(b, err)
	_, err = r.Writer().ExecContext(b.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
	check(b, err)
}

// randomID is an id as applications have them: rows that were made one after the
// other lie far apart in an index of ids.
const randomID = `lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
	|| substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`

// BenchmarkFileCleanup10000 cleans 10,000 files of 100 folders with the whole
// job. scripts/compare.sh puts find -delete beside it.
func BenchmarkFileCleanup10000(b *testing.B) {
	const files = 10_000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r := newRig(b)
		r.fill(b, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1)
			INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
				file_url, expires_at, created_at, updated_at)
			SELECT %s, %[2]s, '2025-10-01T00:00:00.000Z', 'json', '{}', 10, 512, 'completed',
				'user-' || (i %% 100) || '/' || i || '.json', strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', 1759363200 + (i * 7919) %% %[1]d, 'unixepoch'),
				'2025-10-01T00:00:00.000Z', '2025-10-01T00:00:02.000Z' FROM n`, files, randomID))
		for i := range files {
			name := filepath.Join(r.dir, fmt.Sprintf("user-%d", i%100), fmt.Sprintf("%d.json", i))
			if i < 100 {
				check(b, os.Mkdir(filepath.Dir(name), 0o750))
			}
			check(b, os.WriteFile(name, make([]byte, 512), 0o600))
		}
		b.StartTimer()
		a, err := r.runner.Run(b.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
		if err != nil || a.Result.Files.DeletedCount != files {
			b.Fatalf("%+v %v", a.Result.Files, err)
		}
	}
	b.ReportMetric(files*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

// BenchmarkLogCleanup deletes old log rows, once rolled up before and once never
// seen, while an application goes on to record one metric every 20 ms.
// scripts/compare.sh puts the DELETE of the sqlite3 shell beside it.
func BenchmarkLogCleanup(b *testing.B) {
	for _, rows := range []int{50_000, 200_000, 1_000_000} {
		for _, seen := range []bool{true, false} {
			name := fmt.Sprintf("%d_rows_never_seen", rows)
			if seen {
				name = fmt.Sprintf("%d_rows_rolled_up_before", rows)
			}
			b.Run(name, func(b *testing.B) {
				if testing.Short() && rows > 50_000 {
					b.Skip("making a million rows takes minutes")
				}
				var ingest, locks []time.Duration
				for b.Loop() {
					b.StopTimer()
					r := oldLogs(b, rows)
					if seen {
						_, err := r.metrics.Roll(b.Context(), exportops.At(time.Now()))
						check(b, err)
					}
					stop := make(chan struct{})
					waits := make(chan []time.Duration)
					go func() { waits <- r.ingest(b, stop) }()
					b.StartTimer()
					a, err := r.runner.Run(b.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCommand, Force: true})
					b.StopTimer()
					close(stop)
					ingest, locks = append(ingest, <-waits...), append(locks, r.locks...)
					if err != nil || a.Result.Logs.DeletedCount != int64(rows) {
						b.Fatalf("%+v %v", a.Result.Logs, err)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
				percentiles(b, ingest, "ingest")
				percentiles(b, locks, "transaction")
			})
		}
	}
}

// oldLogs makes rows of 30 days, whose files the ledger confirms to be gone.
func oldLogs(b *testing.B, rows int) *rig {
	b.Helper()
	r := newRig(b)
	check(b, os.WriteFile(filepath.Join(r.dir, disk.MarkerFile), nil, 0o600))
	r.fill(b, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d - 1),
			t AS (SELECT i, 1759276800 + i * 2592000.0 / %[1]d AS at FROM n)
		INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, file_size, status,
			file_url, expires_at, created_at, updated_at)
		SELECT %[2]s, %[2]s, strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', at, 'unixepoch'), 'json', '{"scope":"all"}', i %% 1500, 512,
			'expired', i || '.json', strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', at + 86400, 'unixepoch'),
			strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', at, 'unixepoch'), strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ', at + 2, 'unixepoch') FROM t`,
		rows, randomID))
	r.fill(b, `INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, file_url, expires_at,
			row_status, run_id, token, attempts, claimed_at)
		SELECT export_id, user_id, 'expiry', 'deleted', 'file:///exports', 'exports', file_url AS key, file_url, expires_at,
			'completed', '00000000-0000-4000-8000-000000000000', 1, 1, expires_at FROM export_logs`)
	return r
}

// ingest records a metric every 20 ms and returns how long each took to be
// durable.
func (r *rig) ingest(b *testing.B, stop chan struct{}) (took []time.Duration) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return took
		case <-tick.C:
		}
		n := int64(2500)
		began := time.Now()
		_, err := r.metrics.Record(b.Context(), []exportops.Metric{{
			ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.JSON, Status: exportops.Completed,
			DurationMS: &n, FileSizeBytes: &n,
		}})
		if err != nil {
			b.Error(err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

func percentiles(b *testing.B, took []time.Duration, of string) {
	b.Helper()
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	for _, p := range []struct {
		name string
		at   int
	}{{"p50", len(took) / 2}, {"p99", len(took) * 99 / 100}, {"max", len(took) - 1}} {
		b.ReportMetric(took[p.at].Seconds()*1000, "ms-"+of+"-"+p.name)
	}
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
