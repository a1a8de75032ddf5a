package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// A server looks at the alert rules by itself, and one that is told not to does not.
func TestServeWatches(t *testing.T) {
	for name, interval := range map[string]time.Duration{"at_its_interval": 20 * time.Millisecond, "never_when_it_is_off": 0} {
		t.Run(name, func(t *testing.T) {
			c := settings(t, nil)
			c.AlertInterval = interval
			s := open(t, c)
			defer s.close()
			took, kind := int64(9), "TimeoutError"
			var failed []exportops.Metric
			for range 6 {
				failed = append(failed, exportops.Metric{
					ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.CSV, Status: exportops.Failed,
					ConversationCount: 1, DurationMS: &took, ErrorType: &kind, Timestamp: exportops.At(time.Now()),
				})
			}
			if _, err := s.Metrics.Record(t.Context(), failed); err != nil {
				t.Fatal(err)
			}
			s.serve()
			firing := func() (rules []string) {
				open, err := s.Store.OpenIncidents(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range open {
					if i.State == exportops.IncidentFiring {
						rules = append(rules, i.Rule)
					}
				}
				return rules
			}
			if interval > 0 {
				wait(t, "the failures to be an incident", func() bool { return strings.Contains(strings.Join(firing(), " "), "failure-rate") })
			}
			s.stops(stopSoon)
			if got := firing(); interval == 0 && len(got) > 0 {
				t.Errorf("fires %q", got)
			}
		})
	}
}
