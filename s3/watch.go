package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// watcher ends a request that brings nothing for a while. A whole body may take as
// long as it likes.
type watcher struct {
	ctx   context.Context // of the request
	outer context.Context // the caller's
	stop  context.CancelFunc
	timer *time.Timer
}

var errStalled = errors.New("the connection brought nothing for " + oneAttempt.String())

func watch(outer context.Context) *watcher {
	ctx, cancel := context.WithCancelCause(outer)
	w := &watcher{ctx: ctx, outer: outer}
	w.timer = time.AfterFunc(oneAttempt, func() { cancel(errStalled) })
	w.stop = func() {
		w.timer.Stop()
		cancel(nil)
	}
	return w
}

// explain makes sure that the end of our patience does not look like that of the
// caller's.
func (w *watcher) explain(err error) error {
	if err != nil && w.outer.Err() == nil && errors.Is(context.Cause(w.ctx), errStalled) {
		return &smithyhttp.RequestSendError{Err: errStalled}
	}
	return err
}

// watched is the body of an answer.
type watched struct {
	*watcher
	body io.ReadCloser
	left int64
}

// Read reads as the interface says. A body that ends early is an error.
func (b *watched) Read(p []byte) (int, error) {
	b.timer.Reset(oneAttempt)
	n, err := b.body.Read(p)
	b.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && b.left > 0:
		return n, fmt.Errorf("the object broke off: %w", io.ErrUnexpectedEOF)
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("read an object: %w", b.explain(err))
	}
	return n, err
}

// Close ends the request.
func (b *watched) Close() error {
	b.stop()
	return b.body.Close()
}
