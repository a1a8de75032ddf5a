package cleanup_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

// recorder is a store that says when outcomes are about to be recorded.
type recorder struct {
	*sqlite.Store
	records func()
}

func (r *recorder) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) ([]exportops.Settled, error) {
	r.records()
	return r.Store.Settle(ctx, c, batch)
}

// Storage has the next page while the outcomes of the last are recorded, but where the
// lease may be over: there is only one way to prove that it is not.
func TestStorageIsKeptBusy(t *testing.T) {
	for name, c := range map[string]struct {
		passes time.Duration // while storage is at work on the first page
		waits  bool
	}{
		"while the lease is sure": {exportops.LeaseLength / 4, false},
		"but not late in it":      {exportops.LeaseLength / 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			expired(w, 20)
			w.Files.Batch = 10
			sent := make(chan struct{}, 2)
			claims := []int64{20, 10}
			if !c.waits {
				claims[1] = 20 // those of the first are not recorded yet
			}
			w.Files.Before = func([]string) error {
				w.AwaitClaims(claims[0])
				if len(claims) == 2 {
					w.Clock.Advance(c.passes)
				}
				claims = claims[1:]
				sent <- struct{}{}
				return nil
			}
			first := true
			store := &recorder{w.Store, func() {
				if !first {
					return
				}
				first = false
				<-sent
				if c.waits {
					select {
					case <-sent:
						t.Error("the second page was sent before it was sure that the run may")
					case <-time.After(50 * time.Millisecond):
					}
					return
				}
				select {
				case <-sent:
				case <-time.After(30 * time.Second):
					t.Error("the second page waits for the outcomes of the first")
				}
			}}
			a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(t.Context(), cronCall)
			w.Must(err)
			want(t, "result", counts(*a.Result.Files), "found 20 deleted 20 updated 20")
		})
	}
}

// Storage that fails as a whole fails the run, and its claims are the next run's. The
// page that was claimed meanwhile is given back.
func TestStorageFailsWhileAPageIsClaimed(t *testing.T) {
	w := newWorld(t)
	expired(w, 30)
	w.Files.Batch = 10
	down := errors.New("storage is down")
	w.Files.Before = func([]string) error { w.AwaitClaims(20); return down }
	if _, err := w.Runner().Run(t.Context(), cronCall); !errors.Is(err, down) {
		t.Fatalf("the run ends with %v", err)
	}
	want(t, "files", len(w.Keys()), 30)
	want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), 10)
	want(t, "entries", w.Count(`SELECT count(*) FROM exportops_deletions`), 10)
	w.Files.Before = nil
	want(t, "the next", counts(clean(t, w)), "found 30 deleted 30 updated 30 recovered 10")
}
