package recorder_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

// TestEveryMetricIsCountedOnce lets many callers log into a sink that fails,
// refuses, hangs and forgets to answer, as chance has it.
func TestEveryMetricIsCountedOnce(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			s := unreliable(rng)
			r := recorder.New(s, recorder.Options{
				Capacity: 1 + rng.IntN(200), BatchSize: 1 + rng.IntN(50),
				Delay:    time.Duration(rng.IntN(100)) * time.Millisecond,
				RetryMax: time.Second, SendTimeout: time.Second,
				OnLoss: func(*recorder.LossError) {}, LossInterval: 50 * time.Millisecond,
			})
			const callers, each = 8, 100
			returned := make([]int64, callers) // errors that Log returned
			var wg sync.WaitGroup
			for c := range callers {
				rng := rand.New(rand.NewPCG(seed, uint64(c)+2))
				wg.Go(func() {
					for range each {
						m := metric()
						if rng.IntN(20) == 0 {
							m.Status = exportops.Expired
						}
						if r.Log(m) != nil {
							returned[c]++
						}
						if rng.IntN(10) == 0 {
							time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
						}
						wantSum(t, r.Stats())
					}
				})
			}
			for range 3 { // closing in the middle, from several sides
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					time.Sleep(300 * time.Millisecond)
					if r.Close(ctx) == nil && seed == 0 {
						t.Error("nothing was lost, though this seed loses some")
					}
				})
			}
			wg.Wait()
			checkEnd(t, r.Stats(), s, callers*each, returned)
		})
	}
}

func checkEnd(t *testing.T, got recorder.Stats, s *store, logged int64, returned []int64) {
	t.Helper()
	wantSum(t, got)
	if got.Logged != logged || got.Queued != 0 {
		t.Errorf("after Close: %+v, want %d logged and none queued", got, logged)
	}
	var refusedAtOnce int64
	for _, n := range returned {
		refusedAtOnce += n
	}
	if got.Refused+got.Dropped < refusedAtOnce {
		t.Errorf("Log returned %d errors, but %+v", refusedAtOnce, got)
	}
	// A batch that is kept though its answer was lost, and then given up, is
	// counted as dropped: the store may know more than we claim, never less.
	if kept := int64(len(s.known)); kept < got.Recorded+got.Repeated {
		t.Errorf("the store holds %d, less than %+v claims", kept, got)
	}
}

func wantSum(t *testing.T, s recorder.Stats) {
	t.Helper()
	if s.Logged != s.Recorded+s.Repeated+s.Refused+s.Dropped+s.Queued {
		t.Errorf("%+v does not add up", s)
	}
}

func unreliable(rng *rand.Rand) *store {
	s := &store{}
	s.answer = func(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
		switch rng.IntN(8) {
		case 0:
			return nil, errDown
		case 1:
			s.keep(batch) // it arrived, but the answer is lost
			return nil, errDown
		case 2:
			<-ctx.Done()
			return nil, ctx.Err()
		case 3:
			return nil, &exportops.Error{Kind: exportops.KindTooLarge, Message: "too large"}
		case 4:
			receipts := s.keep(batch)
			receipts[0] = exportops.Receipt{Err: exportops.Invalid("timestamp", "too old")}
			return receipts, nil
		case 5:
			return []exportops.Receipt{}, nil
		default:
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			return nil, nil
		}
	}
	return s
}
