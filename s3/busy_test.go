package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
)

// times lets a fault happen that often.
func times(n int, fault func(request) *http.Response) func(request) *http.Response {
	var mu sync.Mutex
	return func(q request) *http.Response {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 {
			return nil
		}
		a := fault(q)
		if a != nil {
			n--
		}
		return a
	}
}

func on(op string, status int, code string) func(request) *http.Response {
	return func(q request) *http.Response {
		if q.op != op {
			return nil
		}
		return refusal(status, code)
	}
}

func TestABusyServiceIsWaitedFor(t *testing.T) {
	for name, fault := range map[string]func(request) *http.Response{
		"slow_down":         on("DeleteObjects", http.StatusServiceUnavailable, "SlowDown"),
		"too_many_requests": on("DeleteObjects", http.StatusTooManyRequests, "TooManyRequests"),
		"rate_without_code": on("DeleteObjects", http.StatusTooManyRequests, ""),
		"internal_error":    on("DeleteObjects", http.StatusInternalServerError, "InternalError"),
		"bad_gateway": func(request) *http.Response {
			return answer(http.StatusBadGateway, "<html>no gateway</html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a", "b")
				f.fault = times(5, fault)
				expectAll(t, deleteKeys(t, f.open(t), "a", "b"), "deleted")
				if n := f.count("DeleteObjects"); n != 6 {
					t.Errorf("%d requests, want 6", n)
				}
			})
		})
	}
}

func TestOnlyKeysThatWereTooManyAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := numbered(100)
		f := newFake(keys...)
		round := 0
		f.fault = func(q request) *http.Response {
			if round++; round > 2 {
				return nil
			}
			var said strings.Builder
			for i, e := range q.entry {
				if i%2 == 0 {
					delete(f.objects, e.Key)
					said.WriteString(deleted(e.Key))
					continue
				}
				said.WriteString(keyError(e.Key, "SlowDown"))
			}
			return bulkAnswer(said.String())
		}
		expectAll(t, deleteKeys(t, f.open(t), keys...), "deleted")
		var sizes []int
		for _, q := range f.asked {
			sizes = append(sizes, len(q.entry))
		}
		if !slices.Equal(sizes, []int{100, 50, 25}) || f.left() != "" {
			t.Errorf("asked for %v keys, left %q", sizes, f.left())
		}
	})
}

func TestAServiceThatStaysBusyIsGivenUp(t *testing.T) {
	for name, fault := range map[string]func(request) *http.Response{
		"as_a_whole": on("DeleteObjects", http.StatusServiceUnavailable, "SlowDown"),
		"key_by_key": func(request) *http.Response { return bulkAnswer(keyError("a", "SlowDown") + keyError("b", "SlowDown")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a", "b")
				f.fault = fault
				start := time.Now()
				expectAll(t, deleteKeys(t, f.open(t), "a", "b"), "failed: SlowDown")
				if took := time.Since(start); took < 30*time.Second || took > time.Minute {
					t.Errorf("gave up after %s", took)
				}
				if n := f.count("DeleteObjects"); n > 30 {
					t.Errorf("%d requests to a busy service", n)
				}
			})
		})
	}
}

func TestFewerRequestsAreMadeOfABusyService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := numbered(1000)
		f := newFake(keys...)
		f.takes = 10 * time.Millisecond
		refused := 0
		f.fault = func(request) *http.Response {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.inFlight <= 4 {
				return nil
			}
			refused++
			return answer(http.StatusServiceUnavailable, "")
		}
		infos, err := f.open(t).Stat(t.Context(), keys)
		check(t, err)
		for i, info := range infos {
			if !info.Exists || info.Err != nil {
				t.Fatalf("file %d: %+v", i, info)
			}
		}
		if f.most > 16 {
			t.Errorf("%d requests in flight, want 16 at most", f.most)
		}
		if refused > 400 {
			t.Errorf("%d of %d requests were refused", refused, len(f.asked))
		}
		t.Logf("%d requests for 1000 files, %d refused", len(f.asked), refused)
	})
}

func TestManyWorkersShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := numbered(800)
		f := newFake(keys...)
		f.takes = 5 * time.Millisecond
		s := f.open(t, verifyFull)
		var workers sync.WaitGroup
		for part := range slices.Chunk(keys, 100) {
			workers.Go(func() { expectAll(t, deleteKeys(t, s, part...), "deleted") })
		}
		workers.Wait()
		if f.left() != "" || f.most != 16 {
			t.Errorf("left %q, %d requests in flight", f.left(), f.most)
		}
	})
}

// brokenOff is a body whose connection is cut in the middle.
func brokenOff(a *http.Response) *http.Response {
	whole, err := io.ReadAll(a.Body)
	must(err)
	a.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(whole[:len(whole)/2])), cut{}))
	return a
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAConnectionCutInTheMiddleProvesNothing(t *testing.T) {
	t.Run("and_is_asked_again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			keys := numbered(10)
			f := newFake(keys...)
			spoilt := false
			f.spoil = func(_ request, a *http.Response) (*http.Response, error) {
				if spoilt {
					return a, nil
				}
				spoilt = true
				return brokenOff(a), nil
			}
			expectAll(t, deleteKeys(t, f.open(t), keys...), "deleted")
			if n := f.count("DeleteObjects"); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	})
	t.Run("however_often", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake("a", "b")
			f.spoil = func(_ request, a *http.Response) (*http.Response, error) { return brokenOff(a), nil }
			expectAll(t, deleteKeys(t, f.open(t), "a", "b"), "failed: broke off")
		})
	})
	t.Run("before_the_answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake("a", "b")
			f.spoil = func(request, *http.Response) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
			results, err := f.open(t).Delete(t.Context(), refs("a", "b"))
			if results != nil || !exportops.IsKind(err, exportops.KindUnavailable) || !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("Delete = %+v, %v", results, err)
			}
			if n := f.count("DeleteObjects"); n != 4 {
				t.Errorf("%d requests, want 4", n)
			}
		})
	})
}

func TestAHungServiceIsNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("a")
		f.takes = time.Hour
		start := time.Now()
		_, err := f.open(t).Delete(t.Context(), refs("a"))
		if !exportops.IsKind(err, exportops.KindUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Delete: %v, want the store to be unavailable", err)
		}
		if took := time.Since(start); took > 4*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestTheContextEndsWhileTheServiceIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("a")
		f.fault = on("DeleteObjects", http.StatusServiceUnavailable, "SlowDown")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		results, err := f.open(t).Delete(ctx, refs("a"))
		check(t, err)
		expectAll(t, results, "failed: SlowDown")
		if !errors.Is(results[0].Err, context.DeadlineExceeded) {
			t.Errorf("Delete: %v, want the context's error, too", results[0].Err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The service takes fewer keys than S3, so a batch is several requests.
func TestAContextThatEndsKeepsWhatWasConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := numbered(200)
		f := newFake(keys...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		confirmed := 0
		f.fault = func(q request) *http.Response {
			if len(q.entry) > 100 {
				return refusal(http.StatusBadRequest, "MalformedXML")
			}
			if confirmed++; confirmed == 2 {
				cancel()
				return refusal(http.StatusServiceUnavailable, "SlowDown")
			}
			return nil
		}
		results, err := f.open(t).Delete(ctx, refs(keys...))
		check(t, err)
		expectAll(t, results[:100], "deleted")
		for i, r := range results[100:] {
			if r.Removal != exportops.Unproven || !errors.Is(r.Err, context.Canceled) {
				t.Errorf("file %d: %s, %v", 100+i, r.Removal, r.Err)
			}
		}
	})
}
