package metrics_test

import (
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// Reports arrive, rows finish behind our back, and two aggregators work at
// once: in the end nothing is counted twice or left out.
func TestNothingIsLostBetweenReportsAndAggregators(t *testing.T) {
	_, s := openService(t, nil, 0)
	now := exportops.At(noon.Add(3 * time.Hour))
	m := metrics.New(s, metrics.Options{Now: func() exportops.Time { return now }})
	const reporters, each = 3, 60
	var reporting, rolling sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		rolling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := m.Roll(t.Context(), now); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for r := range reporters {
		reporting.Go(func() {
			for i := range each {
				x := aMetric()
				x.Timestamp = exportops.At(noon.Add(time.Duration(i%3) * time.Hour))
				batch := []exportops.Metric{x}
				if r == 0 {
					x.Attempt, x.Status = 2, exportops.Failed
					batch = append(batch, x)
				}
				if _, err := m.Record(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
				_, err := s.Writer().ExecContext(t.Context(), `INSERT INTO export_logs (export_id, user_id, timestamp, format, config,
					conversation_count, status) VALUES (?, 'u', ?, 'csv', '{}', 1, 'completed')`, exportops.NewID(), x.Timestamp.String())
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	reporting.Wait()
	close(stop)
	rolling.Wait()
	if r, err := m.Roll(t.Context(), now); err != nil || !r.Complete {
		t.Fatalf("%+v %v", r, err)
	}
	var total, failed int64
	for c, err := range s.Cells(t.Context(), exportops.Hourly, exportops.Span{From: noon, To: now}) {
		must(t, err)
		total, failed = total+c.Completed+c.Failed, failed+c.Failed
	}
	if total != 2*reporters*each || failed != each {
		t.Fatalf("%d exports in rollups, %d failed; want %d and %d", total, failed, 2*reporters*each, each)
	}
	states, err := s.HourStates(t.Context(), exportops.Span{From: noon, To: now})
	must(t, err)
	for _, h := range states {
		if !h.Clean {
			t.Errorf("hour %s is dirty", h.Start)
		}
	}
}
