package sqlite_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// BenchmarkChainDeletions links 100,000 entries, and verifies them.
func BenchmarkChainDeletions(b *testing.B) {
	const entries = 100_000
	now := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	for b.Loop() {
		b.StopTimer()
		f := openFixture(b)
		f.Exec(b, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, file_url, row_status, run_id, token,
				attempts, claimed_at, finished_at)
			SELECT hex(randomblob(18)) AS export, hex(randomblob(18)), 'expiry', 'deleted', 'file:///srv/exports', 'exports', 'a/' || i, 'a/' || i,
				'completed', 'r', 1, 1, ?, ? FROM n`, entries, now.String(), now.String())
		_, fence, _, err := f.Store.BeginRun(b.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: "x", Params: []byte(`{}`), Trigger: exportops.ByCommand, Now: now, Lease: time.Hour,
		})
		if err != nil {
			b.Fatal(err)
		}
		cp := exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Hour}
		var longest time.Duration
		b.StartTimer()
		began := time.Now()
		for last, more := int64(0), true; more; more = last != 0 {
			one := time.Now()
			if _, last, err = f.Store.ChainDeletions(b.Context(), cp, last, 1000); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(one))
		}
		linked := time.Now()
		r, err := exportops.VerifyChain(b.Context(), f.Store, 0, exportops.At(linked))
		if err != nil || r.Links != entries || len(r.Breaks) != 0 {
			b.Fatal(r, err)
		}
		b.ReportMetric(entries/linked.Sub(began).Seconds(), "linked/s")
		b.ReportMetric(entries/time.Since(linked).Seconds(), "verified/s")
		b.ReportMetric(float64(longest.Milliseconds()), "ms/longest")
	}
}
