package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/jobs"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	cronSecret   = "cron-secret"
	ingestToken  = "ingest-token"
	readToken    = "read-token"
	adminToken   = "admin-token"
	exportID     = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"
	otherExport  = "0b9c8d7e-6f5a-4b3c-9d2e-1f0a9b8c7d6e"
	userID       = "5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5"
	runID        = "9a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3"
	oneMetric    = `{"export_id":"` + exportID + `","user_id":"` + userID + `","format":"jsonl","status":"completed","conversation_count":150,"duration_ms":2500,"file_size_bytes":524288}`
	brokenMetric = `{"export_id":"x"`
)

var noon = exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))

// memory keeps metrics as a store would: by export, status and attempt.
type memory struct {
	mu    sync.Mutex
	known map[string]exportops.Metric
	fail  func(batch []exportops.Metric) error
}

func (m *memory) Record(_ context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(batch); err != nil {
			return nil, err
		}
	}
	if m.known == nil {
		m.known = map[string]exportops.Metric{}
	}
	receipts := make([]exportops.Receipt, len(batch))
	for i, metric := range batch {
		metric.Normalize(noon)
		if err := metric.Validate(); err != nil {
			receipts[i].Err = err
			continue
		}
		key, err := json.Marshal([]any{metric.ExportID, metric.Status, metric.Attempt})
		if err != nil {
			return nil, err
		}
		earlier, found := m.known[string(key)]
		switch {
		case !found:
			m.known[string(key)] = metric
			receipts[i].New = true
		case !cmp.Equal(earlier, metric):
			receipts[i].Err = &exportops.Error{Kind: exportops.KindConflict, Message: "recorded with other values"}
		}
	}
	return receipts, nil
}

func (m *memory) Aggregate(_ context.Context, start, end exportops.Time, p exportops.Period) (exportops.Summary, error) {
	if !start.Before(end.Time) {
		return exportops.Summary{}, exportops.Invalid("end", "it is not after start")
	}
	return exportops.Summary{Period: p, PeriodStart: start, PeriodEnd: end}, nil
}

func (m *memory) FailureRate(_ context.Context, lookback int) (*exportops.FailureRate, error) {
	if lookback == 1 {
		return nil, nil //nolint:nilnil // nothing finished
	}
	return &exportops.FailureRate{Alert: true, FailureRate: 0.15, FailedCount: 15, TotalCount: 100, Threshold: exportops.FailureThreshold}, nil
}

func (m *memory) Volume(_ context.Context, p exportops.Period, days int) (exportops.Volume, error) {
	return exportops.Volume{Period: p, Days: days, VolumeData: []exportops.PeriodCount{{Period: "2025-10-31", Count: 0}}}, nil
}

// fakeJobs answers as run says, and remembers the request.
type fakeJobs struct {
	run  func(context.Context, jobs.Request) (jobs.Answer, error)
	last jobs.Request
}

func (f *fakeJobs) Run(ctx context.Context, r jobs.Request) (jobs.Answer, error) {
	f.last = r
	return f.run(ctx, r)
}

func succeed(_ context.Context, r jobs.Request) (jobs.Answer, error) {
	a := jobs.Answer{Run: exportops.Run{ID: runID, Job: r.Job, State: exportops.RunDone}, Beginning: exportops.Started}
	switch r.Job {
	case exportops.FileCleanup:
		a.Result.Files = &exportops.FileCleanupResult{
			TotalFound: 5, DeletedCount: 5, LogsUpdated: 5, BytesFreed: 1234, Errors: []exportops.ExportError{}, Complete: true,
			DryRun: r.DryRun, RunID: runID, DurationMS: 1234, Timestamp: noon,
		}
	case exportops.LogCleanup, exportops.UserLogCleanup:
		a.Result.Logs = &exportops.LogCleanupResult{
			TotalFound: 7, DeletedCount: 7, Errors: []exportops.LogError{}, Complete: true,
			DryRun: r.DryRun, RunID: runID, DurationMS: 12, Timestamp: noon,
		}
	case exportops.UnknownCleanup:
		a.Result.Unknown = &exportops.UnknownCleanupResult{DeletedCount: 2, BytesFreed: 9, Complete: true, RunID: runID, Timestamp: noon}
		a.Result.Unknown.SumUp()
	case exportops.Reconcile:
		a.Result.Recon = &exportops.ReconcileResult{Complete: true, DryRun: r.DryRun, RunID: runID, Timestamp: noon, BeganAt: noon}
		a.Result.Recon.Fill()
	case exportops.MetricsAggregate:
		a.Result.Rolls = &exportops.AggregateResult{
			Metrics:     exportops.Summary{Period: exportops.Hourly, PeriodStart: exportops.At(noon.Add(-time.Hour)), PeriodEnd: noon},
			HoursClosed: 3, Complete: true, RunID: runID, DurationMS: 9,
		}
	}
	return a, nil
}

// stub is every store at once; a test sets what it needs.
type stub struct {
	exportops.ExportStore
	run    func(id string) (exportops.Run, error)
	runs   func(f exportops.RunFilter) ([]exportops.Run, string, error)
	logs   func(cut exportops.Time) (exportops.LogStatistics, error)
	create func(e exportops.Export) (exportops.Export, error)
	cancel func(id, by string) (exportops.Run, error)
	retry  func(ids []int64, by string) ([]int64, error)
	ledger func(f exportops.DeletionFilter) ([]exportops.Deletion, error)

	list     func(f exportops.ExportFilter) ([]exportops.Export, string, error)
	unknown  func(f exportops.UnknownFilter) ([]exportops.UnknownFile, error)
	missing  func(f exportops.MissingFilter) ([]exportops.MissingFile, error)
	archives func(f exportops.ArchiveFilter) ([]exportops.Archive, error)
	days     []exportops.ChainDay
}

func (s stub) CancelRun(_ context.Context, id, by string, _ exportops.Time) (exportops.Run, error) {
	return s.cancel(id, by)
}

func (s stub) RetryDeletions(_ context.Context, ids []int64, by string, _ exportops.Time) ([]int64, error) {
	return s.retry(ids, by)
}

func (s stub) Deletions(_ context.Context, f exportops.DeletionFilter) ([]exportops.Deletion, error) {
	return s.ledger(f)
}

func (s stub) DeletionsOf(context.Context, []string) ([]exportops.Deletion, error) { return nil, nil }

func (s stub) Holds(context.Context, exportops.HoldFilter) ([]exportops.Hold, error) { return nil, nil }

func (s stub) Exports(_ context.Context, f exportops.ExportFilter) ([]exportops.Export, string, error) {
	if s.list == nil {
		return nil, "", nil
	}
	return s.list(f)
}

func (s stub) UnknownFiles(_ context.Context, f exportops.UnknownFilter) ([]exportops.UnknownFile, error) {
	return s.unknown(f)
}

func (s stub) MissingFiles(_ context.Context, f exportops.MissingFilter) ([]exportops.MissingFile, error) {
	if s.missing == nil {
		return nil, nil
	}
	return s.missing(f)
}

func (s stub) Archive(_ context.Context, id int64) (exportops.Archive, error) {
	page, err := s.archives(exportops.ArchiveFilter{Before: id + 1, Limit: 1})
	if err == nil && (len(page) == 0 || page[0].ID != id) {
		err = exportops.NoArchive(id)
	}
	if err != nil {
		return exportops.Archive{}, err
	}
	return page[0], nil
}

func (s stub) Archives(_ context.Context, f exportops.ArchiveFilter) ([]exportops.Archive, error) {
	return s.archives(f)
}

func (s stub) ChainDays(context.Context) ([]exportops.ChainDay, error) { return s.days, nil }

func (s stub) ChainLinks(context.Context, string) iter.Seq2[exportops.ChainLink, error] {
	return func(func(exportops.ChainLink, error) bool) {}
}

func (s stub) Unchained(context.Context) (int64, error) { return 0, nil }

func (s stub) Run(_ context.Context, id string) (exportops.Run, error) { return s.run(id) }
func (s stub) Runs(_ context.Context, f exportops.RunFilter) ([]exportops.Run, string, error) {
	return s.runs(f)
}

func (s stub) Erasures(context.Context, string, int) ([]exportops.Erasure, string, error) {
	return nil, "", nil
}

func (s stub) LogStatistics(_ context.Context, cut exportops.Time) (exportops.LogStatistics, error) {
	return s.logs(cut)
}

func (s stub) CreateExport(_ context.Context, e exportops.Export) (exportops.Export, error) {
	return s.create(e)
}

// options are those of a server that works and has a secret for every scope.
func options() httpapi.Options {
	return httpapi.Options{
		Metrics: &memory{}, Exports: stub{}, Runs: stub{}, Logs: stub{}, Erasures: stub{}, Holds: &fakeHolds{}, Jobs: &fakeJobs{run: succeed}, Deletions: stub{},
		Reconciled: stub{}, FilesID: "file:///srv", Report: stub{}, Archives: stub{},
		Alerts: &fakeAlerts{}, Watch: &fakeAlerts{}, Notifications: &fakeOutbox{},
		Ready: func(context.Context) error { return nil },
		Secrets: httpapi.Secrets{
			Cron: httpapi.Secret{Current: cronSecret}, Ingest: httpapi.Secret{Current: ingestToken},
			Read: httpapi.Secret{Current: readToken}, Admin: httpapi.Secret{Current: adminToken},
		},
		Clock: func() time.Time { return noon.Time }, Version: "1.2.3",
		Logger: slog.New(slog.DiscardHandler),
	}
}

func serve(tb testing.TB, o httpapi.Options) http.Handler {
	tb.Helper()
	h, err := httpapi.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// request is one call; header is in pairs.
type request struct {
	method, path, token, body string
	header                    []string
}

func (r request) send(h http.Handler) *httptest.ResponseRecorder {
	return r.stream(h, strings.NewReader(r.body))
}

func (r request) stream(h http.Handler, body io.Reader) *httptest.ResponseRecorder {
	return send(h, r.build(context.Background(), body))
}

func (r request) build(ctx context.Context, body io.Reader) *http.Request {
	req := httptest.NewRequestWithContext(ctx, r.method, r.path, body)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	return req
}

func newRequest(t *testing.T, r request) *http.Request {
	t.Helper()
	return r.build(t.Context(), strings.NewReader(r.body))
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var requestID = regexp.MustCompile(`"request_id":"[0-9a-f]{16}"`)

// golden compares an answer, status and body, with a file.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	body := requestID.ReplaceAllString(w.Body.String(), `"request_id":"0123456789abcdef"`)
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil {
		t.Errorf("the body is not JSON: %v: %s", err, body)
		return
	}
	got := http.StatusText(w.Code) + "\n" + w.Header().Get("Content-Type") + "\n" + pretty.String()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
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
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// wantProblem checks that an answer is a problem that says this.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, says string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
		RequestID     string `json:"request_id"`
		Errors        []struct{ Message, Location string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	all := p.Detail
	for _, e := range p.Errors {
		all += "\n" + e.Location + ": " + e.Message
	}
	if w.Code != status || p.Status != status || p.Title != http.StatusText(status) ||
		w.Header().Get("Content-Type") != "application/problem+json" ||
		p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") || !strings.Contains(all, says) {
		t.Errorf("got %d %s %s\nwant a problem %d that says %q", w.Code, w.Header(), w.Body, status, says)
	}
}
