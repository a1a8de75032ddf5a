package alerting_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/internal/testworld"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func ago(d time.Duration) *exportops.Time {
	at := exportops.At(noon.Add(-d))
	return &at
}

func TestCompose(t *testing.T) {
	i := exportops.Incident{
		ID: "9a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3", Rule: "failure-rate", Kind: exportops.AlertFailureRate, Severity: exportops.SeverityHigh,
		State: exportops.IncidentFiring, Value: 0.2, Worst: 0.35, Threshold: 0.1, Sample: 20, StartedAt: *ago(0), FiredAt: ago(0), SeenAt: *ago(0),
		Message: "Export failure rate (20.00%) exceeds threshold (10%)", ToldTo: []string{"the-bosses"},
	}
	over := i
	over.State, over.StartedAt, over.ResolvedAt, over.Value = exportops.IncidentResolved, *ago(26*time.Hour + 3*time.Minute), ago(0), 0.01
	hostile := i
	hostile.StartedAt, hostile.Kind, hostile.Rule = *ago(40 * time.Second), "of a later version", "a\r\nBcc: x"
	hostile.Message = "one\r\nSubject: two\x00\x1b[31m \xff" + strings.Repeat("y", 1000)
	var out strings.Builder
	for _, c := range []struct {
		kind     exportops.MessageKind
		incident exportops.Incident
	}{
		{exportops.MessageFiring, i},
		{exportops.MessageReminder, func() exportops.Incident { x := i; x.StartedAt = *ago(4 * time.Hour); return x }()},
		{exportops.MessageResolved, over},
		{exportops.MessageFiring, hostile},
	} {
		m := alerting.Compose(c.kind, c.incident, noon)
		out.WriteString(string(m.Kind) + " " + m.At.String() + "\n" + m.Title + "\n\n" + m.Text + "----\n")
		if m.Incident == nil || m.Incident.ID != i.ID || m.Incident.ToldTo != nil {
			t.Errorf("its incident is %+v", m.Incident)
		}
	}
	golden(t, "messages", out.String())
}

// outbox lists what is to be told, oldest first: channel, kind and rule.
func outbox(t *testing.T, w *testworld.World) (out []string) {
	t.Helper()
	all, _, err := w.Store.Notifications(t.Context(), exportops.NotificationFilter{Limit: exportops.MaxPage})
	w.Must(err)
	for _, n := range slices.Backward(all) {
		rule := ""
		if n.Message.Incident != nil {
			rule = n.Message.Incident.Rule
		}
		out = append(out, strings.TrimSpace(n.Channel+" "+string(n.Message.Kind)+" "+rule))
	}
	return out
}

func wantOutbox(t *testing.T, w *testworld.World, want ...string) {
	t.Helper()
	got := outbox(t, w)
	if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
		t.Fatalf("told (-want +got):\n%s", d)
	}
}

func TestTellsChannels(t *testing.T) {
	all := exportops.Audience{Channel: "ops"}
	teller := func(w *testworld.World, audiences ...exportops.Audience) *alerting.Service {
		s := watcher(w, "failure-rate", "success-objective")
		s.Audiences, s.Reminder = audiences, 4*time.Hour
		return s
	}
	evaluate := func(w *testworld.World, s *alerting.Service) {
		t.Helper()
		w.Must(s.Evaluate(t.Context()))
	}
	const fires, fires2 = "ops alert.firing failure-rate", "ops alert.firing success-objective"

	t.Run("once_when_it_fires_and_once_when_it_is_over", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s, woken := teller(w, all), 0
		s.Wake = func() { woken++ }
		exports(t, w, 0, 9, 0)
		for range 3 {
			evaluate(w, s)
		}
		wantOutbox(t, w, fires, fires2)
		w.Clock.Advance(time.Minute)
		exports(t, w, 240, 0, 1)
		evaluate(w, s)
		evaluate(w, s)
		wantOutbox(t, w, fires, fires2, "ops alert.resolved failure-rate", "ops alert.resolved success-objective")
		if woken != 4 {
			t.Errorf("the sender was woken %d times", woken)
		}
	})
	t.Run("each_channel_of_what_it_wants_to_hear", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		evaluate(w, teller(w,
			exportops.Audience{Channel: "pager", Severities: []exportops.Severity{exportops.SeverityHigh}},
			exportops.Audience{Channel: "rules", Rules: []string{"success-objective"}},
			exportops.Audience{Channel: "quiet", NoAlerts: true},
			exportops.Audience{Channel: "critical", Severities: []exportops.Severity{exportops.SeverityCritical}},
		))
		wantOutbox(t, w, "pager alert.firing failure-rate", "rules alert.firing success-objective")
	})
	t.Run("again_after_the_interval_unless_somebody_looks", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := teller(w, all)
		s.Rules = s.Rules[:1]
		s.Rules[0].Window = 24 * time.Hour
		exports(t, w, 0, 9, 0)
		for range 9 {
			evaluate(w, s)
			w.Clock.Advance(time.Hour)
		}
		const again = "ops alert.reminder failure-rate"
		wantOutbox(t, w, fires, again, again)
		open, err := w.Store.OpenIncidents(t.Context())
		w.Must(err)
		_, err = s.Acknowledge(t.Context(), open[0].ID, "me")
		w.Must(err)
		w.Clock.Advance(5 * time.Hour)
		evaluate(w, s)
		wantOutbox(t, w, fires, again, again)
		history, err := w.Store.IncidentHistory(t.Context(), open[0].ID)
		w.Must(err)
		reminders := 0
		for _, h := range history {
			if h.Step == exportops.StepReminder {
				reminders++
			}
		}
		if emitted := len(w.Events.Of(exportops.EventAlert)); reminders != 2 || emitted != 1 {
			t.Errorf("%d reminders are in its history, and %d events were emitted", reminders, emitted)
		}
	})
	t.Run("a_channel_that_came_later_when_the_others_are_reminded", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := teller(w, all)
		s.Rules = s.Rules[1:]
		exports(t, w, 0, 9, 0)
		evaluate(w, s)
		s.Audiences = append(s.Audiences, exportops.Audience{Channel: "new"})
		w.Clock.Advance(time.Hour)
		evaluate(w, s)
		wantOutbox(t, w, fires2)
		w.Clock.Advance(3 * time.Hour)
		evaluate(w, s)
		wantOutbox(t, w, fires2, "ops alert.reminder success-objective", "new alert.firing success-objective")
	})
	t.Run("even_of_a_rule_that_cannot_be_read_now", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := watcher(w, "overdue-files")
		w.Insert(testworld.Row{ExportID: testworld.ID(1), URL: "a.json"})
		evaluate(w, s)
		w.Exec(`ALTER TABLE exportops_missing_files RENAME TO gone`)
		s.Audiences = []exportops.Audience{all}
		if err := s.Evaluate(t.Context()); err == nil {
			t.Error("it could be read")
		}
		wantOutbox(t, w, "ops alert.firing overdue-files")
	})
	t.Run("of_what_was_silenced_when_the_silence_is_over", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := teller(w, all)
		s.Rules = s.Rules[:1]
		silence := func() exportops.Silence {
			q, err := w.Store.PlaceSilence(t.Context(), exportops.Silence{
				Rule: "failure-rate", Until: exportops.At(w.Clock.Now().Add(10 * time.Minute)), Reason: "r", PlacedBy: "p", PlacedAt: w.Clock.At(),
			})
			w.Must(err)
			return q
		}
		q := silence()
		exports(t, w, 0, 9, 0)
		evaluate(w, s)
		wantOutbox(t, w)
		_, err := w.Store.EndSilence(t.Context(), q.ID, "me", w.Clock.At())
		w.Must(err)
		evaluate(w, s)
		wantOutbox(t, w, fires)
		silence() // its end is told under a silence, too
		exports(t, w, 120, 0, 1)
		evaluate(w, s)
		wantOutbox(t, w, fires, "ops alert.resolved failure-rate")
	})
	t.Run("nothing_of_what_came_and_went_under_a_silence", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := teller(w, all)
		_, err := w.Store.PlaceSilence(t.Context(), exportops.Silence{Until: exportops.At(w.Clock.Now().Add(time.Hour)), Reason: "r", PlacedBy: "p", PlacedAt: w.Clock.At()})
		w.Must(err)
		exports(t, w, 0, 9, 0)
		evaluate(w, s)
		exports(t, w, 240, 0, 1)
		evaluate(w, s)
		w.Clock.Advance(2 * time.Hour)
		evaluate(w, s)
		wantOutbox(t, w)
	})
	t.Run("a_channel_that_came_later_of_what_still_fires", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		evaluate(w, teller(w)) // nobody is told, and nothing counts as told
		none := teller(w, exportops.Audience{Channel: "ops", NoAlerts: true})
		evaluate(w, none)
		wantOutbox(t, w)
		evaluate(w, teller(w, all))
		wantOutbox(t, w, fires, fires2)
	})
	t.Run("the_end_to_who_heard_of_the_beginning", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		evaluate(w, teller(w, all))
		exports(t, w, 240, 0, 1)
		picky := exportops.Audience{Channel: "ops", Severities: []exportops.Severity{exportops.SeverityCritical}}
		evaluate(w, teller(w, exportops.Audience{Channel: "new"}, picky))
		wantOutbox(t, w, fires, fires2, "ops alert.resolved failure-rate", "ops alert.resolved success-objective")
	})
	t.Run("the_end_although_who_sees_it_has_no_channels", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := teller(w, all)
		s.Rules = s.Rules[:1]
		exports(t, w, 0, 9, 0)
		evaluate(w, s)
		elsewhere := watcher(w, "failure-rate")
		elsewhere.Reminder = time.Minute
		w.Clock.Advance(5 * time.Minute)
		evaluate(w, elsewhere) // it has nobody to remind
		wantOutbox(t, w, fires)
		exports(t, w, 120, 0, 1)
		evaluate(w, elsewhere)
		wantOutbox(t, w, fires, "ops alert.resolved failure-rate")
	})
}
