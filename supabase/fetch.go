package supabase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// fetch sends a request once and hands over the body of its answer, which may be
// long. Close it.
func (c *client) fetch(ctx context.Context, r request) (io.ReadCloser, error) {
	req, cancel, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	// The time for a whole answer is not for this one: it ends when nothing comes.
	cancel()
	inner, stop := context.WithCancelCause(ctx)
	b := &fetched{outer: ctx, stop: func() { stop(nil) }, client: c}
	b.timer = time.AfterFunc(requestTimeout, func() { stop(errStalled) })
	resp, err := c.http.Do(req.WithContext(inner))
	switch {
	case err != nil:
		err = c.broken(ctx, stalled(inner, err))
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, longestAnswer)) // what could be read of an error is enough
		err = errors.Join(c.refusal(resp, body), resp.Body.Close())
	default:
		b.inner, b.body, b.left = inner, resp.Body, resp.ContentLength
		return b, nil
	}
	b.timer.Stop()
	stop(nil)
	return nil, err
}

var errStalled = errors.New("the connection brought nothing for " + requestTimeout.String())

// stalled says so where it was our patience that ended.
func stalled(inner context.Context, err error) error {
	if cause := context.Cause(inner); errors.Is(cause, errStalled) {
		return errStalled
	}
	return err
}

// fetched is the body of an answer.
type fetched struct {
	outer, inner context.Context // of the caller, and of the request
	stop         func()
	timer        *time.Timer
	client       *client
	body         io.ReadCloser
	left         int64 // -1 where the length is not known
}

// Read reads as the interface says. A body that ends early is an error.
func (b *fetched) Read(p []byte) (int, error) {
	b.timer.Reset(requestTimeout)
	n, err := b.body.Read(p)
	known := b.left >= 0
	b.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && known && b.left > 0:
		return n, fmt.Errorf("the object broke off: %w", io.ErrUnexpectedEOF)
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("read an object: %w", b.client.broken(b.outer, stalled(b.inner, err)))
	}
	return n, err
}

// Close ends the request.
func (b *fetched) Close() error {
	b.timer.Stop()
	b.stop()
	return b.body.Close()
}
