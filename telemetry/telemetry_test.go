package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/telemetry"
)

var noon = time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// counted keeps what is passed on.
type counted struct{ n int }

func (c *counted) Emit(exportops.EventType, any) { c.n++ }

// families scrapes m, by name.
func families(t *testing.T, m *telemetry.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// values returns the values of a family by its labels' values, in the order of their
// names; of a histogram how many were observed.
func values(f *dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
		if h := m.GetHistogram(); h != nil {
			v = float64(h.GetSampleCount())
		}
		all[strings.Join(labels, " ")] = v
	}
	return all
}

func wantValues(t *testing.T, f *dto.MetricFamily, want map[string]float64) {
	t.Helper()
	if got := values(f); !maps.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", f.GetName(), got, want)
	}
}

func event(status exportops.Status, change func(*exportops.Metric)) metrics.Event {
	m := exportops.Metric{
		ExportID: exportops.NewID(), UserID: exportops.NewID(), Format: exportops.CSV, Status: status, ConversationCount: 20,
		DurationMS: ptr(int64(1500)), FileSizeBytes: ptr(int64(2048)),
	}
	if change != nil {
		change(&m)
	}
	return metrics.Event{Metric: m, CountRange: exportops.CountRangeOf(m.ConversationCount)}
}

func TestEventsAreCountedAndPassedOn(t *testing.T) {
	next := &counted{}
	m := telemetry.NewMetrics(next, "1.2.3")
	m.Emit(exportops.EventExportMetric, event(exportops.Completed, nil))
	m.Emit(exportops.EventExportMetric, event(exportops.Completed, func(m *exportops.Metric) { m.FileSizeBytes = nil }))
	m.Emit(exportops.EventExportMetric, event(exportops.Failed, nil))
	m.Emit(exportops.EventExportMetric, event(exportops.Processing, nil)) // it has not ended
	m.Emit(exportops.EventExportVolume, exportops.Volume{})
	if next.n != 5 {
		t.Errorf("%d of 5 events were passed on", next.n)
	}
	all := families(t, m)
	counts := string(exportops.CountRangeOf(20))
	wantValues(t, all["exportops_log_events_total"], map[string]float64{"export_metric": 4, "export_volume": 1})
	wantValues(t, all["exportops_export_attempts_total"], map[string]float64{counts + " csv completed": 2, counts + " csv failed": 1})
	wantValues(t, all["exportops_export_duration_seconds"], map[string]float64{counts + " csv": 2})
	wantValues(t, all["exportops_export_file_size_bytes"], map[string]float64{counts + " csv": 1})
	wantValues(t, all["exportops_build_info"], map[string]float64{"1.2.3": 1})
	if sum := all["exportops_export_duration_seconds"].GetMetric()[0].GetHistogram().GetSampleSum(); sum != 3 {
		t.Errorf("the durations add up to %v s, want 3", sum)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	m := telemetry.NewMetrics(exportops.NoEvents{}, "")
	m.Answered(t.Context(), "GET", "/api/v1/exports/{export_id}", 404, time.Second)
	m.Answered(t.Context(), "GET", "", 404, time.Second)
	wantValues(t, families(t, m)["exportops_http_request_duration_seconds"],
		map[string]float64{"404 GET /api/v1/exports/{export_id}": 1, "404 GET ": 1})
}

func TestNativeHistograms(t *testing.T) {
	m := telemetry.NewMetrics(exportops.NoEvents{}, "")
	m.Emit(exportops.EventExportMetric, event(exportops.Completed, nil))
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	d := expfmt.NewDecoder(w.Body, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		if err := d.Decode(&f); errors.Is(err, io.EOF) {
			t.Fatal("there is no native histogram of the duration")
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetName() != "exportops_export_duration_seconds" {
			continue
		}
		if h := f.GetMetric()[0].GetHistogram(); len(h.GetPositiveSpan()) == 0 || h.Schema == nil {
			t.Errorf("it is not native: %v", h)
		}
		return
	}
}

// source is a database with canned answers, which counts how often it is asked.
type source struct {
	err   error
	asked int
}

func (s *source) Waiting() int { return 7 }

func (s *source) Figures(_ context.Context, windows ...exportops.Window) ([]exportops.Figures, error) {
	all := make([]exportops.Figures, len(windows))
	for i, w := range windows {
		if w.Only.Format == exportops.JSON {
			all[i] = exportops.Figures{
				Completed: int64(w.Last / time.Hour), Failed: 2, InProgress: 3, Measured: 1,
				AvgDurationMS: ptr(1500.0), P95DurationMS: ptr(2500.0),
			}
		}
	}
	return all, nil
}

func (s *source) OpenIncidents(context.Context) ([]exportops.Incident, error) {
	i := exportops.Incident{Rule: "volume", Severity: exportops.SeverityCapacity, State: exportops.IncidentFiring}
	j := i
	j.State = exportops.IncidentPending
	return []exportops.Incident{i, i, j}, nil
}

func (s *source) NotificationBacklog(context.Context, exportops.Time) ([]exportops.ChannelBacklog, error) {
	return []exportops.ChannelBacklog{{Channel: "ops", Pending: 5, Late: 4, Dead: 3}}, nil
}

func (s *source) Backlog(context.Context) (exportops.Backlog, error) {
	s.asked++
	early := exportops.At(noon.Add(-time.Hour))
	return exportops.Backlog{OldestOverdue: &early, Quarantined: 1, Stuck: 2, Missing: 3, StoredBytes: 4}, s.err
}

func (s *source) Runs(_ context.Context, f exportops.RunFilter) ([]exportops.Run, string, error) {
	if f.Job != exportops.FileCleanup {
		return nil, "", nil
	}
	run := func(ago time.Duration, state exportops.RunState) exportops.Run {
		began, ended := exportops.At(noon.Add(-ago)), exportops.At(noon.Add(-ago+30*time.Second))
		return exportops.Run{StartedAt: began, FinishedAt: &ended, State: state}
	}
	active := exportops.Run{State: exportops.RunRunning}
	return []exportops.Run{
		active, run(time.Hour, exportops.RunMissed), run(2*time.Hour, exportops.RunFailed), run(3*time.Hour, exportops.RunDone), run(4*time.Hour, exportops.RunDone),
	}, "", nil
}

func (s *source) ActiveRuns(context.Context) ([]exportops.Run, error) {
	return []exportops.Run{{Job: exportops.FileCleanup}}, nil
}

func (s *source) Expiring(_ context.Context, span exportops.Span) (int64, error) {
	return int64(span.To.Sub(span.From.Time) / time.Hour), nil
}

func watched(s *source, log io.Writer, now *time.Time) *telemetry.Metrics {
	m := telemetry.NewMetrics(exportops.NoEvents{}, "")
	m.Watch(telemetry.Sources{Figures: s, Alerts: s, Store: s, Log: slog.New(slog.NewTextHandler(log, nil)), Now: func() time.Time { return *now }})
	return m
}

func TestGaugesAreReadFromTheDatabase(t *testing.T) {
	now := noon
	all := families(t, watched(&source{}, io.Discard, &now))
	of := func(name string) map[string]float64 { return values(all["exportops_"+name]) }
	for _, c := range []struct {
		name, labels string
		want         float64
	}{
		{"window_exports", "json completed 1h", 1},
		{"window_exports", "json completed 24h", 24},
		{"window_exports", "json failed 24h", 2},
		{"window_exports", "json in_progress 1h", 3},
		{"window_exports", "csv failed 1h", 0},
		{"window_duration_average_seconds", "json 1h", 1.5},
		{"window_duration_p95_seconds", "json 24h", 2.5},
		{"overdue_age_seconds", "", 3600},
		{"quarantined_deletions", "", 1},
		{"stuck_exports", "", 2},
		{"missing_files", "", 3},
		{"live_bytes", "", 4},
		{"expiring_files", "", 24},
		{"last_run_timestamp_seconds", "file-cleanup", float64(noon.Add(-2*time.Hour + 30*time.Second).Unix())},
		{"last_success_timestamp_seconds", "file-cleanup", float64(noon.Add(-3*time.Hour + 30*time.Second).Unix())},
		{"last_run_duration_seconds", "file-cleanup", 30},
		{"last_run_state", "file-cleanup failed", 1},
		{"active_runs", "file-cleanup", 1},
		{"active_runs", "log-cleanup", 0},
		{"alerts", "volume capacity firing", 2},
		{"alerts", "volume capacity pending", 1},
		{"notifications", "ops pending", 5},
		{"notifications", "ops dead", 3},
		{"ingest_waiting", "", 7},
		{"state_errors_total", "files", 0},
	} {
		if got, ok := of(c.name)[c.labels]; !ok || got != c.want {
			t.Errorf("%s{%s} is %v, want %v (there are %v)", c.name, c.labels, got, c.want, of(c.name))
		}
	}
	if n := len(of("window_duration_average_seconds")); n != 2 {
		t.Errorf("there are averages of nothing: %v", of("window_duration_average_seconds"))
	}
}

func TestManyScrapesAreOneReading(t *testing.T) {
	now, s := noon, &source{}
	m := watched(s, io.Discard, &now)
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {9 * time.Second, 1}, {10 * time.Second, 2}, {5 * time.Second, 3}} { // the clock went back
		now = noon.Add(c.at)
		if families(t, m); s.asked != c.want {
			t.Errorf("after %s it was asked %d times, want %d", c.at, s.asked, c.want)
		}
	}
}

func TestWhatCannotBeReadIsMissingAndCounted(t *testing.T) {
	now, s, log := noon, &source{err: errors.New("no database")}, &strings.Builder{}
	m := watched(s, log, &now)
	families(t, m)
	all := families(t, m)
	if all["exportops_live_bytes"] != nil || all["exportops_overdue_age_seconds"] != nil {
		t.Error("it tells what it could not read")
	}
	if values(all["exportops_state_errors_total"])["files"] != 1 {
		t.Errorf("counted %v", values(all["exportops_state_errors_total"]))
	}
	if all["exportops_alerts"] == nil {
		t.Error("what can be read is missing, too")
	}
	if !strings.Contains(log.String(), "no database") {
		t.Errorf("logged %q", log)
	}
}

// Prometheus sets job and instance itself, and ids would be a series each.
func TestLabels(t *testing.T) {
	now := noon
	m := watched(&source{}, io.Discard, &now)
	m.Emit(exportops.EventExportMetric, event(exportops.Completed, nil))
	m.Answered(t.Context(), "GET", "/x", 200, time.Second)
	for name, f := range families(t, m) {
		if !strings.HasPrefix(name, "exportops_") {
			continue
		}
		if f.GetHelp() == "" {
			t.Errorf("%s says nothing of itself", name)
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if slices.Contains([]string{"job", "instance", "user_id", "export_id"}, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
	}
}
