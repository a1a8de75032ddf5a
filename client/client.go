// Package client is what an application imports to report its exports to an
// exportops server.
//
// Log never waits: metrics are queued and sent in batches from the background
// (package recorder). The calls for rows of export_logs are plain requests.
//
// Errors are *exportops.Error, whose kind follows the server's answer:
//
//	400, 422 and any other 4xx   KindInvalid
//	401, 403                     KindRefused: the token is wrong, or of another scope
//	404, 409, 413                KindNotFound, KindConflict, KindTooLarge
//	a redirect                   KindRefused: the base URL is not the server's own
//	408, 425, 429, 5xx           KindUnavailable, as is a server that cannot be
//	                             reached or whose answer makes no sense
//
// A pause that the server asks for with Retry-After is a
// *recorder.RetryAfterError in the error's tree, and honoured for metrics. The token is in no error.
package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

// Client calls one exportops server. It is safe for concurrent use.
type Client struct {
	base    string // scheme, host and path, without a slash at the end
	token   string
	timeout time.Duration
	http    *http.Client
	release func() // closes the connections that are ours
	metrics *recorder.Recorder
}

// Option changes how a Client works.
type Option func(*settings)

type settings struct {
	timeout   time.Duration
	transport http.RoundTripper
	recorder  recorder.Options
}

// WithTimeout bounds each request, its answer included (10 s).
func WithTimeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// WithTransport sends requests through rt, which the Client does not close.
func WithTransport(rt http.RoundTripper) Option { return func(s *settings) { s.transport = rt } }

// WithRecorder sets how metrics are queued, batched and tried again, and who is
// told of losses.
func WithRecorder(o recorder.Options) Option { return func(s *settings) { s.recorder = o } }

// New returns a client of the server at baseURL, such as
// https://exportops.example.com. Where the server asks for no token ("serve
// --dev"), token is "". Close the client to send what it has queued.
func New(baseURL, token string, opts ...Option) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if !validToken(token) {
		return nil, exportops.Invalid("token", "it holds a character that no header can carry")
	}
	s := settings{timeout: 10 * time.Second}
	for _, opt := range opts {
		opt(&s)
	}
	if s.timeout <= 0 {
		return nil, exportops.Invalid("timeout", "%v is not above zero", s.timeout)
	}
	release := func() {}
	if s.transport == nil {
		s.transport = http.DefaultTransport
		if shared, ok := s.transport.(*http.Transport); ok { // unless the application replaced it
			own := shared.Clone()
			s.transport, release = own, own.CloseIdleConnections
		}
	}
	c := &Client{
		base: base, token: token, timeout: s.timeout, release: release,
		http: &http.Client{
			Transport: s.transport,
			// The token must not travel to where an answer points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.metrics = recorder.New(recorder.SinkFunc(c.sendMetrics), s.recorder)
	return c, nil
}

// Log queues a metric and returns at once; see recorder.Recorder.Log. An error
// says that it will not be recorded; callers may ignore it.
func (c *Client) Log(m exportops.Metric) error { return c.metrics.Log(m) }

// Flush returns when every metric logged before it is durable or lost; see
// recorder.Recorder.Flush.
func (c *Client) Flush(ctx context.Context) error { return c.metrics.Flush(ctx) }

// Stats counts the metrics logged since New.
func (c *Client) Stats() recorder.Stats { return c.metrics.Stats() }

// Close sends the metrics that are queued, for as long as ctx allows, and frees
// the client; see recorder.Recorder.Close.
func (c *Client) Close(ctx context.Context) error {
	err := c.metrics.Close(ctx)
	c.release()
	return err
}

func parseBase(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The parser's error quotes the URL, which may hold a password.
		return "", exportops.Invalid("base_url", "it is not a URL such as https://exportops.example.com")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", exportops.Invalid("base_url", "want http:// or https:// and a host, such as https://exportops.example.com")
	case u.User != nil:
		return "", exportops.Invalid("base_url", "it holds a user name; the token is given apart")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", exportops.Invalid("base_url", "it holds a query or a fragment")
	}
	return fmt.Sprintf("%s://%s%s", u.Scheme, u.Host, strings.TrimRight(u.EscapedPath(), "/")), nil
}

func validToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
