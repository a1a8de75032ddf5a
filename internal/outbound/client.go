package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Bounds of one exchange.
const (
	exchangeWithin = 15 * time.Second
	mostHeader     = 64 << 10
	mostBody       = 64 << 10 // what follows is not read
	longestRetry   = time.Hour * 24
)

// Error says why an exchange came to nothing.
type Error struct {
	Code int // of the answer; 0 where there was none
	// RetryAfter is how long the receiver asks to be left alone; 0 where it does not.
	RetryAfter time.Duration

	message string
	err     error // a cause that holds nothing secret, or nil
}

func (e *Error) Error() string { return e.message }

// Unwrap returns ErrForbidden or the error of a context, where that was the cause.
func (e *Error) Unwrap() error { return e.err }

// Client returns a client that reaches what the guard allows. A request ends in an
// answer of 2xx, whose body is cut where it is long, or in an *Error, however it is
// wrapped: so it is whatever library uses the client.
func (g *Guard) Client() *http.Client {
	return &http.Client{Transport: &exchange{next: &http.Transport{
		DialContext: g.DialContext, TLSHandshakeTimeout: dialWithin, MaxResponseHeaderBytes: mostHeader,
		DisableCompression: true, // a small answer may be large when it is unpacked
		DisableKeepAlives:  true, // messages are rare, and each is to be dialled, and checked
	}}}
}

// exchange carries out a whole exchange, the answer's body included.
type exchange struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper. As an answer other than 2xx is an error, no
// client above follows a redirect.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), exchangeWithin)
	defer cancel()
	req = req.Clone(ctx)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "exportops")
	}
	res, err := x.next.RoundTrip(req)
	if err != nil {
		return nil, Plain(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return nil, refusal(res)
	}
	// It was taken: nothing that happens to the rest of the answer changes that.
	var body bytes.Buffer
	_, _ = io.Copy(&body, io.LimitReader(res.Body, mostBody))
	res.Body, res.ContentLength = io.NopCloser(&body), int64(body.Len())
	return res, nil
}

func refusal(res *http.Response) *Error {
	e := &Error{Code: res.StatusCode, RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	e.message = fmt.Sprintf("the receiver answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Code/100 == 3 {
		e.message += ", and redirects are not followed"
	}
	return e
}

// retryAfter reads the header of that name: seconds, or a time.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), longestRetry)
}

// Plain says in our words what went wrong with a connection. Of other errors it
// repeats only those that no receiver has a say in.
func Plain(ctx context.Context, err error) *Error {
	var known *Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, ErrForbidden):
		return &Error{message: forbidden(err), err: ErrForbidden}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{message: "there was no answer in time", err: ctx.Err()}
	case ctx.Err() != nil:
		return &Error{message: "it was stopped before there was an answer", err: ctx.Err()}
	case errors.As(err, &certificate):
		return &Error{message: "the receiver's certificate is not trusted: " + certificate.Err.Error()}
	case errors.As(err, &name):
		return &Error{message: name.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{message: "the receiver closed the connection before it answered"}
	case errors.As(err, &op):
		return &Error{message: op.Error()}
	}
	return &Error{message: "the receiver's answer cannot be understood"}
}

// forbidden is the sentence of the check that refused an address, without what the
// dialler puts before it.
func forbidden(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if errors.Unwrap(e) == ErrForbidden { //nolint:errorlint // the one that wraps it, not one further up
			return e.Error()
		}
	}
	return ErrForbidden.Error()
}
