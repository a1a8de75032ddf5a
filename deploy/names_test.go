package deploy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var aName = regexp.MustCompile(`\bexportops[_:][a-z0-9_:]+`)

// shown returns the names of what a server shows that has seen every kind of export.
func shown(t *testing.T) []string {
	t.Helper()
	metrics := free(t)
	api, _ := serve(t, metrics)
	report(t, api, 12)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "# TYPE exportops_"); ok {
			name, _, _ = strings.Cut(name, " ")
			names = append(names, "exportops_"+name)
		}
	}
	// These are there when there is something to tell.
	return append(names, "exportops_alerts", "exportops_notifications", "exportops_last_run_timestamp_seconds", "exportops_last_success_timestamp_seconds",
		"exportops_last_run_duration_seconds", "exportops_last_run_state")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func expressions(t *testing.T) (rules []string, dashboard []string, recorded []string) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules = append(rules, r.Expr)
			if r.Record != "" {
				recorded = append(recorded, r.Record)
			}
		}
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana/exportops.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			dashboard = append(dashboard, q.Expr)
		}
	}
	return rules, dashboard, recorded
}

// The rules, the dashboard and the documentation speak of what is there, and the
// documentation of all of it.
func TestNamesAreThoseOfTheServer(t *testing.T) {
	names := shown(t)
	rules, dashboard, recorded := expressions(t)
	if len(rules) < 10 || len(dashboard) < 10 {
		t.Fatalf("%d rules and %d queries were found", len(rules), len(dashboard))
	}
	there := slices.Concat(names, recorded)
	known := func(name string) bool {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && slices.Contains(there, base) {
				return true
			}
		}
		return false
	}
	for _, text := range slices.Concat(rules, dashboard) {
		for _, name := range aName.FindAllString(text, -1) {
			if !known(name) {
				t.Errorf("there is no %s, of which speaks: %s", name, text)
			}
		}
	}
	documented := map[string]bool{}
	for line := range strings.Lines(read(t, "../docs/monitoring.md")) {
		if strings.HasPrefix(line, "| `exportops_") {
			documented[aName.FindString(line)] = true
		}
	}
	for name := range documented {
		if !slices.Contains(names, name) {
			t.Errorf("the documentation tells of %s, which there is not", name)
		}
	}
	for _, name := range names {
		if !documented[name] {
			t.Errorf("the documentation does not tell of %s", name)
		}
	}
}
