package metrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
)

// events keeps what was emitted, as it would be logged.
type events struct {
	mu  sync.Mutex
	all []string
}

func (e *events) Emit(t exportops.EventType, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, string(t)+" "+string(b))
}

// recordOnly is a store of which only RecordMetrics is used.
type recordOnly struct {
	metrics.Store
	record func(context.Context, []exportops.Metric) ([]exportops.Receipt, error)
}

func (r recordOnly) RecordMetrics(ctx context.Context, b []exportops.Metric) ([]exportops.Receipt, error) {
	return r.record(ctx, b)
}

var noon = mustTime("2025-10-31T12:00:00.000Z")

func fixed() exportops.Time { return noon }

func aMetric() exportops.Metric {
	return exportops.Metric{
		ExportID: exportops.NewID(), UserID: users[0], Format: exportops.JSONL, Status: exportops.Completed,
		ConversationCount: 150, DurationMS: ptr(int64(2500)), FileSizeBytes: ptr(int64(524288)),
	}
}

func allNew(n int) []exportops.Receipt {
	r := make([]exportops.Receipt, n)
	for i := range r {
		r[i].New = true
	}
	return r
}

func openService(t *testing.T, e exportops.Events, retention time.Duration) (*metrics.Service, *sqlite.Store) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.Migrate(t.Context()))
	return metrics.New(s, metrics.Options{Events: e, Now: fixed, Retention: retention}), s
}

func TestRecordEmitsOneEventForEachNewMetric(t *testing.T) {
	e := &events{}
	m, _ := openService(t, e, 24*time.Hour)
	x := aMetric()
	x.ExportID = strings.ToUpper(x.ExportID)
	invalid, old := aMetric(), aMetric()
	invalid.Format = "xml"
	old.Timestamp = exportops.At(noon.Add(-25 * time.Hour))
	got, err := m.Record(t.Context(), []exportops.Metric{x, invalid, x, old})
	must(t, err)
	if !got[0].New || got[2].New || got[2].Err != nil {
		t.Fatalf("receipts %+v", got)
	}
	for i, field := range map[int]string{1: "format", 3: "timestamp"} {
		var e *exportops.Error
		if !errors.As(got[i].Err, &e) || e.Kind != exportops.KindInvalid || e.Field != field {
			t.Errorf("metric %d: %v, want it refused for its %s", i, got[i].Err, field)
		}
	}
	want := []string{`export_metric {"export_id":"` + strings.ToLower(x.ExportID) + `","user_id":"` + x.UserID +
		`","format":"jsonl","status":"completed","conversation_count":150,"duration_ms":2500,"file_size_bytes":524288,` +
		`"attempt":1,"timestamp":"2025-10-31T12:00:00.000Z","count_range":"medium"}`}
	if d := cmp.Diff(want, e.all); d != "" {
		t.Fatalf("events (-want +got):\n%s", d)
	}
}

func TestCallersShareTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		m := metrics.New(recordOnly{record: func(_ context.Context, b []exportops.Metric) ([]exportops.Receipt, error) {
			time.Sleep(time.Second) // of the bubble
			sizes = append(sizes, len(b))
			return allNew(len(b)), nil
		}}, metrics.Options{})
		var callers sync.WaitGroup
		for i := range 40 {
			callers.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if r, err := m.Record(t.Context(), []exportops.Metric{aMetric()}); err != nil || !r[0].New {
					t.Errorf("%+v %v", r, err)
				}
			})
		}
		callers.Wait()
		if d := cmp.Diff([]int{1, 39}, sizes); d != "" {
			t.Fatalf("metrics a transaction (-want +got):\n%s", d)
		}
	})
}

func TestACallerThatLeavesTakesNothingAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &events{}
		m := metrics.New(recordOnly{record: func(ctx context.Context, b []exportops.Metric) ([]exportops.Receipt, error) {
			time.Sleep(time.Second)
			return allNew(len(b)), ctx.Err()
		}}, metrics.Options{Events: e})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var other sync.WaitGroup
		other.Go(func() {
			if _, err := m.Record(t.Context(), []exportops.Metric{aMetric()}); err != nil {
				t.Error(err)
			}
		})
		if _, err := m.Record(ctx, []exportops.Metric{aMetric()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the caller's own", err)
		}
		other.Wait()
		time.Sleep(5 * time.Second)
		synctest.Wait() // after the last that is emitted, which nobody waits for
		if len(e.all) != 2 {
			t.Fatalf("%d events, want those of both callers", len(e.all))
		}
	})
}

func TestOneCallersMetricsDoNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poison := aMetric()
		m := metrics.New(recordOnly{record: func(_ context.Context, b []exportops.Metric) ([]exportops.Receipt, error) {
			time.Sleep(time.Second)
			for _, x := range b {
				if x.ExportID == poison.ExportID {
					return nil, errors.New("constraint failed")
				}
			}
			return allNew(len(b)), nil
		}}, metrics.Options{})
		var callers sync.WaitGroup
		for i := range 5 {
			callers.Go(func() {
				x := aMetric()
				if i == 3 {
					x = poison
				}
				if _, err := m.Record(t.Context(), []exportops.Metric{x}); (err != nil) != (i == 3) {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		callers.Wait()
	})
}

func TestTooManyThatWaitAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(recordOnly{record: func(_ context.Context, b []exportops.Metric) ([]exportops.Receipt, error) {
			time.Sleep(time.Second)
			return allNew(len(b)), nil
		}}, metrics.Options{})
		batch := make([]exportops.Metric, 500)
		for i := range batch {
			batch[i] = aMetric()
		}
		var callers sync.WaitGroup
		var refused int
		var mu sync.Mutex
		for range 50 {
			callers.Go(func() {
				if _, err := m.Record(t.Context(), batch); err != nil {
					mu.Lock()
					defer mu.Unlock()
					refused++
					if !exportops.IsKind(err, exportops.KindUnavailable) {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		// 20,000 fit in the queue, and perhaps one batch more was on its way.
		if refused != 10 && refused != 9 {
			t.Fatalf("%d of 50 batches were turned away", refused)
		}
	})
}
