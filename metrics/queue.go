package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

const (
	maxBatch   = 500              // metrics a transaction
	maxWaiting = 20_000           // metrics that wait for one
	commitTime = 30 * time.Second // the longest a transaction may take
)

// submission is what one caller waits for.
type submission struct {
	metrics  []exportops.Metric
	receipts []exportops.Receipt
	err      error
	done     chan struct{} // closed when receipts and err are set
}

// queue lets callers share transactions: while one is being committed, the next
// gathers. Nothing runs while it is empty.
type queue struct {
	commit func(context.Context, []*submission) // answers every one

	mu      sync.Mutex
	waiting []*submission
	metrics int  // in waiting
	running bool // someone is committing
}

// submit waits until metrics are stored, or ctx ends.
func (q *queue) submit(ctx context.Context, metrics []exportops.Metric) ([]exportops.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &submission{metrics: metrics, done: make(chan struct{})}
	q.mu.Lock()
	if q.metrics+len(metrics) > maxWaiting {
		q.mu.Unlock()
		return nil, &exportops.Error{
			Kind: exportops.KindUnavailable, Message: "too many metrics are waiting to be stored",
			Hint: "send them again in a second",
		}
	}
	q.waiting, q.metrics = append(q.waiting, w), q.metrics+len(metrics)
	if !q.running {
		q.running = true
		// Others wait for what is committed, so no caller's end may stop it.
		go q.run(context.WithoutCancel(ctx))
	}
	q.mu.Unlock()
	select {
	case <-w.done:
		return w.receipts, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run commits until nobody waits.
func (q *queue) run(ctx context.Context) {
	for {
		batch := q.take()
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, commitTime)
		q.commit(ctx, batch)
		cancel()
	}
}

// take removes the oldest submissions that fit in one transaction, at least
// one. An empty answer ends the run.
func (q *queue) take() []*submission {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, metrics := 0, 0
	for n < len(q.waiting) && (n == 0 || metrics+len(q.waiting[n].metrics) <= maxBatch) {
		metrics += len(q.waiting[n].metrics)
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting, q.metrics = q.waiting[n:], q.metrics-metrics
	if n == 0 {
		q.waiting, q.running = nil, false
	}
	return batch
}
