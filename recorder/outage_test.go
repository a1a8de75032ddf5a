package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

func TestOutage(t *testing.T) {
	t.Run("is_waited_out_with_growing_pauses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			end := time.Now().Add(time.Minute)
			s := &store{answer: func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) {
				if time.Now().Before(end) {
					return nil, fmt.Errorf("record: %w", errDown)
				}
				return nil, nil
			}}
			r := recorder.New(s, recorder.Options{RetryMin: time.Second, RetryMax: 8 * time.Second})
			logN(t, r, 3)
			if err := r.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
			wantStats(t, r, recorder.Stats{Logged: 3, Recorded: 3})
			for i, most := 1, time.Second; i < len(s.at); i, most = i+1, min(2*most, 8*time.Second) {
				if pause := s.at[i].Sub(s.at[i-1]); pause < most/2 || pause > most {
					t.Errorf("pause %d was %v, want %v to %v", i, pause, most/2, most)
				}
			}
			wantClosed(t, r)
		})
	})

	t.Run("is_as_long_as_the_sink_says", func(t *testing.T) {
		for asked, want := range map[time.Duration]time.Duration{
			90 * time.Second:    90 * time.Second,
			1000000 * time.Hour: 5 * time.Minute, // a sink cannot silence us for good
		} {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				s := &store{answer: func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) {
					if calls++; calls == 1 {
						return nil, fmt.Errorf("call: %w", &recorder.RetryAfterError{After: asked, Err: errDown})
					}
					return nil, nil
				}}
				r := recorder.New(s, recorder.Options{})
				logN(t, r, 1)
				if err := r.Flush(t.Context()); err != nil {
					t.Errorf("Flush: %v", err)
				}
				if pause := s.at[1].Sub(s.at[0]); pause != want {
					t.Errorf("paused %v when asked for %v, want %v", pause, asked, want)
				}
				wantClosed(t, r)
			})
		}
	})

	t.Run("is_no_refusal_and_a_refusal_no_outage", func(t *testing.T) {
		for _, kind := range []exportops.Kind{
			exportops.KindInvalid, exportops.KindNotFound, exportops.KindConflict,
			exportops.KindRefused, exportops.KindTooLarge,
		} {
			s := &store{answer: fails(&exportops.Error{Kind: kind, Message: "no"})}
			r := recorder.New(s, recorder.Options{})
			logN(t, r, 1)
			if err := r.Flush(t.Context()); !exportops.IsKind(err, kind) {
				t.Errorf("Flush: %v, want kind %s", err, kind)
			}
			if len(s.at) != 1 {
				t.Errorf("%d attempts after an answer of kind %s, want 1", len(s.at), kind)
			}
			wantStats(t, r, recorder.Stats{Logged: 1, Refused: 1})
			wantClosed(t, r)
		}
	})

	t.Run("of_a_sink_that_does_not_return_is_cut_short", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			s := &store{answer: func(ctx context.Context, _ []exportops.Metric) ([]exportops.Receipt, error) {
				if calls++; calls == 1 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return nil, nil
			}}
			r := recorder.New(s, recorder.Options{SendTimeout: 10 * time.Second})
			start := time.Now()
			logN(t, r, 1)
			if err := r.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("recorded after %v, want about the 10 s of one Send", took)
			}
			wantClosed(t, r)
		})
	})
}

func TestAnswerForTooFewIsNotTakenForSuccess(t *testing.T) {
	s := &store{answer: func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) {
		return []exportops.Receipt{{New: true}}, nil
	}}
	r := recorder.New(s, recorder.Options{})
	logN(t, r, 2)
	if err := r.Flush(t.Context()); err == nil {
		t.Error("Flush says that both are durable")
	}
	wantStats(t, r, recorder.Stats{Logged: 2, Refused: 2})
	wantClosed(t, r)
}

func TestOnLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []recorder.LossError
		var at []time.Duration
		start := time.Now()
		r := recorder.New(&store{answer: fails(errDown)}, recorder.Options{
			Capacity: 2, LossInterval: 10 * time.Second,
			OnLoss: func(e *recorder.LossError) {
				time.Sleep(time.Second) // a slow listener delays nobody
				mu.Lock()
				defer mu.Unlock()
				told, at = append(told, *e), append(at, time.Since(start))
			},
		})
		logN(t, r, 2)
		for range 100 { // every 100 ms one more than fits
			if err := r.Log(metric()); !errors.Is(err, recorder.ErrFull) {
				t.Fatalf("Log: %v, want ErrFull", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("logging took %v, want the 10 s that the caller slept", waited)
		}
		time.Sleep(5 * time.Second)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var loss *recorder.LossError
		if err := r.Close(ended); !errors.As(err, &loss) || loss.Dropped != 102 || !errors.Is(err, errDown) {
			t.Errorf("Close: %v, want 102 dropped because the store is down", err)
		}
		var dropped int64
		for _, e := range told {
			dropped += e.Dropped
		}
		if len(told) != 3 || dropped != 102 {
			t.Errorf("OnLoss was told of %d losses in %d calls (%v), want 102 in 3", dropped, len(told), at)
		}
	})
}

func TestFlush(t *testing.T) {
	t.Run("does_not_wait_for_the_batch_to_fill", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := recorder.New(&store{}, recorder.Options{Delay: time.Hour})
			logN(t, r, 3)
			start := time.Now()
			if err := r.Flush(t.Context()); err != nil {
				t.Errorf("Flush: %v", err)
			}
			if waited := time.Since(start); waited != 0 {
				t.Errorf("Flush took %v", waited)
			}
			wantStats(t, r, recorder.Stats{Logged: 3, Recorded: 3})
			wantClosed(t, r)
		})
	})

	t.Run("says_how_many_are_left_when_time_is_up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &store{answer: fails(errDown)}
			r := recorder.New(s, recorder.Options{})
			logN(t, r, 3)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := r.Flush(ctx)
			const want = "metrics still queued: 3: context deadline exceeded; the last attempt: the store is down"
			if err == nil || err.Error() != want {
				t.Errorf("Flush: %v, want %s", err, want)
			}
			wantStats(t, r, recorder.Stats{Logged: 3, Queued: 3})
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Close(ended); err == nil {
				t.Error("Close says that nothing was lost")
			}
		})
	})
}

func TestClose(t *testing.T) {
	t.Run("sends_what_is_left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := recorder.New(&store{}, recorder.Options{BatchSize: 10, Delay: time.Hour})
			logN(t, r, 25)
			wantClosed(t, r)
			wantStats(t, r, recorder.Stats{Logged: 25, Recorded: 25})
		})
	})

	t.Run("tries_once_more_in_the_middle_of_a_pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			s := &store{answer: func(context.Context, []exportops.Metric) ([]exportops.Receipt, error) {
				if calls++; calls == 1 {
					return nil, &recorder.RetryAfterError{After: time.Minute, Err: errDown}
				}
				return nil, nil
			}}
			r := recorder.New(s, recorder.Options{})
			logN(t, r, 1)
			time.Sleep(time.Second)
			start := time.Now()
			wantClosed(t, r)
			if waited := time.Since(start); waited != 0 {
				t.Errorf("Close took %v", waited)
			}
		})
	})

	t.Run("names_the_fault_of_the_sink_rather_than_its_own_haste", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			s := &store{answer: func(ctx context.Context, _ []exportops.Metric) ([]exportops.Receipt, error) {
				if calls++; calls == 1 {
					return nil, errDown
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			r := recorder.New(s, recorder.Options{})
			logN(t, r, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if err := r.Close(ctx); !errors.Is(err, errDown) {
				t.Errorf("Close: %v, want that the store is down", err)
			}
		})
	})

	t.Run("counts_what_it_had_to_leave", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := recorder.New(&store{answer: fails(errDown)}, recorder.Options{BatchSize: 2})
			logN(t, r, 5)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			start := time.Now()
			first := r.Close(ctx)
			if waited := time.Since(start); waited != 3*time.Second {
				t.Errorf("Close took %v, want the 3s it was given", waited)
			}
			var loss *recorder.LossError
			if !errors.As(first, &loss) || loss.Dropped != 5 || !errors.Is(first, errDown) {
				t.Errorf("Close: %v, want 5 dropped because the store is down", first)
			}
			if again := r.Close(t.Context()); !errors.Is(again, first) {
				t.Errorf("Close again: %v, want the same", again)
			}
			if err := r.Log(metric()); !errors.Is(err, recorder.ErrClosed) {
				t.Errorf("Log after Close: %v, want ErrClosed", err)
			}
			wantStats(t, r, recorder.Stats{Logged: 6, Dropped: 6})
			if err := r.Flush(t.Context()); !errors.Is(err, recorder.ErrClosed) {
				t.Errorf("Flush after that Log: %v, want ErrClosed", err)
			}
		})
	})
}
