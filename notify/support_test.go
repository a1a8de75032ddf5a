package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/outbound"
)

// here is a guard that lets tests reach this machine.
func here() *outbound.Guard {
	return &outbound.Guard{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

var noon = exportops.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func later(d time.Duration) exportops.Time { return exportops.At(noon.Add(d)) }

// incident is one that fires since noon.
func incident() exportops.Incident {
	fired := noon
	return exportops.Incident{
		ID: "11111111-2222-4333-8444-555555555555", Rule: "failed-runs", Kind: exportops.AlertFailedRuns, Subject: "file-cleanup",
		Severity: exportops.SeverityHigh, State: exportops.IncidentFiring, Value: 2, Worst: 2, Message: "2 runs in a row failed",
		StartedAt: noon, FiredAt: &fired, SeenAt: noon, Version: 2,
	}
}

func firing() exportops.Message {
	i := incident()
	return exportops.Message{
		ID: "m-1", Kind: exportops.MessageFiring, At: later(time.Second), Title: "HIGH: 2 runs <!channel> & more failed",
		Text: "Since 12:00.\nexportops alerts show 1\n", Incident: &i,
	}
}

func resolved() exportops.Message {
	m := firing()
	end := later(time.Hour)
	m.ID, m.Kind, m.At, m.Title = "m-2", exportops.MessageResolved, end, "OVER: 2 runs failed"
	m.Incident.State, m.Incident.ResolvedAt = exportops.IncidentResolved, &end
	return m
}

func plain(kind exportops.MessageKind) exportops.Message {
	return exportops.Message{ID: "m-3", Kind: kind, At: noon, Title: "A title", Text: "A text\n"}
}

// got is a request that a receiver took.
type got struct {
	*http.Request
	body []byte
}

// object reads the body as JSON.
func (g got) object(t *testing.T) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(g.body, &v); err != nil {
		t.Fatalf("%s: %v", g.body, err)
	}
	return v
}

// receiver is a server that keeps what it is sent, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	all    []got
	answer http.HandlerFunc // nil is 200
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender gave up: it was not taken
		}
		r.mu.Lock()
		r.all = append(r.all, got{req, body})
		r.mu.Unlock()
		req.Body = io.NopCloser(bytes.NewReader(body))
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// took returns what it was sent, which must be so many.
func (r *receiver) took(t *testing.T, n int) []got {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) != n {
		t.Fatalf("it was sent %d requests, want %d", len(r.all), n)
	}
	return append([]got{}, r.all...)
}

func send(t *testing.T, c exportops.Channel, all ...exportops.Message) {
	t.Helper()
	for _, m := range all {
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatalf("send %s: %v", m.Kind, err)
		}
	}
}

// wantFailure sends a message that fails, finally or not, for a reason, and sees to it
// that the error holds no secret. It returns how long to wait.
func wantFailure(t *testing.T, c exportops.Channel, m exportops.Message, final bool, says string) time.Duration {
	t.Helper()
	err := c.Send(t.Context(), m)
	var e *exportops.DeliveryError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.Final != final || !strings.Contains(e.Error(), says) || strings.Contains(e.Error(), "s3cret") {
		t.Errorf("final %v, said %q; want %v and %q", e.Final, e, final, says)
	}
	return e.RetryAfter
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
