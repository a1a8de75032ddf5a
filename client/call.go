package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/exportops/exportops"
)

// Answers are read up to these sizes, in bytes.
const (
	maxAnswer  = 8 << 20  // a single object, or the answer to a batch of metrics
	maxList    = 64 << 20 // a page of exports: 500 with the largest config, and room
	maxProblem = 1 << 20
)

// request is one call of the API.
type request struct {
	method, path string
	contentType  string
	body         []byte
	most         int64 // bytes of an answer
}

// do sends r and decodes the answer into out.
func (c *Client) do(ctx context.Context, r request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return fmt.Errorf("build a request to %s: %w", c.base, err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(c.base, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.problem(resp)
	}
	return decode(resp, r.most, out)
}

func decode(resp *http.Response, most int64, out any) error {
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return senseless(errors.New("it is not JSON"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return senseless(err)
	case int64(len(body)) > most:
		return senseless(fmt.Errorf("it is longer than %d bytes", most))
	}
	if err := json.Unmarshal(body, out); err != nil {
		return senseless(err)
	}
	return nil
}

// unreachable reports a request that got no answer. What net/http says begins
// with the URL, whose query may name a user.
func unreachable(base string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Message: "the server at " + base + " gives no answer",
		Hint: "check the address, and that the server runs", Err: err,
	}
}

// senseless reports a success that cannot be understood: something else may
// have answered in the server's place.
func senseless(err error) error {
	return &exportops.Error{
		Kind: exportops.KindUnavailable, Message: "the server's answer makes no sense",
		Hint: "check that the address is that of an exportops server", Err: err,
	}
}

// retryAfter returns how long a response asks to wait, 0 when it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
