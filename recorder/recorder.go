package recorder

import (
	"context"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

// Sink makes batches of metrics durable. It is called by one goroutine at a
// time, with metrics that are valid and normalized.
//
// Receipts answer for each metric in order. An error says that nothing is known
// of the whole batch: of KindInvalid, KindNotFound, KindConflict or KindRefused
// it is final, of KindTooLarge the batch is sent again in halves, and after any
// other it is sent again later, so a batch must be safe to repeat. Send must
// return soon after ctx ends, and must not keep the batch.
type Sink interface {
	Send(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error)
}

// SinkFunc is a function that is a Sink.
type SinkFunc func(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error)

// Send calls f.
func (f SinkFunc) Send(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	return f(ctx, batch)
}

// Options tune a Recorder. Zero fields take the default in brackets.
type Options struct {
	Capacity    int           // metrics held at most, those being sent included (10,000)
	BatchSize   int           // metrics a Send at most (500)
	Delay       time.Duration // how long a metric waits for others to join its batch (50 ms)
	SendTimeout time.Duration // for one Send (30 s)
	RetryMin    time.Duration // pause after the first failed Send, doubled after each (200 ms)
	RetryMax    time.Duration // longest pause, unless the sink asks for more (30 s)

	// OnLoss is told of metrics that will not be recorded. It is called from
	// the background, one call at a time and at most one a LossInterval (10 s)
	// with all losses since the last, and a last time while closing. It may
	// log metrics, and must not call Close.
	OnLoss       func(*LossError)
	LossInterval time.Duration

	Clock func() time.Time // time of metrics that carry none (time.Now)
}

func (o Options) withDefaults() Options {
	o.Capacity = positiveOr(o.Capacity, 10_000)
	o.BatchSize = min(positiveOr(o.BatchSize, 500), o.Capacity)
	o.Delay = positiveOr(o.Delay, 50*time.Millisecond)
	o.SendTimeout = positiveOr(o.SendTimeout, 30*time.Second)
	o.RetryMin = positiveOr(o.RetryMin, 200*time.Millisecond)
	o.RetryMax = max(positiveOr(o.RetryMax, 30*time.Second), o.RetryMin)
	o.LossInterval = positiveOr(o.LossInterval, 10*time.Second)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}

func positiveOr[T int | time.Duration](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// Stats counts metrics since New. Logged is always the sum of the others.
type Stats struct {
	Logged   int64 // calls of Log
	Recorded int64 // durable, first seen
	Repeated int64 // durable already
	Refused  int64 // invalid, or not accepted by the sink
	Dropped  int64 // the queue was full, or closing ended first
	Queued   int64 // waiting or being sent
}

// Recorder queues metrics and sends them. It is safe for concurrent use.
type Recorder struct {
	sink Sink
	opts Options

	endDrain context.CancelFunc
	wake     chan struct{} // holds one token: the sender should look again
	lossy    chan struct{} // holds one token: there is a loss to report
	closing  chan struct{} // closed by the first Close
	sent     chan struct{} // closed when the sender has ended
	done     chan struct{} // closed when the reporter has ended, too

	mu       sync.Mutex
	ring     []exportops.Metric
	tail     int64         // metrics ever put into the ring
	head     int64         // of these, taken out for sending
	settled  int64         // of these, recorded or lost
	flushTo  int64         // head should come this far without delay
	moved    chan struct{} // closed and replaced whenever settled grows
	closed   bool
	stats    Stats     // Queued is left to the three counts above
	sendErr  error     // why the latest Send failed; nil after one that did not
	unsaid   LossError // not yet handed to OnLoss
	unnamed  LossError // not yet returned by Flush or Close
	closeErr error     // what every Close returns; set before sent is closed
}

// New starts a Recorder. Close it to send what is left and to free it.
func New(sink Sink, opts Options) *Recorder {
	opts = opts.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{
		sink: sink, opts: opts, endDrain: cancel,
		wake: make(chan struct{}, 1), lossy: make(chan struct{}, 1),
		closing: make(chan struct{}), sent: make(chan struct{}), done: make(chan struct{}),
		ring: make([]exportops.Metric, opts.Capacity), moved: make(chan struct{}),
	}
	go r.run(ctx)
	go r.report()
	return r
}

// Log queues a copy of m and returns at once. An error says that m will not be
// recorded: it is invalid, the queue is full (ErrFull) or the Recorder is
// closed (ErrClosed). It is counted either way, and callers may ignore it.
func (r *Recorder) Log(m exportops.Metric) error {
	if err := m.Validate(); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stats.Logged++
		r.refuse(m.ExportID, err)
		return err
	}
	if m.Timestamp.IsZero() {
		m.Timestamp = exportops.At(r.opts.Clock())
	}
	detach(&m)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Logged++
	if r.closed {
		r.drop(1, ErrClosed)
		return ErrClosed
	}
	if r.tail-r.settled == int64(len(r.ring)) {
		r.drop(1, ErrFull)
		return ErrFull
	}
	r.ring[r.tail%int64(len(r.ring))] = m
	r.tail++
	if n := r.tail - r.head; n == 1 || n == int64(r.opts.BatchSize) {
		notify(r.wake)
	}
	return nil
}

// Stats returns the counts as they are now.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Queued = r.tail - r.settled
	return s
}

// detach moves what m points to into memory of its own, so that a caller may
// use its variables again.
func detach(m *exportops.Metric) {
	var own struct {
		duration, size int64
		kind, message  string
	}
	v := &own
	m.DurationMS = moveTo(&v.duration, m.DurationMS)
	m.FileSizeBytes = moveTo(&v.size, m.FileSizeBytes)
	m.ErrorType = moveTo(&v.kind, m.ErrorType)
	m.ErrorMessage = moveTo(&v.message, m.ErrorMessage)
}

func moveTo[T any](to, from *T) *T {
	if from == nil {
		return nil
	}
	*to = *from
	return to
}

// notify leaves a token in c unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
