package app_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// channel keeps what it is sent.
type channel struct {
	mu  sync.Mutex
	got []exportops.Message
}

func (c *channel) Send(_ context.Context, m exportops.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	return nil
}

func (c *channel) heard() []exportops.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]exportops.Message{}, c.got...)
}

// A server tells a channel of an incident as soon as it sees it, and records that it
// did.
func TestServeTells(t *testing.T) {
	c := settings(t, nil)
	c.AlertInterval = 20 * time.Millisecond
	s := open(t, c)
	defer s.close()
	ops := &channel{}
	s.Tell(ops, exportops.Audience{Channel: "ops", Rules: []string{"failure-rate"}})
	fail(t, s)
	s.serve()
	wait(t, "the channel to be told", func() bool { return len(ops.heard()) > 0 })
	s.stops(stopSoon)
	heard := ops.heard()
	if len(heard) != 1 || heard[0].Kind != exportops.MessageFiring || heard[0].Incident.Rule != "failure-rate" {
		t.Fatalf("heard %+v", heard)
	}
	n, err := s.Store.Notification(t.Context(), heard[0].ID)
	if err != nil || n.State != exportops.NotificationDelivered {
		t.Errorf("is %+v, %v", n, err)
	}
}

// fail reports exports that failed.
func fail(t *testing.T, s *server) {
	t.Helper()
	took, kind := int64(9), "TimeoutError"
	var failed []exportops.Metric
	for range 6 {
		failed = append(failed, exportops.Metric{
			ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.CSV, Status: exportops.Failed,
			ConversationCount: 1, DurationMS: &took, ErrorType: &kind, Timestamp: exportops.At(time.Now()),
		})
	}
	receipts, err := s.Metrics.Record(t.Context(), failed)
	for _, r := range receipts {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The type of an error is what an application wrote: a summary goes to third parties.
func TestASummaryIsScrubbed(t *testing.T) {
	s := open(t, settings(t, nil))
	defer s.close()
	ops := &channel{}
	s.Tell(ops, exportops.Audience{Channel: "ops", NoAlerts: true, Summary: exportops.SummaryDaily})
	took, id := int64(9), exportops.NewID()
	for _, who := range []string{"jane@example.com", "john@example.com"} {
		kind := "NoMailbox " + who + " " + id
		receipts, err := s.Metrics.Record(t.Context(), []exportops.Metric{{
			ExportID: exportops.NewID(), UserID: id, Format: exportops.CSV, Status: exportops.Failed, ConversationCount: 1,
			DurationMS: &took, ErrorType: &kind, Timestamp: exportops.At(time.Now().Add(-24 * time.Hour)),
		}})
		if err = errors.Join(err, receipts[0].Err); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Alerts.Evaluate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sender.SendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	heard := ops.heard()
	if len(heard) != 1 {
		t.Fatalf("heard %+v", heard)
	}
	if text := heard[0].Text; !strings.Contains(text, "failed with NoMailbox [email] [id]: 2\n") {
		t.Errorf("it says: %s", text)
	}
}
