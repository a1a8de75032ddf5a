package alerting_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
)

// fields reads "threshold: 20%, for: 10m".
func fields(text string) (all []alerting.Field) {
	for part := range strings.SplitSeq(text, ", ") {
		name, value, _ := strings.Cut(part, ": ")
		all = append(all, alerting.Field{Name: name, Text: value})
	}
	return all
}

// one returns the only rule of a name that holds by a change.
func one(t *testing.T, c alerting.Change) exportops.AlertRule {
	t.Helper()
	rules, err := alerting.Rules([]alerting.Change{c})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Name == c.Name {
			return r
		}
	}
	t.Fatalf("there is no rule %s", c.Name)
	return exportops.AlertRule{}
}

func TestRulesOfTheSettings(t *testing.T) {
	t.Run("without_any_the_defaults_hold", func(t *testing.T) {
		rules, err := alerting.Rules(nil)
		if d := cmp.Diff(alerting.DefaultRules(), rules); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	})
	t.Run("a_default_keeps_what_is_not_said", func(t *testing.T) {
		want := rule(t, "failure-rate")
		want.Threshold, want.Clear, want.For, want.Source = 0.2, 0.16, 10*time.Minute, "default, changed in x.yaml:3"
		got := one(t, alerting.Change{Name: "failure-rate", Fields: fields("threshold: 20%, for: 10m"), Source: "x.yaml:3"})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	t.Run("off_removes_one", func(t *testing.T) {
		rules, err := alerting.Rules([]alerting.Change{{Name: "volume", Off: true}})
		if err != nil || len(rules) != len(alerting.DefaultRules())-1 {
			t.Fatalf("%d rules, %v", len(rules), err)
		}
		for _, r := range rules {
			if r.Name == "volume" {
				t.Error("it is still there")
			}
		}
	})
	t.Run("a_sample_of_one_alerts_on_the_first_failure", func(t *testing.T) {
		r := one(t, alerting.Change{Name: "failure-rate", Fields: fields("min_sample: 1")})
		if got := alerting.Judge(r, exportops.Reading{Value: 1, Sample: 1}); got != alerting.Broken {
			t.Errorf("is %v", got)
		}
	})
	const user = "5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"
	for text, want := range map[string]exportops.AlertRule{
		"kind: failure_rate, threshold: 5%, window: 1h, format: csv": {
			Kind: exportops.AlertFailureRate, Severity: exportops.SeverityWarning, Threshold: 0.05, Clear: 0.04, Window: time.Hour, MinSample: 5, Format: exportops.CSV,
		},
		"kind: success_rate, threshold: 99.5%, window: 24h, min_sample: 100, severity: high, user: " + strings.ToUpper(user): {
			Kind: exportops.AlertSuccess, Severity: exportops.SeverityHigh, Threshold: 0.995, Clear: 0.996, Window: 24 * time.Hour, MinSample: 100, UserID: user,
		},
		"kind: burn_rate, threshold: 3x, window: 1d, short_window: 2h": {
			Kind: exportops.AlertBurnRate, Severity: exportops.SeverityWarning, Threshold: 3, Clear: 2.5, Window: 24 * time.Hour, Short: 2 * time.Hour, MinSample: 5,
		},
		"kind: avg_duration, threshold: 5s, clear: 4s, window: 30m": {
			Kind: exportops.AlertAvgDuration, Severity: exportops.SeverityWarning, Threshold: 5000, Clear: 4000, Window: 30 * time.Minute, MinSample: 5,
		},
		"kind: volume, threshold: 10, window: 1m": {Kind: exportops.AlertVolume, Severity: exportops.SeverityWarning, Threshold: 10, Clear: 9, Window: time.Minute},
		"kind: no_exports, threshold: 3, window: 2h": {
			Kind: exportops.AlertSilence, Severity: exportops.SeverityWarning, Threshold: 3, Clear: 3, Window: 2 * time.Hour,
		},
		"kind: stored_bytes, threshold: 1.5TB": {Kind: exportops.AlertStored, Severity: exportops.SeverityWarning, Threshold: 1.5e12, Clear: 1.35e12},
		"kind: stored_bytes, threshold: 1GiB, clear: 0": {
			Kind: exportops.AlertStored, Severity: exportops.SeverityWarning, Threshold: 1 << 30,
		},
		"kind: overdue_files, threshold: 2d": {Kind: exportops.AlertOverdue, Severity: exportops.SeverityWarning, Threshold: 48, Clear: 48},
		"kind: overlong_runs, threshold: 90m, severity: critical": {
			Kind: exportops.AlertOverlong, Severity: exportops.SeverityCritical, Threshold: 90, Clear: 90,
		},
		"kind: storage_unreachable, for: 10m": {Kind: exportops.AlertStorage, Severity: exportops.SeverityWarning, For: 10 * time.Minute},
	} {
		t.Run(text, func(t *testing.T) {
			want.Name, want.Source = "mine", "x.yaml:9"
			if d := cmp.Diff(want, one(t, alerting.Change{Name: "mine", Fields: fields(text), Source: "x.yaml:9"})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Where a default rule clears is where one of its threshold would that says nothing.
func TestTheDefaultsClearAsOthersDo(t *testing.T) {
	for _, r := range alerting.DefaultRules() {
		var given []alerting.Field
		for _, f := range alerting.Fields(r) {
			if f.Name != "clear" {
				given = append(given, f)
			}
		}
		want := r
		want.Name, want.Source = "mine", ""
		if d := cmp.Diff(want, one(t, alerting.Change{Name: "mine", Fields: given})); d != "" {
			t.Errorf("%s (-want +got):\n%s", r.Name, d)
		}
	}
}

// said lists the mistakes that an error joins: field, message.
func said(err error) (all []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, said(e)...)
		}
		return all
	}
	var e *exportops.Error
	if !errors.As(err, &e) {
		return []string{fmt.Sprint(err)}
	}
	if e.Kind != exportops.KindInvalid || e.Hint == "" {
		all = append(all, "no hint, or of another kind:")
	}
	return append(all, e.Field+": "+e.Message)
}

func TestMistakesInRules(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"volume", "kind: volume", []string{"volume.kind: the default rule volume has its kind"}},
		{"volume", "treshold: 1", []string{"volume.treshold: there is no such field"}},
		{"volume", "threshold: many, window: soon, for: ever, severity: low", []string{
			`volume.threshold: "many" is not accepted`, `volume.window: "soon" is no duration`, `volume.for: "ever" is not accepted`,
			`volume.severity: "low" is not accepted`,
		}},
		{"volume", "threshold: 1, threshold: 2", []string{"volume.threshold: it is set twice"}},
		{"volume", "threshold: 0.5", []string{`volume.threshold: "0.5" is not accepted`}},
		{"volume", "min_sample: 5", []string{"volume.min_sample: a rule of kind volume rests on no sample"}},
		{"volume", "short_window: 5m", []string{"volume.short_window: a rule of kind volume has none"}},
		{"failure-rate", "threshold: 10", []string{`failure-rate.threshold: "10" is not accepted`}},
		{"failure-rate", "threshold: 0.1", []string{`failure-rate.threshold: "0.1" is not accepted`}},
		{"failure-rate", "threshold: -5%", []string{`failure-rate.threshold: "-5%" is not accepted`}},
		{"failure-rate", "threshold: 1e1%", []string{`failure-rate.threshold: "1e1%" is not accepted`}},
		{"failure-rate", "threshold: 100%", []string{"failure-rate.threshold: a rule with 100% would never alert, or always"}},
		{"success-objective", "threshold: 0%", []string{"success-objective.threshold: a rule with 0% would never alert, or always"}},
		{"success-objective", "threshold: 101%", []string{"success-objective.threshold: a rule with 101% would never alert, or always"}},
		{"burn-rate-fast", "threshold: 20", []string{"burn-rate-fast.threshold: a rule with 20 would never alert, or always"}},
		{"failure-rate", "clear: 11%", []string{"failure-rate.clear: 11% is on the wrong side of the threshold 10%"}},
		{"success-objective", "clear: 94%", []string{"success-objective.clear: 94% is on the wrong side of the threshold 95%"}},
		{"failure-rate", "min_sample: 0", []string{`failure-rate.min_sample: "0" is no number of exports`}},
		{"failure-rate", "window: 30s", []string{"failure-rate.window: 30s is out of what can be looked at"}},
		{"failure-rate", "window: 400d", []string{"failure-rate.window: 400d is out of what can be looked at"}},
		{"failure-rate", "for: 8d", []string{`failure-rate.for: "8d" is not accepted`}},
		{"failure-rate", "format: xml", []string{`failure-rate.format: "xml" is not accepted`}},
		{"failure-rate", "user: alice", []string{"failure-rate.user: it is not a UUID"}},
		{"burn-rate-fast", "short_window: 1h", []string{"burn-rate-fast.short_window: 1h is not shorter than the window of 1h"}},
		{"success-objective", "user: 5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5, window: 25h", []string{
			"success-objective.window: 25h is too long for the exports of one user, which are read row by row",
		}},
		{"no-exports", "window: 90m", []string{"no-exports.window: 90m is not whole hours, by which exports are counted"}},
		{"no-exports", "format: csv", []string{"no-exports.format: a rule of kind no_exports is about everything"}},
		{"stored-files", "threshold: 10 lots, window: 1h, user: x", []string{
			`stored-files.threshold: "10 lots" is not accepted`, "stored-files.window: a rule of kind stored_bytes has none",
			"stored-files.user: a rule of kind stored_bytes is about everything", "stored-files.user: it is not a UUID",
		}},
		{"database-unreachable", "threshold: 1", []string{"database-unreachable.threshold: a rule of kind database_unreachable has none"}},
		{"mine", "threshold: 5", []string{"mine.kind: missing, and there is no default rule of this name"}},
		{"mine", "kind: failures, severity: low", []string{`mine.kind: "failures" is no kind of rule`, `mine.severity: "low" is not accepted`}},
		{"mine", "kind: failure_rate", []string{"mine.threshold: missing", "mine.window: missing"}},
		{"mine", "kind: burn_rate, threshold: 2", []string{"mine.window: missing", "mine.short_window: missing"}},
		{"Mine", "kind: missing_files, threshold: 1", []string{"Mine: it is no name of a rule"}},
		{"my rule", "kind: missing_files, threshold: 1", []string{"my rule: it is no name of a rule"}},
		{"mine\x00", "kind: missing_files, threshold: 1", []string{"mine\x00: it is no name of a rule"}},
		{strings.Repeat("m", 61), "kind: missing_files, threshold: 1", []string{strings.Repeat("m", 61) + ": it is no name of a rule"}},
		{"of-5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5", "kind: missing_files, threshold: 1", []string{
			"of-5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5: the name holds an id, which would be in incidents and messages",
		}},
	} {
		t.Run(c.name+" "+c.text, func(t *testing.T) {
			rules, err := alerting.Rules([]alerting.Change{{Name: c.name, Fields: fields(c.text)}})
			if d := cmp.Diff(c.want, said(err)); d != "" || rules != nil {
				t.Errorf("%d rules (-want +got):\n%s", len(rules), d)
			}
		})
	}
	t.Run("all_at_once", func(t *testing.T) {
		_, err := alerting.Rules([]alerting.Change{
			{Name: "volume", Off: true}, {Name: "volume", Off: true}, {Name: "volumes", Off: true}, {Name: "failure-rate", Fields: fields("clear: x")},
		})
		want := []string{
			"volume: it is set twice", "volumes: it is off, and there is no default rule of that name", `failure-rate.clear: "x" is not accepted`,
		}
		if d := cmp.Diff(want, said(err)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

// Whatever rule the settings make, written as they would have it, is that rule.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := alerting.Change{Name: "mine", Source: "x.yaml:1", Fields: drawFields(t)}
		rules, err := alerting.Rules([]alerting.Change{c})
		if err != nil {
			if rules != nil {
				t.Fatal("rules beside an error")
			}
			return
		}
		r := rules[len(rules)-1]
		again, err := alerting.Rules([]alerting.Change{{Name: "mine", Source: "x.yaml:1", Fields: alerting.Fields(r)}})
		if err != nil {
			t.Fatalf("%v\n%v", alerting.Fields(r), err)
		}
		if d := cmp.Diff(r, again[len(again)-1]); d != "" {
			t.Fatalf("%v (-want +got):\n%s", alerting.Fields(r), d)
		}
		// A figure at the threshold neither fires, nor, at the clear line, stays.
		if v := alerting.Judge(r, exportops.Reading{Value: r.Threshold, Sample: r.MinSample}); v == alerting.Broken {
			t.Fatalf("the threshold itself is %v", v)
		}
		if v := alerting.Judge(r, exportops.Reading{Value: r.Clear, Sample: max(r.MinSample, 1)}); v != alerting.Fine {
			t.Fatalf("the clear line is %v", v)
		}
	})
}

func drawFields(t *rapid.T) []alerting.Field {
	kind := rapid.SampledFrom(exportops.AlertKinds).Draw(t, "kind")
	length := rapid.Custom(func(t *rapid.T) string {
		u := rapid.SampledFrom([]struct {
			most int
			name string
		}{{90_000, "ms"}, {5000, "s"}, {3000, "m"}, {100, "h"}, {30, "d"}, {7, "d12h"}, {600, "m30s"}}).Draw(t, "unit")
		return fmt.Sprintf("%d%s", rapid.IntRange(1, u.most).Draw(t, "n"), u.name)
	})
	share := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%.*f%%", rapid.IntRange(0, 6).Draw(t, "digits"), rapid.Float64Range(0, 101).Draw(t, "share"))
	})
	figure := map[exportops.AlertKind]*rapid.Generator[string]{
		exportops.AlertFailureRate: share, exportops.AlertSuccess: share,
		exportops.AlertBurnRate: rapid.Map(rapid.Float64Range(0, 21), func(f float64) string { return fmt.Sprintf("%.2fx", f) }),
		exportops.AlertStored: rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%.*f%s", rapid.IntRange(0, 3).Draw(t, "digits"), rapid.Float64Range(0, 2000).Draw(t, "size"),
				rapid.SampledFrom([]string{"B", "kB", "MB", "GB", "TB", "KiB", "GiB"}).Draw(t, "unit"))
		}),
		exportops.AlertAvgDuration: length, exportops.AlertP95Duration: length, exportops.AlertOverdue: length, exportops.AlertOverlong: length,
	}[kind]
	if figure == nil {
		figure = rapid.Map(rapid.IntRange(0, 1_000_000), func(n int) string { return fmt.Sprint(n) })
	}
	fields := []alerting.Field{{Name: "kind", Text: string(kind)}}
	maybe := func(likely float64, name string, g *rapid.Generator[string]) {
		if rapid.Float64Range(0, 1).Draw(t, "has "+name) < likely {
			fields = append(fields, alerting.Field{Name: name, Text: g.Draw(t, name)})
		}
	}
	if kind != exportops.AlertDatabase && kind != exportops.AlertStorage {
		maybe(1, "threshold", figure)
		maybe(0.2, "clear", figure)
	}
	switch kind {
	case exportops.AlertSilence:
		maybe(1, "window", rapid.Map(rapid.IntRange(1, 24), func(n int) string { return fmt.Sprintf("%dh", n) }))
	case exportops.AlertBurnRate:
		maybe(1, "window", length)
		maybe(1, "short_window", length)
	case exportops.AlertFailureRate, exportops.AlertSuccess, exportops.AlertAvgDuration, exportops.AlertP95Duration, exportops.AlertVolume:
		maybe(1, "window", length)
		maybe(0.3, "format", rapid.Map(rapid.SampledFrom(exportops.Formats), func(f exportops.Format) string { return string(f) }))
		maybe(0.1, "user", rapid.Just("5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"))
	case exportops.AlertStuck, exportops.AlertMissed:
		maybe(1, "window", length)
	}
	maybe(0.3, "for", length)
	maybe(0.3, "severity", rapid.Map(rapid.SampledFrom(exportops.Severities), func(s exportops.Severity) string { return string(s) }))
	return fields
}
