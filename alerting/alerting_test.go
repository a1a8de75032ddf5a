package alerting_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// watcher returns a service as another process on the same world would have it.
func watcher(w *testworld.World, rules ...string) *alerting.Service {
	all := alerting.DefaultRules()
	if len(rules) > 0 {
		all = slices.DeleteFunc(all, func(r exportops.AlertRule) bool { return !slices.Contains(rules, r.Name) })
	}
	return alerting.New(alerting.Options{
		Store: w.Store, Runs: w.Store, Figures: w.Metrics(), Events: w.Events, Rules: all, Now: w.Clock.Now,
	})
}

// told lists the incidents of a world, oldest first: rule, subject and state.
func told(t *testing.T, w *testworld.World) (out []string) {
	t.Helper()
	all, _, err := w.Store.Incidents(t.Context(), exportops.IncidentFilter{Limit: exportops.MaxPage})
	w.Must(err)
	for _, i := range slices.Backward(all) {
		out = append(out, strings.Join([]string{i.Rule, i.Subject, string(i.State)}, " "))
	}
	return out
}

func wantTold(t *testing.T, w *testworld.World, want ...string) {
	t.Helper()
	got := told(t, w)
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" && len(want)+len(got) > 0 {
		t.Fatalf("incidents (-want +got):\n%s", d)
	}
}

// exports reports so many, done or failed, that took so many milliseconds.
func exports(t *testing.T, w *testworld.World, done, failed int, took int64) {
	t.Helper()
	for n := range done + failed {
		m := exportops.Metric{
			ExportID: exportops.NewID(), UserID: testworld.User, Format: exportops.CSV, Status: exportops.Completed,
			ConversationCount: 5, DurationMS: &took, Timestamp: w.Clock.At(),
		}
		if n >= done {
			kind := "TimeoutError"
			m.Status, m.ErrorType = exportops.Failed, &kind
		}
		receipts, err := w.Metrics().Record(t.Context(), []exportops.Metric{m})
		w.Must(err)
		w.Must(receipts[0].Err)
	}
}

func TestEvaluate(t *testing.T) {
	t.Run("nothing_on_an_installation_without_exports", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		w.Must(watcher(w).Evaluate(t.Context()))
		wantTold(t, w)
	})
	t.Run("exports_that_fail", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := watcher(w, "failure-rate", "burn-rate-fast", "success-objective")
		exports(t, w, 0, 4, 0)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w) // too few to say
		exports(t, w, 0, 1, 0)
		for range 2 {
			w.Must(s.Evaluate(t.Context()))
			wantTold(t, w, "failure-rate  firing", "burn-rate-fast  firing", "success-objective  firing")
		}
		w.Clock.Advance(10 * time.Minute) // out of the short window, in the long one
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "failure-rate  firing", "burn-rate-fast  resolved", "success-objective  firing")
		exports(t, w, 200, 0, 10)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "failure-rate  resolved", "burn-rate-fast  resolved", "success-objective  resolved")
	})
	t.Run("exports_that_are_slow", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 5, 0, 20_000)
		w.Must(watcher(w, "average-duration", "p95-duration").Evaluate(t.Context()))
		wantTold(t, w, "average-duration  firing", "p95-duration  firing")
	})
	t.Run("a_rule_for_one_format_or_user_sees_no_others", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		s := watcher(w, "failure-rate")
		one := s.Rules[0]
		s.Rules = nil
		for name, change := range map[string]func(*exportops.AlertRule){
			"csv": func(r *exportops.AlertRule) { r.Format = exportops.CSV }, "json": func(r *exportops.AlertRule) { r.Format = exportops.JSON },
			"mine": func(r *exportops.AlertRule) { r.UserID = testworld.User }, "yours": func(r *exportops.AlertRule) { r.UserID = exportops.NewID() },
		} {
			r := one
			r.Name = name
			change(&r)
			s.Rules = append(s.Rules, r)
		}
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "csv  firing", "mine  firing")
	})
	t.Run("what_should_have_been_done", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		w.Insert(
			testworld.Row{ExportID: testworld.ID(1), URL: "a.json"}, // expired three days ago
			testworld.Row{ExportID: testworld.ID(2), Status: exportops.Processing, Created: w.Ago(5 * time.Hour), Timestamp: w.Ago(5 * time.Hour)},
		)
		w.Must(watcher(w, "overdue-files", "stuck-exports", "missing-files", "quarantined-files").Evaluate(t.Context()))
		wantTold(t, w, "overdue-files  firing", "stuck-exports  firing")
	})
	t.Run("archives_that_are_not_as_they_were_written", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		w.Insert(testworld.Row{ExportID: testworld.ID(1), Status: exportops.Failed, Expires: testworld.Never, Timestamp: w.Ago(40 * testworld.Day)})
		to := w.Objects()
		_, err := w.Runner(w.Archiving(to)).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		w.Must(err)
		key := w.Archives()[0].Key
		keeper := &archive.Keeper{Store: w.Store, Objects: to, Dir: t.TempDir(), Program: "test"}
		s := watcher(w, "archive-faults")
		for _, want := range []string{"firing", "resolved"} {
			w.Must(to.Flip(key)) // and back
			w.Must(s.Evaluate(t.Context()))
			_, err := keeper.Audit(t.Context(), 0)
			w.Must(err)
			w.Must(s.Evaluate(t.Context()))
			wantTold(t, w, "archive-faults  "+want)
		}
	})
	t.Run("no_exports_where_there_usually_are_some", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := watcher(w, "no-exports")
		for range 7 {
			exports(t, w, 1, 0, 10)
			w.Must(s.Evaluate(t.Context()))
			w.Clock.Advance(24 * time.Hour)
		}
		wantTold(t, w)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "no-exports  firing")
		exports(t, w, 1, 0, 10)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "no-exports  resolved")
	})
	t.Run("runs_that_fail_or_were_missed", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		s := watcher(w, "failed-runs", "missed-runs", "overlong-runs")
		w.Must(w.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{exportops.At(w.Clock.Now().Add(-9 * time.Hour))},
			exportops.RunMissed, w.Clock.At()))
		end := run(t, w, exportops.LogCleanup)
		end(exportops.RunFailed)
		end = run(t, w, exportops.MetricsAggregate)
		w.Clock.Advance(61 * time.Minute)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "missed-runs file-cleanup firing", "failed-runs log-cleanup firing", "overlong-runs metrics-aggregate firing")
		end(exportops.RunDone)
		run(t, w, exportops.LogCleanup)(exportops.RunDone)
		w.Clock.Advance(time.Hour)
		w.Must(s.Evaluate(t.Context()))
		wantTold(t, w, "missed-runs file-cleanup resolved", "failed-runs log-cleanup resolved", "overlong-runs metrics-aggregate resolved")
	})
	t.Run("an_incident_whose_rule_is_gone_is_over", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		w.Must(watcher(w, "failure-rate").Evaluate(t.Context()))
		w.Must(watcher(w, "volume").Evaluate(t.Context()))
		wantTold(t, w, "failure-rate  resolved")
	})
	t.Run("many_processes_open_one_incident", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := watcher(w, "failure-rate").Evaluate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantTold(t, w, "failure-rate  firing")
		if n := w.Count(`SELECT count(*) FROM exportops_incident_events WHERE step = 'firing'`); n != 1 {
			t.Errorf("it fired %d times", n)
		}
	})
	t.Run("a_rule_that_cannot_be_read_hides_no_other", func(t *testing.T) {
		w := testworld.New(t, t.TempDir())
		exports(t, w, 0, 9, 0)
		s := watcher(w, "failure-rate", "overdue-files")
		w.Must(s.Evaluate(t.Context()))
		s.Rules = append(s.Rules, exportops.AlertRule{Name: "odd", Kind: "odd", Window: time.Hour})
		w.Exec(`ALTER TABLE exportops_missing_files RENAME TO gone`)
		err := s.Evaluate(t.Context())
		if err == nil || !strings.Contains(err.Error(), "rule overdue-files: ") || !strings.Contains(err.Error(), `"odd" is no kind`) {
			t.Errorf("said %v", err)
		}
		wantTold(t, w, "failure-rate  firing")
	})
}

type figures = alerting.Figures // for what embeds it and has a method of that name

// late are figures that are asked for when time is over.
type late struct {
	figures
	over context.CancelFunc
}

func (l late) Figures(ctx context.Context, _ ...exportops.Window) ([]exportops.Figures, error) {
	l.over()
	return nil, ctx.Err()
}

// Where exports are too many to be summed up in time, what else is wrong is told.
func TestRulesThatTakeTooLong(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	run(t, w, exportops.LogCleanup)(exportops.RunFailed)
	s := watcher(w, "success-objective", "burn-rate-fast", "failed-runs")
	ctx, cancel := context.WithCancel(t.Context())
	s.Figures = late{s.Figures, cancel}
	err := s.Evaluate(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "rule success-objective") || strings.Contains(err.Error(), "failed-runs") {
		t.Errorf("it said %v", err)
	}
	wantTold(t, w, "failed-runs log-cleanup firing")
}

// readings notes which windows are read at once.
type readings struct {
	figures
	all [][]exportops.Window
}

func (r *readings) Figures(ctx context.Context, windows ...exportops.Window) ([]exportops.Figures, error) {
	r.all = append(r.all, windows)
	return r.figures.Figures(ctx, windows...)
}

// The exports of the last hours are read once for all rules; what only one user did,
// which has no rollup, holds up nobody else.
func TestWindowsAreReadTogether(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	exports(t, w, 0, 9, 0)
	s := watcher(w, "failure-rate", "burn-rate-fast", "success-objective", "overdue-files")
	ofOne := s.Rules[0]
	ofOne.Name, ofOne.UserID = "of one", testworld.User
	csv := s.Rules[0]
	csv.Name, csv.Format = "csv", exportops.CSV
	s.Rules = append(s.Rules, ofOne, csv)
	r := &readings{figures: s.Figures}
	s.Figures = r
	w.Must(s.Evaluate(t.Context()))
	var sizes []int
	for _, windows := range r.all {
		sizes = append(sizes, len(windows))
	}
	slices.Sort(sizes)
	if d := cmp.Diff([]int{1, 4}, sizes); d != "" {
		t.Errorf("it read %v (-want +got):\n%s", r.all, d)
	}
}

// run begins a run of a job, and returns what ends it.
func run(t *testing.T, w *testworld.World, job exportops.Job) func(exportops.RunState) {
	t.Helper()
	_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: job, Lane: string(job), Params: []byte(`{}`), Trigger: exportops.ByCron, Holder: "test", Now: w.Clock.At(), Lease: 2 * time.Hour,
	})
	w.Must(err)
	return func(s exportops.RunState) {
		_, err := w.Store.FinishRun(context.WithoutCancel(t.Context()), exportops.Checkpoint{Fence: fence, Now: w.Clock.At(), Lease: time.Hour}, s, "")
		w.Must(err)
	}
}

func TestAcknowledge(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	exports(t, w, 0, 9, 0)
	s := watcher(w, "failure-rate")
	w.Must(s.Evaluate(t.Context()))
	open, err := w.Store.OpenIncidents(t.Context())
	w.Must(err)
	for _, by := range []string{"me", "you"} { // the first stays
		i, err := s.Acknowledge(t.Context(), open[0].ID, by)
		if err != nil || i.AcknowledgedBy != "me" {
			t.Fatalf("acknowledged %+v, %v", i, err)
		}
	}
	exports(t, w, 900, 0, 1)
	w.Must(s.Evaluate(t.Context()))
	history, err := w.Store.IncidentHistory(t.Context(), open[0].ID)
	w.Must(err)
	var steps []string
	for _, e := range history {
		steps = append(steps, fmt.Sprint(e.Step, e.By))
	}
	if d := cmp.Diff([]string{"pending", "firing", "acknowledgedme", "resolved"}, steps); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	exports(t, w, 0, 900, 1)
	w.Must(s.Evaluate(t.Context()))
	if _, err := s.Acknowledge(t.Context(), exportops.NewID(), "me"); exportops.KindOf(err) != exportops.KindNotFound {
		t.Errorf("one that is not there: %v", err)
	}
	w.Clock.Advance(48 * time.Hour)
	w.Must(s.Evaluate(t.Context()))
	all, _, err := w.Store.Incidents(t.Context(), exportops.IncidentFilter{})
	w.Must(err)
	if _, err := s.Acknowledge(t.Context(), all[0].ID, "me"); exportops.KindOf(err) != exportops.KindConflict {
		t.Errorf("one that is over: %v", err)
	}
}
