package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testStatistics(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	want := func(eligible int64, oldest *exportops.Time) exportops.LogStatistics {
		t.Helper()
		got, err := f.Store.LogStatistics(t.Context(), noon)
		must(t, err)
		if d := cmp.Diff(exportops.LogStatistics{
			EligibleForCleanup: eligible, OldestLogDate: oldest, CutoffDate: noon, TotalSizeEstimateMB: got.TotalSizeEstimateMB,
		}, got); d != "" || (got.TotalSizeEstimateMB > 0) != (eligible > 0) {
			t.Fatalf("(-want +got):\n%s\nestimated %v MB", d, got.TotalSizeEstimateMB)
		}
		return got
	}
	want(0, nil)
	before := after(noon, -time.Millisecond)
	for _, s := range exportops.Statuses {
		for _, url := range []*string{nil, ptr(""), ptr("a/b")} {
			f.Insert(t, Row{Status: string(s), FileURL: url}.Complete(before), Row{Status: string(s), FileURL: url}.Complete(noon))
		}
	}
	// Failed and expired with or without a file, and completed without one.
	want(3+3+2, &before)
	for _, text := range unreadableIn(f) {
		if text != "" {
			f.Insert(t, Row{Status: "failed", Timestamp: text, CreatedAt: before.String()}.Complete(noon))
		}
	}
	small := want(8, &before) // nobody knows how old those are
	oldest := after(noon, -5000*time.Hour)
	f.Insert(t, Row{Status: "queued"}.Complete(oldest))
	want(8, &oldest)
	f.Exec(t, `UPDATE {logs} SET config = ? WHERE status = 'expired'`, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`)
	if big := want(8, &oldest); big.TotalSizeEstimateMB < small.TotalSizeEstimateMB+3 {
		t.Fatalf("three megabytes more are estimated at %v MB, after %v", big.TotalSizeEstimateMB, small.TotalSizeEstimateMB)
	}
}
