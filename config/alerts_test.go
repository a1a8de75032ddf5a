package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/config"
)

const goodRules = `
addr: :1
alerts:
  failure-rate: {threshold: 20%, for: 10m}
  volume: off
  csv-failures:
    kind: failure_rate
    threshold: 5%
    window: 1h
    format: csv
`

func TestRulesOfTheFile(t *testing.T) {
	read, err := config.ReadFile(write(t, goodRules))
	if err != nil {
		t.Fatal(err)
	}
	want, err := alerting.Rules([]alerting.Change{
		{Name: "failure-rate", Source: "settings.yaml:4", Fields: []alerting.Field{{Name: "threshold", Text: "20%"}, {Name: "for", Text: "10m"}}},
		{Name: "volume", Off: true},
		{Name: "csv-failures", Source: "settings.yaml:6", Fields: []alerting.Field{
			{Name: "kind", Text: "failure_rate"}, {Name: "threshold", Text: "5%"}, {Name: "window", Text: "1h"}, {Name: "format", Text: "csv"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, read.Rules); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if read.Values["addr"] != ":1" || read.Policy != nil {
		t.Errorf("beside them: %+v", read)
	}
	if read, err := config.ReadFile(write(t, "addr: :1\n")); err != nil || read.Rules != nil {
		t.Errorf("without the section: %+v, %v", read.Rules, err)
	}
}

func TestMistakesInRulesHaveTheirLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":          {"alerts:\n", []string{"1: alerts is not a list of rules by name"}},
		"a value":        {"alerts: on\n", []string{"1: alerts is not a list of rules by name"}},
		"a list":         {"alerts:\n  - volume\n", []string{"2: alerts is not a list of rules by name"}},
		"twice":          {"alerts: {volume: off}\nalerts: {volume: off}\n", []string{"2: alerts is set twice"}},
		"a rule twice":   {"alerts:\n  volume: off\n  volume: {threshold: 2}\n", []string{`3: rule "volume": it is set twice`}},
		"a rule as on":   {"alerts:\n  volume: on\n", []string{`2: rule "volume": it is neither off nor a list of fields`}},
		"a rule as null": {"alerts:\n  volume:\n", []string{`2: rule "volume": it is neither off nor a list of fields`}},
		"a field twice":  {"alerts:\n  volume:\n    threshold: 1\n    threshold: 2\n", []string{`4: rule "volume": threshold: it is set twice`}},
		"no one value": {
			"alerts:\n  volume:\n    threshold: [1, 2]\n    window: ~\n",
			[]string{`3: rule "volume": threshold is not one value`, `4: rule "volume": window is not one value`},
		},
		"what is missing is told where the rule begins": {
			"alerts:\n  volume: off\n  mine:\n    kind: failure_rate\n", []string{`3: rule "mine": threshold: missing`, `3: rule "mine": window: missing`},
		},
		"off of nothing": {"alerts:\n  volumes: off\n", []string{`2: rule "volumes": it is off, and there is no default rule of that name`}},
		"each at its line": {
			"alerts:\n  failure-rate:\n    threshold: 0.1\n    clear: 50%\n  Mine: {kind: missing_files, threshold: 1}\n  volume:\n    tresh: 1\n",
			[]string{
				`3: rule "failure-rate": threshold: "0.1" is not accepted`, `5: rule "Mine": it is no name of a rule`, `7: rule "volume": tresh: there is no such field`,
			},
		},
		"a name with a dot": {"alerts:\n  a.b: {kind: missing_files, threshold: 1}\n", []string{`2: rule "a.b": it is no name of a rule`}},
	} {
		t.Run(name, func(t *testing.T) {
			read, err := config.ReadFile(write(t, c.text))
			if d := cmp.Diff(c.want, mistakes(err)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if read.Rules != nil && name != "twice" {
				t.Error("rules are returned all the same")
			}
		})
	}
}

// indented returns the block of a text that begins with a line and is indented
// further, without what comments it out.
func indented(t *testing.T, path, first string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	margin := strings.Repeat(" ", strings.Index(first, strings.TrimSpace(first)))
	found := ""
	for line := range strings.Lines(regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(string(text), "")) {
		switch {
		case line == first+"\n", found != "" && strings.HasPrefix(line, margin+" "):
			found += strings.TrimPrefix(line, margin)
		case found != "":
			return found
		}
	}
	t.Fatalf("%s has no line %q", path, first)
	return ""
}

// The rules of the example file and of the documentation are accepted, and the same.
func TestTheExamplesOfRules(t *testing.T) {
	var before []exportops.AlertRule
	for path, first := range map[string]string{"../exportops.example.yaml": "  alerts:", "../docs/alerts.md": "    alerts:"} {
		read, err := config.ReadFile(write(t, indented(t, path, first)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if before != nil {
			if d := cmp.Diff(before, read.Rules); d != "" {
				t.Errorf("the two examples differ (-, +):\n%s", d)
			}
		}
		before = read.Rules
		names := map[string]exportops.AlertRule{}
		for _, r := range read.Rules {
			names[r.Name] = r
		}
		if r := names["failure-rate"]; r.Threshold != 0.2 || r.Clear != 0.16 || r.For != 10*time.Minute || r.MinSample != 1 {
			t.Errorf("%s: failure-rate is %+v", path, r)
		}
		if r, ok := names["volume"]; ok {
			t.Errorf("%s: volume is %+v", path, r)
		}
	}
}
