package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = &exportops.Error{Kind: exportops.KindUnavailable, Message: "the store is down"}

// store is a sink in memory. Answer, where set, is asked before a batch is
// kept.
type store struct {
	answer func(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error)

	mu      sync.Mutex
	known   map[string]exportops.Metric
	batches []int       // sizes, of every attempt
	at      []time.Time // when each attempt came
}

func (s *store) Send(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	s.mu.Lock()
	s.batches = append(s.batches, len(batch))
	s.at = append(s.at, time.Now())
	s.mu.Unlock()
	if s.answer != nil {
		if receipts, err := s.answer(ctx, batch); receipts != nil || err != nil {
			return receipts, err
		}
	}
	return s.keep(batch), nil
}

func (s *store) keep(batch []exportops.Metric) []exportops.Receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]exportops.Metric{}
	}
	receipts := make([]exportops.Receipt, len(batch))
	for i, m := range batch {
		key := fmt.Sprint(m.ExportID, m.Status, m.Attempt)
		_, seen := s.known[key]
		receipts[i].New = !seen
		s.known[key] = m
	}
	return receipts
}

func metric() exportops.Metric {
	ms, size := int64(2500), int64(524288)
	return exportops.Metric{
		ExportID: exportops.NewID(), UserID: "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10",
		Format: exportops.JSONL, Status: exportops.Completed,
		ConversationCount: 150, DurationMS: &ms, FileSizeBytes: &size,
	}
}

func logN(t *testing.T, r *recorder.Recorder, n int) {
	t.Helper()
	for range n {
		if err := r.Log(metric()); err != nil {
			t.Fatalf("Log: %v", err)
		}
	}
}

func wantStats(t *testing.T, r *recorder.Recorder, want recorder.Stats) {
	t.Helper()
	if diff := cmp.Diff(want, r.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func wantClosed(t *testing.T, r *recorder.Recorder) {
	t.Helper()
	if err := r.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// fails answers every batch with err.
func fails(err error) func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) {
	return func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) { return nil, err }
}

func TestLog(t *testing.T) {
	t.Run("fills_in_what_may_be_missing", func(t *testing.T) {
		s := &store{}
		noon := time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)
		r := recorder.New(s, recorder.Options{Clock: func() time.Time { return noon }})
		m := metric()
		m.ExportID = "7F3C2A10-9B1E-4C55-8A54-0C1D2E3F4A5B"
		if err := r.Log(m); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, r)
		want := m
		want.ExportID, want.Attempt, want.Timestamp = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b", 1, exportops.At(noon)
		got := s.known[fmt.Sprint(want.ExportID, want.Status, want.Attempt)]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})

	t.Run("keeps_a_copy_of_its_own", func(t *testing.T) {
		s := &store{}
		r := recorder.New(s, recorder.Options{})
		m := metric()
		if err := r.Log(m); err != nil {
			t.Fatal(err)
		}
		*m.DurationMS = 1 // the caller uses its variable again
		wantClosed(t, r)
		for _, got := range s.known {
			if *got.DurationMS != 2500 {
				t.Errorf("sent a duration of %d ms, want the 2500 that were logged", *got.DurationMS)
			}
		}
	})

	t.Run("refuses_what_is_invalid", func(t *testing.T) {
		r := recorder.New(&store{}, recorder.Options{})
		m := metric()
		m.Format = "xml"
		if err := r.Log(m); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("Log of an unknown format: %v, want KindInvalid", err)
		}
		var loss *recorder.LossError
		if err := r.Close(t.Context()); !errors.As(err, &loss) || loss.Refused != 1 || loss.Refusals[0].ExportID != m.ExportID {
			t.Errorf("Close: %v, want the one refusal", err)
		}
		wantStats(t, r, recorder.Stats{Logged: 1, Refused: 1})
	})

	t.Run("returns_at_once_while_the_sink_hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &store{answer: func(ctx context.Context, _ []exportops.Metric) ([]exportops.Receipt, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			r := recorder.New(s, recorder.Options{Capacity: 4, BatchSize: 2})
			logN(t, r, 2)
			synctest.Wait() // the two are being sent now
			start := time.Now()
			logN(t, r, 2)
			if err := r.Log(metric()); !errors.Is(err, recorder.ErrFull) {
				t.Errorf("Log into a full queue: %v, want ErrFull", err)
			}
			if waited := time.Since(start); waited != 0 {
				t.Errorf("Log waited %v", waited)
			}
			wantStats(t, r, recorder.Stats{Logged: 5, Dropped: 1, Queued: 4})
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Close(ended); err == nil {
				t.Error("Close says that nothing was lost")
			}
			wantStats(t, r, recorder.Stats{Logged: 5, Dropped: 5})
		})
	})
}

func TestLogAllocatesAtMostTwice(t *testing.T) {
	r := recorder.New(&store{}, recorder.Options{Capacity: 2000, BatchSize: 2000, Delay: time.Hour})
	m := metric()
	allocs := testing.AllocsPerRun(1000, func() {
		if err := r.Log(m); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("Log allocates %v times", allocs)
	}
	wantClosed(t, r)
}

func TestBatches(t *testing.T) {
	t.Run("are_sent_when_full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &store{}
			r := recorder.New(s, recorder.Options{BatchSize: 3, Delay: time.Hour})
			logN(t, r, 7)
			synctest.Wait()
			wantStats(t, r, recorder.Stats{Logged: 7, Recorded: 6, Queued: 1})
			wantClosed(t, r)
			if diff := cmp.Diff([]int{3, 3, 1}, s.batches); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	})

	t.Run("are_sent_when_the_first_has_waited_long_enough", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &store{}
			r := recorder.New(s, recorder.Options{Delay: 50 * time.Millisecond})
			start := time.Now()
			logN(t, r, 1)
			time.Sleep(40 * time.Millisecond)
			logN(t, r, 1)
			time.Sleep(time.Second)
			wantStats(t, r, recorder.Stats{Logged: 2, Recorded: 2})
			if waited := s.at[0].Sub(start); len(s.at) != 1 || waited != 50*time.Millisecond {
				t.Errorf("%d batches, the first after %v; want one after 50ms", len(s.at), waited)
			}
			wantClosed(t, r)
		})
	})

	t.Run("that_are_too_large_are_halved", func(t *testing.T) {
		s := &store{answer: func(_ context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
			if len(batch) > 2 {
				return nil, &exportops.Error{Kind: exportops.KindTooLarge, Message: "the body is too large"}
			}
			return nil, nil
		}}
		r := recorder.New(s, recorder.Options{BatchSize: 8, Delay: time.Hour})
		logN(t, r, 8)
		wantClosed(t, r)
		if diff := cmp.Diff([]int{8, 4, 2, 2, 4, 2, 2}, s.batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		wantStats(t, r, recorder.Stats{Logged: 8, Recorded: 8})
	})
}

func TestReceipts(t *testing.T) {
	conflict := &exportops.Error{Kind: exportops.KindConflict, Field: "duration_ms", Message: "differs from what was recorded"}
	s := &store{answer: func(_ context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
		return []exportops.Receipt{{New: true}, {}, {Err: conflict}}, nil
	}}
	r := recorder.New(s, recorder.Options{})
	logN(t, r, 2)
	refused := metric()
	if err := r.Log(refused); err != nil {
		t.Fatal(err)
	}
	var loss *recorder.LossError
	if err := r.Flush(t.Context()); !errors.As(err, &loss) {
		t.Fatalf("Flush: %v, want a LossError", err)
	}
	want := &recorder.LossError{
		Refused: 1, Err: conflict,
		Refusals: []recorder.Refusal{{ExportID: refused.ExportID, Err: conflict}},
	}
	if diff := cmp.Diff(want, loss); diff != "" {
		t.Errorf("loss (-want +got):\n%s", diff)
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Errorf("a second Flush repeats the loss: %v", err)
	}
	wantStats(t, r, recorder.Stats{Logged: 3, Recorded: 1, Repeated: 1, Refused: 1})
	wantClosed(t, r)
}
