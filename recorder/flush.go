package recorder

import (
	"context"
	"fmt"
)

// Flush returns when every metric logged before it is durable or lost. The
// error is a *LossError with all that were lost since the last Flush that
// returned one. When ctx ends first, the error says how many metrics are still
// queued; they go on being sent.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	target := r.tail
	r.flushTo = max(r.flushTo, target)
	notify(r.wake)
	for r.settled < target {
		moved := r.moved
		r.mu.Unlock()
		var ended error
		select {
		case <-moved:
		case <-ctx.Done():
			ended = ctx.Err()
		}
		r.mu.Lock()
		if left := target - r.settled; ended != nil && left > 0 {
			return stillQueued(left, ended, r.sendErr)
		}
	}
	if loss := r.unnamed.take(); loss != nil {
		return loss
	}
	return nil
}

func stillQueued(n int64, ended, sendErr error) error {
	if sendErr == nil {
		return fmt.Errorf("metrics still queued: %d: %w", n, ended)
	}
	return fmt.Errorf("metrics still queued: %d: %w; the last attempt: %w", n, ended, sendErr)
}

// Close takes no more metrics, sends what is queued, and returns when nothing
// of the Recorder runs any more. When ctx ends first, what is left is dropped;
// a batch that was being sent counts as dropped, though it may have arrived.
// The error is a *LossError with all that were lost since the last Flush.
// Every call returns the same.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.closing)
		notify(r.wake)
	}
	r.mu.Unlock()

	select {
	case <-r.sent:
	case <-ctx.Done():
	}
	r.endDrain()
	<-r.done
	return r.closeErr
}
