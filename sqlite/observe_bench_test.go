package sqlite_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/storetest"
)

// BenchmarkObserveOneMoment freezes rows that one statement gave one timestamp.
func BenchmarkObserveOneMoment(b *testing.B) {
	const rows = 25_000
	at := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		f := openFixture(b)
		all := make([]storetest.Row, rows)
		for i := range all {
			all[i] = storetest.Row{}.Complete(at)
		}
		f.Insert(b, all...)
		b.StartTimer()
		n, err := f.Store.Observe(b.Context(), exportops.Span{From: at, To: exportops.At(at.Add(time.Hour))}, at)
		if err != nil || n != rows {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
