package recorder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/exportops/exportops"
)

// maxRetryAfter bounds the pause that a sink can ask for.
const maxRetryAfter = 5 * time.Minute

// RetryAfterError asks that the batch be sent again no sooner than After from
// now. More than five minutes is taken for five minutes.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

// Error returns the cause.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// run sends until the Recorder is closed and empty. Once ctx has ended it
// drops what is left.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.sent)
	for r.await() {
		r.send(ctx, r.take())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if loss := r.unnamed.take(); loss != nil {
		r.closeErr = loss
	}
}

// await returns true when there is a batch to send, and false at the end.
func (r *Recorder) await() bool {
	delay := time.NewTimer(r.opts.Delay)
	defer delay.Stop()
	delay.Stop()
	waiting := false
	for {
		r.mu.Lock()
		n, closed, hurry := r.tail-r.head, r.closed, r.flushTo > r.head
		r.mu.Unlock()
		if n == 0 && closed {
			return false
		}
		if n >= int64(r.opts.BatchSize) || n > 0 && (closed || hurry) {
			return true
		}
		if n > 0 && !waiting {
			delay.Reset(r.opts.Delay)
			waiting = true
		}
		select {
		case <-r.wake:
		case <-delay.C:
			return true
		}
	}
}

// take removes a batch from the ring.
func (r *Recorder) take() []exportops.Metric {
	r.mu.Lock()
	batch := make([]exportops.Metric, min(r.tail-r.head, int64(r.opts.BatchSize)))
	for i := range batch {
		slot := &r.ring[r.head%int64(len(r.ring))]
		batch[i], *slot = *slot, exportops.Metric{}
		r.head++
	}
	r.mu.Unlock()
	for i := range batch {
		batch[i].Normalize(batch[i].Timestamp)
	}
	return batch
}

// send settles a batch: it comes back when each metric is recorded or lost.
func (r *Recorder) send(ctx context.Context, batch []exportops.Metric) {
	// Close cuts one pause short, so that a recorder that is closed during an
	// outage tries a last time.
	closing := r.stillOpen()
	for backoff := r.opts.RetryMin; ctx.Err() == nil; backoff = min(2*backoff, r.opts.RetryMax) {
		receipts, err := r.sendOnce(ctx, batch)
		if err == nil {
			r.settle(batch, receipts)
			return
		}
		if kind := exportops.KindOf(err); kind == exportops.KindTooLarge && len(batch) > 1 {
			half := len(batch) / 2
			r.send(ctx, batch[:half])
			r.send(ctx, batch[half:])
			return
		} else if final(kind) {
			r.settleAll(batch, func(m exportops.Metric) { r.refuse(m.ExportID, err) })
			return
		}
		pause := time.NewTimer(pauseAfter(err, backoff))
		select {
		case <-pause.C:
		case <-closing:
			closing = nil
		case <-ctx.Done():
		}
		pause.Stop()
	}
	r.settleAll(batch, func(exportops.Metric) { r.drop(1, r.whyDropped(ctx)) })
}

// stillOpen returns a channel that Close closes, nil when it has.
func (r *Recorder) stillOpen() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	return r.closing
}

func (r *Recorder) sendOnce(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	one, cancel := context.WithTimeout(ctx, r.opts.SendTimeout)
	defer cancel()
	receipts, err := r.sink.Send(one, batch)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() == nil { // else it says that we gave up, which explains less than why
		r.sendErr = err
	}
	return receipts, err
}

// final reports whether an error of kind k stays when the batch is repeated.
func final(k exportops.Kind) bool {
	switch k {
	case exportops.KindInvalid, exportops.KindNotFound, exportops.KindConflict,
		exportops.KindRefused, exportops.KindTooLarge:
		return true
	default:
		return false
	}
}

// pauseAfter returns how long to wait after err: half to all of backoff, so
// that many senders do not come back at once, and no less than the sink asked.
func pauseAfter(err error, backoff time.Duration) time.Duration {
	pause := backoff/2 + rand.N(backoff/2+1) //nolint:gosec // spreads load, guards nothing
	var asked *RetryAfterError
	if errors.As(err, &asked) {
		pause = max(pause, min(asked.After, maxRetryAfter))
	}
	return pause
}

// settle counts a batch that the sink answered for.
func (r *Recorder) settle(batch []exportops.Metric, receipts []exportops.Receipt) {
	if len(receipts) != len(batch) {
		err := fmt.Errorf("the sink answered for %d of %d metrics", len(receipts), len(batch))
		r.settleAll(batch, func(m exportops.Metric) { r.refuse(m.ExportID, err) })
		return
	}
	i := 0
	r.settleAll(batch, func(m exportops.Metric) {
		switch receipt := receipts[i]; {
		case receipt.Err != nil:
			r.refuse(m.ExportID, receipt.Err)
		case receipt.New:
			r.stats.Recorded++
		default:
			r.stats.Repeated++
		}
		i++
	})
}

// settleAll counts each metric of a batch, in order, and lets those who wait
// for it go on.
func (r *Recorder) settleAll(batch []exportops.Metric, count func(exportops.Metric)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range batch {
		count(m)
	}
	r.settled += int64(len(batch))
	close(r.moved)
	r.moved = make(chan struct{})
}

// whyDropped names what kept metrics from being sent before closing ended. The
// caller holds mu.
func (r *Recorder) whyDropped(ctx context.Context) error {
	if r.sendErr == nil {
		return ctx.Err()
	}
	return r.sendErr
}
