package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// problem is an RFC 9457 problem. Its type is always about:blank, which is the
// default and so not written.
type problem struct {
	Title     string         `json:"title" doc:"The status in words"`
	Status    int            `json:"status" doc:"The HTTP status" example:"422"`
	Detail    string         `json:"detail,omitempty" doc:"What is wrong, in one sentence"`
	Hint      string         `json:"hint,omitempty" doc:"The next step"`
	RequestID string         `json:"request_id" doc:"Names this request in the server's log"`
	Errors    []valueProblem `json:"errors,omitempty" doc:"What is wrong, value by value"`
	Recorded  *tally         `json:"recorded,omitempty" nullable:"false" doc:"What was recorded before a batch of metrics failed; sending it again is safe"`
}

// valueProblem is what is wrong with one value.
type valueProblem struct {
	Message  string `json:"message" doc:"What is wrong with the value"`
	Location string `json:"location" doc:"Where it was given" example:"body.format"`
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status; it makes a problem a huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

const internalDetail = "something went wrong in the server"

// statuses is the one table from kinds of error to HTTP statuses. A KindInvalid
// that is not about a value in a body is 400: see located.
var statuses = map[exportops.Kind]int{
	exportops.KindInvalid:     http.StatusUnprocessableEntity,
	exportops.KindNotFound:    http.StatusNotFound,
	exportops.KindConflict:    http.StatusConflict,
	exportops.KindRefused:     http.StatusConflict,
	exportops.KindTooLarge:    http.StatusRequestEntityTooLarge,
	exportops.KindUnavailable: http.StatusServiceUnavailable,
	exportops.KindInternal:    http.StatusInternalServerError,
}

// located says where the values that an error is about were given.
type located struct {
	error
	in string // query, path or header; "" for a body that cannot be read at all
}

func (l located) Unwrap() error { return l.error }

func inQuery(err error) error    { return locate("query", err) }
func inPath(err error) error     { return locate("path", err) }
func inHeader(err error) error   { return locate("header", err) }
func unreadable(err error) error { return locate("", err) }

func locate(in string, err error) error {
	if err == nil {
		return nil
	}
	return located{err, in}
}

func (s *server) newProblem(c *call, status int, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail, RequestID: c.id}
}

// problem turns an error into the answer to it. What the server is to blame
// for is logged here, and nowhere else.
func (s *server) problem(ctx context.Context, err error) *problem {
	c := callOf(ctx)
	var ready *problem
	if errors.As(err, &ready) {
		return ready
	}
	kind, prefix := exportops.KindOf(err), "body."
	status, known := statuses[kind]
	if !known {
		status = http.StatusInternalServerError
	}
	var l located
	if errors.As(err, &l) {
		prefix = l.in + "."
		if kind == exportops.KindInvalid {
			status = http.StatusBadRequest
		}
	}
	if kind != exportops.KindInvalid {
		prefix = ""
	}
	p := s.newProblem(c, status, internalDetail)
	p.describe(exportopsErrors(err), strings.TrimPrefix(prefix, "."))
	if status >= http.StatusInternalServerError {
		s.logFailure(ctx, status, err)
	}
	if status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", "5")
	}
	return p
}

func (s *server) logFailure(ctx context.Context, status int, err error) {
	c, level := callOf(ctx), slog.LevelError
	if c.gone(err) {
		level = slog.LevelInfo
	}
	s.Logger.LogAttrs(ctx, level, "request failed", slog.String("request_id", c.id),
		slog.String("method", c.r.Method), slog.String("route", c.r.Pattern), slog.Int("status", status), slog.Any("error", err))
}

// describe fills in what errs say, and leaves the detail as it is without any.
func (p *problem) describe(errs []*exportops.Error, prefix string) {
	for _, e := range errs {
		if e.Field != "" {
			p.Errors = append(p.Errors, valueProblem{Message: e.Message, Location: prefix + e.Field})
		}
	}
	switch len(errs) {
	case 0:
		return
	case 1:
		p.Detail, p.Hint = sentence(errs[0]), errs[0].Hint
	default:
		p.Detail = "several values are wrong; errors names each"
	}
}

// sentence returns what may be shown of an error.
func sentence(e *exportops.Error) string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// exportopsErrors returns the errors in err's tree that are safe to show.
func exportopsErrors(err error) []*exportops.Error {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case *exportops.Error:
		return []*exportops.Error{e}
	case interface{ Unwrap() []error }:
		var all []*exportops.Error
		for _, inner := range e.Unwrap() {
			all = append(all, exportopsErrors(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		return exportopsErrors(e.Unwrap())
	}
	return nil
}

// write sends the problem past huma.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // a caller that hung up is told nothing
}

// translated makes huma's own errors ours. They are about parameters alone,
// because bodies are decoded here, and so are 400 where huma says 422.
type translated struct {
	humaContext
	status int // instead of huma's; 0 leaves it
}

type humaContext huma.Context

func (t *translated) SetStatus(status int) {
	if t.status != 0 {
		status = t.status
	}
	t.humaContext.SetStatus(status)
}

// Unwrap returns huma's own context.
func (t *translated) Unwrap() huma.Context { return t.humaContext }

func (s *server) translate(ctx huma.Context, next func(huma.Context)) {
	next(&translated{humaContext: ctx})
}

// transform is called with every body before its status is set.
func (s *server) transform(ctx huma.Context, _ string, body any) (any, error) {
	m, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	p := s.newProblem(callOf(ctx.Context()), http.StatusBadRequest, "several values are wrong; errors names each")
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, valueProblem{Message: shorten(e.Message), Location: e.Location})
	}
	if len(p.Errors) == 1 {
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
	}
	if t, ok := ctx.(*translated); ok {
		t.status = p.Status
	}
	return p, nil
}
