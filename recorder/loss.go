package recorder

import (
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// Why Log did not keep a metric.
var (
	ErrFull   error = &exportops.Error{Kind: exportops.KindUnavailable, Message: "the queue of metrics is full"}
	ErrClosed error = &exportops.Error{Kind: exportops.KindUnavailable, Message: "the recorder of metrics is closed"}
)

// maxRefusals bounds how many refusals one LossError names.
const maxRefusals = 10

// LossError says how many metrics will not be recorded.
type LossError struct {
	Refused  int64     // invalid, or not accepted by the sink
	Dropped  int64     // the queue was full, or closing ended first
	Refusals []Refusal // the first of those refused, at most ten
	Err      error     // why the last of them was lost
}

// Refusal is one metric that was not accepted.
type Refusal struct {
	ExportID string // "" when it was no UUID
	Err      error  // why, as in exportops.Receipt
}

// Error returns the counts and the last reason.
func (e *LossError) Error() string {
	return fmt.Sprintf("metrics lost: %d refused, %d dropped: %v", e.Refused, e.Dropped, e.Err)
}

// Unwrap returns the last reason.
func (e *LossError) Unwrap() error { return e.Err }

func (e *LossError) refuse(exportID string, err error) {
	e.Refused++
	e.Err = err
	if len(e.Refusals) < maxRefusals {
		e.Refusals = append(e.Refusals, Refusal{ExportID: exportID, Err: err})
	}
}

func (e *LossError) drop(n int64, err error) {
	e.Dropped += n
	e.Err = err
}

// take returns what e holds, nil when that is nothing, and empties it.
func (e *LossError) take() *LossError {
	if e.Refused+e.Dropped == 0 {
		return nil
	}
	was := *e
	*e = LossError{}
	return &was
}

// refuse counts a metric that is not accepted. The caller holds mu.
func (r *Recorder) refuse(exportID string, err error) {
	if _, bad := exportops.ParseID("export_id", exportID); bad != nil {
		exportID = "" // hostile text of any length is not kept
	}
	r.stats.Refused++
	r.unsaid.refuse(exportID, err)
	r.unnamed.refuse(exportID, err)
	notify(r.lossy)
}

// drop counts n metrics that could not be kept. The caller holds mu.
func (r *Recorder) drop(n int64, err error) {
	r.stats.Dropped += n
	r.unsaid.drop(n, err)
	r.unnamed.drop(n, err)
	notify(r.lossy)
}

// report hands losses to OnLoss. It has a goroutine of its own: neither may a
// slow OnLoss delay sending, nor a slow sink the bad news.
func (r *Recorder) report() {
	defer close(r.done)
	for {
		select {
		case <-r.lossy:
			r.tell()
		case <-r.sent:
			r.tell()
			return
		}
		rest := time.NewTimer(r.opts.LossInterval)
		select {
		case <-rest.C:
		case <-r.sent:
			rest.Stop()
		}
	}
}

func (r *Recorder) tell() {
	r.mu.Lock()
	loss := r.unsaid.take()
	r.mu.Unlock()
	if loss != nil && r.opts.OnLoss != nil {
		r.opts.OnLoss(loss)
	}
}
