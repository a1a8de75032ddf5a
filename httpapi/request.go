package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// call is one request, for what huma's own context does not offer.
type call struct {
	id string
	w  *response
	r  *http.Request
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		panic("httpapi: a handler was reached without ServeHTTP")
	}
	return c
}

// response remembers whether an answer was begun, and by which status.
type response struct {
	http.ResponseWriter
	begun  bool
	status int
}

// WriteHeader sends the first status; huma sets another one when the caller
// hangs up while it writes.
func (w *response) WriteHeader(status int) {
	if !w.begun {
		w.begun, w.status = true, status
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP gives the request an id, sets the headers that every answer has,
// and sees to it that a panic ends in an answer.
func (s *server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := &call{id: newRequestID(), w: &response{ResponseWriter: rw, status: http.StatusOK}}
	c.r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	h := rw.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if s.Answered != nil {
		defer s.answered(c, time.Now()) //nolint:contextcheck // c holds the request's own
	}
	defer func() { //nolint:contextcheck // c holds the request's own
		if v := recover(); v != nil {
			s.answerPanic(c, v)
		}
	}()
	if r.URL.Path != path.Clean(r.URL.Path) {
		s.notFound(c.w, c.r) // the mux would redirect, which no caller of an API expects
		return
	}
	if r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/api/") {
		s.notFound(c.w, c.r)
		return
	}
	s.mux.ServeHTTP(c.w, c.r)
}

// methods are those that are told by name: anybody may invent others.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

func (s *server) answered(c *call, began time.Time) {
	method := c.r.Method
	if !slices.Contains(methods, method) {
		method = "other"
	}
	_, route, _ := strings.Cut(c.r.Pattern, " ")
	s.Answered(c.r.Context(), method, route, c.w.status, time.Since(began))
}

func newRequestID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (s *server) answerPanic(c *call, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.Logger.LogAttrs(c.r.Context(), slog.LevelError, "panic while serving a request", slog.String("request_id", c.id),
		slog.String("method", c.r.Method), slog.String("route", c.r.Pattern), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	if c.w.begun {
		panic(http.ErrAbortHandler) // so that half an answer is not taken for a whole one
	}
	s.newProblem(c, http.StatusInternalServerError, internalDetail).write(c.w)
}

// notFound answers where there is no route, or none for the method.
func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == path.Clean(r.URL.Path) {
		if allow := strings.Join(s.allowed(r), ", "); allow != "" {
			w.Header().Set("Allow", allow)
			s.newProblem(callOf(r.Context()), http.StatusMethodNotAllowed, "this route takes "+allow).write(w)
			return
		}
	}
	p := s.newProblem(callOf(r.Context()), http.StatusNotFound, "there is no such route")
	p.Hint = "the routes are described at /docs and in /openapi.json"
	p.write(w)
}

// allowed returns the methods that a path takes. GET would take HEAD along, which
// under /api must not act.
func (s *server) allowed(r *http.Request) (allow []string) {
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost} {
		with := *r // nothing is written to it
		with.Method = method
		_, pattern := s.mux.Handler(&with)
		if !strings.HasPrefix(pattern, method+" ") {
			continue
		}
		if allow = append(allow, method); method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/api/") {
			allow = append(allow, http.MethodHead)
		}
	}
	return allow
}

// gone reports whether err only says that the caller hung up.
func (c *call) gone(err error) bool {
	return errors.Is(err, context.Canceled) && c.r.Context().Err() != nil
}
