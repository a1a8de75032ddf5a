package alerting_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
)

// The table of rules in the documentation is what the rules are.
func TestTheDocumentedRules(t *testing.T) {
	text, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults, rest, _ := strings.Cut(string(text), "\n## ")
	rows := strings.Count(defaults, "\n| `")
	for _, k := range exportops.AlertKinds {
		if !strings.Contains(rest, "`"+string(k)+"`") {
			t.Errorf("docs/alerts.md lacks the kind %s", k)
		}
	}
	for _, o := range exportops.Objectives {
		if !strings.Contains(rest, "\n| `"+o.Name+"` |") {
			t.Errorf("docs/alerts.md lacks the objective %s", o.Name)
		}
	}
	for _, r := range alerting.DefaultRules() {
		window := "–"
		if r.Window > 0 {
			window = strings.TrimSuffix(strings.TrimSuffix(r.Window.String(), "0s"), "0m")
		}
		if r.Short > 0 {
			window += " and " + strings.TrimSuffix(r.Short.String(), "0s")
		}
		line := fmt.Sprintf("| `%s` | %s | %s | %s |", r.Name, r.Severity, alerting.Describe(r), window)
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("docs/alerts.md lacks the line\n%s", line)
		}
	}
	if want := len(alerting.DefaultRules()); rows != want {
		t.Errorf("docs/alerts.md has %d lines of rules, want %d", rows, want)
	}
}
