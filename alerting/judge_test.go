package alerting_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
)

func rule(t *testing.T, name string) exportops.AlertRule {
	t.Helper()
	for _, r := range alerting.DefaultRules() {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("there is no rule %s", name)
	return exportops.AlertRule{}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		rule   string
		value  float64
		sample int64
		want   alerting.Verdict
	}{
		{"failure-rate", 0.15, 20, alerting.Broken},
		{"failure-rate", 0.10, 20, alerting.Between}, // the contract: above 10 %
		{"failure-rate", 0.08, 25, alerting.Fine},
		{"failure-rate", 1, 4, alerting.Unknown},
		{"failure-rate", 1, 5, alerting.Broken},
		{"success-objective", 0.949, 1000, alerting.Broken},
		{"success-objective", 0.95, 1000, alerting.Between},
		{"success-objective", 0.96, 1000, alerting.Fine},
		{"burn-rate-fast", 14.5, 10, alerting.Broken},
		{"burn-rate-slow", 6, 10, alerting.Between},
		{"average-duration", 5000, 9, alerting.Between},
		{"average-duration", 5000.5, 9, alerting.Broken},
		{"volume", 1000, 0, alerting.Between},
		{"volume", 1001, 0, alerting.Broken},
		{"no-exports", 0, 0, alerting.Broken},
		{"no-exports", 1, 0, alerting.Fine},
		{"stored-files", 10e9, 0, alerting.Between},
		{"stored-files", 10e9 + 1, 0, alerting.Broken},
		{"overdue-files", 26, 0, alerting.Fine},
		{"overdue-files", 26.1, 0, alerting.Broken},
		{"failed-deletions", 5, 0, alerting.Fine}, // the contract: more than 5
		{"failed-deletions", 6, 0, alerting.Broken},
		{"quarantined-files", 1, 0, alerting.Broken},
		{"missing-files", 0, 0, alerting.Fine},
	} {
		t.Run(fmt.Sprintf("%s_of_%v_from_%d", c.rule, c.value, c.sample), func(t *testing.T) {
			got := alerting.Judge(rule(t, c.rule), exportops.Reading{Value: c.value, Sample: c.sample})
			if got != c.want {
				t.Errorf("is %v, want %v", got, c.want)
			}
		})
	}
	t.Run("a_sample_of_one_brings_back_an_alert_for_each_failure", func(t *testing.T) {
		r := rule(t, "failure-rate")
		r.MinSample = 1
		if got := alerting.Judge(r, exportops.Reading{Value: 1, Sample: 1}); got != alerting.Broken {
			t.Errorf("is %v", got)
		}
	})
}

func TestMessage(t *testing.T) {
	for _, c := range []struct {
		rule string
		f    exportops.Reading
		want string
	}{
		{"failure-rate", exportops.Reading{Value: 0.15}, "Export failure rate (15.00%) exceeds threshold (10%)"},
		{"success-objective", exportops.Reading{Value: 0.9}, "Export success rate (90.00%) is below threshold (95%)"},
		{"burn-rate-fast", exportops.Reading{Value: 15}, "Burn rate of the success objective (15x) exceeds threshold (14.4x)"},
		{"overdue-files", exportops.Reading{Value: 30.25}, "Age of the oldest overdue file (30.2 h) exceeds threshold (26 h)"},
		{
			"missed-runs",
			exportops.Reading{Subject: "file-cleanup", Value: 3},
			"Number of missed runs of file-cleanup (3) exceeds threshold (0)",
		},
		{
			"overlong-runs",
			exportops.Reading{Subject: "log-cleanup", Value: 61, Detail: "run 7"},
			"Duration of the active run of log-cleanup (61 min) exceeds threshold (60 min): run 7",
		},
	} {
		if d := cmp.Diff(c.want, alerting.Message(rule(t, c.rule), c.f)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, d)
		}
	}
}

var noon = exportops.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

// life lets readings come minutes apart, and tells what happened in the minute it
// happened: "3 firing".
func life(t *testing.T, r exportops.AlertRule, minutes int, values ...float64) string {
	t.Helper()
	var open *exportops.Incident
	var said []string
	for n, v := range values {
		at := exportops.At(noon.Add(time.Duration(n*minutes) * time.Minute))
		f := exportops.Reading{Value: v, Sample: 100, Unknown: v < 0}
		next, events := alerting.Advance(r, open, f, at)
		for _, e := range events {
			said = append(said, fmt.Sprintf("%d %s", n*minutes, e.Step))
		}
		if open = next; open != nil && !open.Open() {
			open = nil
		}
	}
	return strings.Join(said, ", ")
}

func TestAdvance(t *testing.T) {
	patient := rule(t, "failure-rate")
	patient.For = 10 * time.Minute
	for _, c := range []struct {
		name    string
		rule    exportops.AlertRule
		minutes int
		values  []float64 // below 0: unknown
		want    string
	}{
		{"fires_at_once_without_for", rule(t, "failure-rate"), 5, []float64{0, 0.2}, "5 pending, 5 firing"},
		{"waits_for_as_long_as_for_says", patient, 5, []float64{0.2, 0.2, 0.2, 0.2}, "0 pending, 10 firing"},
		{"one_that_passes_never_fires", patient, 5, []float64{0.2, 0.2, 0, 0.2}, "0 pending, 10 resolved, 15 pending"},
		{"a_figure_between_does_not_begin", rule(t, "failure-rate"), 5, []float64{0.09, 0.1}, ""},
		{"a_figure_between_does_not_end", rule(t, "failure-rate"), 5, []float64{0.2, 0.09, 0.2, 0.09, 0.08}, "0 pending, 0 firing, 20 resolved"},
		{"a_figure_between_ends_what_is_pending", patient, 5, []float64{0.2, 0.09}, "0 pending, 5 resolved"},
		{"fires_anew_after_it_ended", rule(t, "failure-rate"), 5, []float64{0.2, 0, 0.2}, "0 pending, 0 firing, 5 resolved, 10 pending, 10 firing"},
		{"what_cannot_be_told_changes_nothing", rule(t, "failure-rate"), 20, []float64{0.2, -1, -1, -1, 0.2}, "0 pending, 0 firing"},
		{"what_cannot_be_told_for_a_window_ends", rule(t, "failure-rate"), 20, []float64{0.2, -1, -1, -1, -1}, "0 pending, 0 firing, 80 resolved"},
		{"what_cannot_be_told_does_not_begin", rule(t, "failure-rate"), 20, []float64{-1, -1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, life(t, c.rule, c.minutes, c.values...)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	t.Run("a_clock_behind_changes_nothing", func(t *testing.T) {
		r := rule(t, "failure-rate")
		open, _ := alerting.Advance(r, nil, exportops.Reading{Value: 1, Sample: 9}, noon)
		next, events := alerting.Advance(r, open, exportops.Reading{Sample: 9}, exportops.At(noon.Add(-time.Second)))
		if next != open || events != nil {
			t.Errorf("became %+v, %+v", next, events)
		}
	})
	t.Run("keeps_the_worst", func(t *testing.T) {
		r := rule(t, "failure-rate")
		var open *exportops.Incident
		for n, v := range []float64{0.2, 0.7, 0.3} {
			open, _ = alerting.Advance(r, open, exportops.Reading{Value: v, Sample: 10}, exportops.At(noon.Add(time.Duration(n)*time.Minute)))
		}
		if open.Worst != 0.7 || open.Value != 0.3 || open.Message != "Export failure rate (30.00%) exceeds threshold (10%)" {
			t.Errorf("is %+v", open)
		}
	})
}

// Whatever comes, at whatever times, an incident fires once and ends once, in this
// order, and its history says the same as it.
func TestAnIncidentFiresOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(alerting.DefaultRules()).Draw(t, "rule")
		r.For = time.Duration(rapid.IntRange(0, 20).Draw(t, "for")) * time.Minute
		at := noon
		var open *exportops.Incident
		steps := map[string][]exportops.IncidentStep{}
		for range rapid.IntRange(1, 60).Draw(t, "readings") {
			at = exportops.At(at.Add(time.Duration(rapid.IntRange(-2, 90).Draw(t, "minutes")) * time.Minute))
			f := exportops.Reading{
				Value:  rapid.SampledFrom([]float64{0, r.Clear, (r.Clear + r.Threshold) / 2, r.Threshold, r.Threshold + 1, -1}).Draw(t, "value"),
				Sample: rapid.Int64Range(0, 10).Draw(t, "sample"), Unknown: rapid.Float64().Draw(t, "unknown") < 0.1,
			}
			next, events := alerting.Advance(r, open, f, at)
			if open != nil && next == nil {
				t.Fatalf("an open incident vanished")
			}
			for _, e := range events {
				steps[e.IncidentID] = append(steps[e.IncidentID], e.Step)
			}
			open = next
			if open == nil {
				continue
			}
			got := steps[open.ID]
			want := []exportops.IncidentStep{exportops.StepPending}
			if open.FiredAt != nil {
				want = append(want, exportops.StepFiring)
			}
			if open.ResolvedAt != nil {
				want = append(want, exportops.StepResolved)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("its history (-want +got):\n%s", d)
			}
			if (open.State == exportops.IncidentFiring) != (open.FiredAt != nil && open.ResolvedAt == nil) {
				t.Fatalf("is %+v", open)
			}
			if !open.Open() {
				open = nil
			}
		}
	})
}

func TestTell(t *testing.T) {
	ago := func(minutes int) *exportops.Time {
		at := exportops.At(noon.Add(-time.Duration(minutes) * time.Minute))
		return &at
	}
	firing, over := exportops.IncidentFiring, exportops.IncidentResolved
	for _, c := range []struct {
		name     string
		incident exportops.Incident
		silenced bool
		want     exportops.IncidentStep
	}{
		{"nothing_of_what_is_pending", exportops.Incident{State: exportops.IncidentPending}, false, ""},
		{"nothing_of_what_never_fired", exportops.Incident{State: over, ResolvedAt: ago(0)}, false, ""},
		{"that_it_fires", exportops.Incident{State: firing, FiredAt: ago(0)}, false, exportops.StepFiring},
		{"nothing_under_a_silence", exportops.Incident{State: firing, FiredAt: ago(0)}, true, ""},
		{"nothing_again_so_soon", exportops.Incident{State: firing, FiredAt: ago(90), RemindedAt: ago(59)}, false, ""},
		{"a_reminder", exportops.Incident{State: firing, FiredAt: ago(90), RemindedAt: ago(60)}, false, exportops.StepReminder},
		{
			"no_reminder_of_what_somebody_looks_at",
			exportops.Incident{State: firing, FiredAt: ago(90), RemindedAt: ago(60), AcknowledgedAt: ago(1)},
			false, "",
		},
		{"that_it_is_over", exportops.Incident{State: over, FiredAt: ago(9), RemindedAt: ago(9), ResolvedAt: ago(0)}, false, exportops.StepResolved},
		{
			"that_it_is_over_even_under_a_silence",
			exportops.Incident{State: over, FiredAt: ago(9), RemindedAt: ago(9), ResolvedAt: ago(0)},
			true, exportops.StepResolved,
		},
		{"no_reminder_under_a_silence", exportops.Incident{State: firing, FiredAt: ago(90), RemindedAt: ago(60)}, true, ""},
		{"not_that_it_is_over_to_who_never_heard_of_it", exportops.Incident{State: over, FiredAt: ago(9), ResolvedAt: ago(0)}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := alerting.Tell(c.incident, c.silenced, time.Hour, noon); got != c.want {
				t.Errorf("tells %q, want %q", got, c.want)
			}
		})
	}
}
