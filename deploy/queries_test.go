package deploy_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// The queries for Datadog and CloudWatch ask for fields that the events have.
func TestQueriesAskForWhatEventsHave(t *testing.T) {
	one, text := int64(1), "TimeoutError"
	events := map[exportops.EventType]any{
		exportops.EventExportMetric: metrics.Event{Metric: exportops.Metric{
			DurationMS: &one, FileSizeBytes: &one, ErrorType: &text, ErrorMessage: &text,
		}},
		exportops.EventFileCleanupComplete: exportops.FileCleanupResult{},
		exportops.EventFileCleanupFailed:   exportops.FileCleanupResult{},
		exportops.EventAlert: struct {
			exportops.Incident
			Step exportops.IncidentStep `json:"step"`
		}{},
	}
	var (
		aType  = regexp.MustCompile(`type(?::| = "|": "|= ")([a-z_]+)`)
		aField = regexp.MustCompile(`(?:\b(?:avg|sum|max):|(?:avg|sum|count|strcontains)\(|\bby |, |fields )([a-z_]+)`)
	)
	// What the query languages have of their own.
	theirs := []string{"bin", "strcontains"}
	queries := 0
	for line := range strings.Lines(read(t, "../docs/monitoring.md")) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "¦"), "|")
		if len(cells) != 4 || !strings.Contains(cells[2], "type") {
			continue
		}
		queries++
		asked := aType.FindStringSubmatch(cells[2])
		v, ok := events[exportops.EventType(asked[1])]
		if !ok {
			t.Errorf("there is no event %s, of which asks: %s", asked[1], cells[2])
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		for _, f := range aField.FindAllStringSubmatch(cells[2], -1) {
			if _, ok := fields[f[1]]; !ok && !slices.Contains(theirs, f[1]) {
				t.Errorf("%s has no field %s (it has %v), for which asks: %s", asked[1], f[1], slices.Sorted(maps.Keys(fields)), cells[2])
			}
		}
	}
	if queries < 8 {
		t.Errorf("%d queries were found", queries)
	}
}
