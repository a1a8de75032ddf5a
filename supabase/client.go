package supabase

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client speaks to the REST API of one project.
type client struct {
	base    *url.URL
	headers http.Header
	secret  string // never to be shown
	http    *http.Client
}

func newClient(base *url.URL, headers http.Header, secret string, rt http.RoundTripper) *client {
	if rt == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = lookers // else looks would open a connection each
		rt = t
	}
	return &client{base: base, headers: headers, secret: secret, http: &http.Client{
		Transport: rt,
		// A redirect would carry the key to wherever it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// request is one call of the API.
type request struct {
	method string
	path   []string  // what follows /storage/v1, decoded; a part may hold slashes
	json   any       // the body, or nil
	raw    []byte    // the body where it is no JSON
	stream io.Reader // the body where it is long, of size bytes; such a request is sent once
	size   int64
	header map[string]string
}

// do sends a request once, and reads its whole answer. The error is a *fault,
// or that of ctx.
func (c *client) do(ctx context.Context, r request) ([]byte, error) {
	req, cancel, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer+1))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		// What could be read of an error is enough.
		return nil, c.refusal(resp, body)
	case err != nil:
		return nil, c.broken(ctx, err)
	case len(body) > longestAnswer:
		return nil, &fault{message: fmt.Sprintf("the answer is longer than %d bytes", longestAnswer)}
	}
	return body, nil
}

func (c *client) build(ctx context.Context, r request) (*http.Request, context.CancelFunc, error) {
	body := r.raw
	if r.json != nil {
		var err error
		if body, err = json.Marshal(r.json); err != nil {
			return nil, nil, fmt.Errorf("write a request: %w", err)
		}
	}
	// The path is escaped as a whole: characters that may stand in a path as
	// they are do so, which every server reads alike.
	u := *c.base
	u.Path += "/storage/v1/" + strings.Join(r.path, "/")
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+time.Duration(r.size/slowest)*time.Second)
	var from io.Reader = bytes.NewReader(body)
	if r.stream != nil {
		from = io.NopCloser(r.stream) // a client would close what is the caller's
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), from)
	if err != nil {
		cancel()
		return nil, nil, fmt.Errorf("write a request: %w", err)
	}
	if r.stream != nil {
		req.ContentLength = r.size
	}
	req.Header = c.headers.Clone()
	req.Header.Set("User-Agent", "exportops")
	if r.json != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return req, cancel, nil
}

// broken is the fault of a request that got no whole answer.
func (c *client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The URL, which names a key, says nothing new.
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	// The cause is not kept: its text is not scrubbed, and a deadline that is not
	// the caller's must not look like it.
	f := &fault{message: c.scrub(err.Error())}
	if errors.Is(err, context.DeadlineExceeded) {
		f.late, f.message = true, fmt.Sprintf("there was no whole answer within %s", requestTimeout)
	}
	var op *net.OpError
	f.unsent = errors.As(err, &op) && op.Op == "dial"
	return f
}

// once sends a request once and reads the answer into v: JSON, or as it is where
// v is a *[]byte, or not at all where v is nil.
func (c *client) once(ctx context.Context, r request, v any) error {
	body, err := c.do(ctx, r)
	if err != nil || v == nil {
		return err
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = body
		return nil
	}
	return decode(body, v)
}

// call is once, repeated a few times until it is answered.
func (c *client) call(ctx context.Context, r request, v any) error {
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, r, v)
		if err == nil || attempt == attempts || !transient(err) {
			return err
		}
		if err := pause(ctx, attempt, err); err != nil {
			return err
		}
	}
}

func decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return &fault{message: "the answer is not the JSON that Storage speaks"}
	}
	return nil
}

// pause waits before an attempt is repeated: longer each time, and as long as
// the server asks. It returns the error of ctx, or why where the server asks
// for more than is waited for.
func pause(ctx context.Context, attempt int, why error) error {
	wait := firstPause << (2 * (attempt - 1))
	var f *fault
	if errors.As(why, &f) {
		if f.retryAfter > longestPause {
			return why
		}
		wait = max(wait, f.retryAfter)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
