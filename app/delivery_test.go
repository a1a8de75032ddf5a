package app_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

// From failed exports to receivers, by the settings of a file: each hears once that
// an incident fires, and once that it is over.
func TestAnIncidentReachesEveryChannelOfTheSettings(t *testing.T) {
	slack, hook, other := listen(t), listen(t), listen(t)
	c := withChannels(t, fmt.Sprintf(`channels:
  - {name: team, type: slack, url: "%s/hook", rules: [failure-rate]}
  - {name: tool, type: webhook, url: "%s/in", secret: whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=, rules: [failure-rate]}
  - {name: boss, type: slack, url: "%s/hook", severities: [capacity]}
`, slack.URL, hook.URL, other.URL), func(s *config.Settings) { s.AllowPrivateTargets = "127.0.0.0/8" })
	c.AlertInterval = 50 * time.Millisecond
	s := open(t, c)
	defer s.close()
	s.serve()
	fail(t, s)
	wait(t, "both to be told", func() bool { return len(slack.heard()) > 0 && len(hook.heard()) > 0 })
	succeed(t, s, 200)
	wait(t, "both to be told of the end", func() bool { return len(slack.heard()) > 1 && len(hook.heard()) > 1 })
	s.stops(stopSoon)
	for name, l := range map[string]*listener{"slack": slack, "hook": hook} {
		heard := l.heard()
		if len(heard) != 2 {
			t.Fatalf("%s heard %q", name, heard)
		}
		const what = "Export failure rate (100.00%) exceeds threshold (10%)"
		if first, last := heard[0], heard[1]; !strings.Contains(first, what) || strings.Contains(first, "resolved: ") ||
			!strings.Contains(last, what) || !strings.Contains(last, "resolved: ") {
			t.Errorf("%s heard %q", name, heard)
		}
	}
	if heard := other.heard(); len(heard) > 0 {
		t.Errorf("who did not ask heard %q", heard)
	}
	page, _, err := s.Store.Notifications(t.Context(), exportops.NotificationFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range page {
		if n.State != exportops.NotificationDelivered || n.Attempts != 1 {
			t.Errorf("%s to %s is %s after %d attempts: %s", n.Message.Kind, n.Channel, n.State, n.Attempts, n.Error)
		}
	}
	if len(page) != 4 {
		t.Errorf("%d messages were kept, want 4", len(page))
	}
}

// succeed reports exports that were completed.
func succeed(t *testing.T, s *server, n int) {
	t.Helper()
	took := int64(9)
	all := make([]exportops.Metric, n)
	for i := range all {
		all[i] = exportops.Metric{
			ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.CSV, Status: exportops.Completed,
			ConversationCount: 1, DurationMS: &took, Timestamp: exportops.At(time.Now()),
		}
	}
	receipts, err := s.Metrics.Record(t.Context(), all)
	for _, r := range receipts {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
