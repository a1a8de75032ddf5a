package exporter_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

const user = "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10"

var noon = time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)

// ops keeps rows and metrics, as strict as the real thing.
type ops struct {
	refuse func(status exportops.Status) error // asked before a row gets a status

	mu      sync.Mutex
	rows    map[string]exportops.Export
	history []exportops.Status
	metrics []exportops.Metric
}

func (o *ops) CreateExport(_ context.Context, e exportops.Export) (exportops.Export, error) {
	return o.put(e, e.Status)
}

func (o *ops) UpdateExport(ctx context.Context, id string, u exportops.ExportUpdate) (exportops.Export, error) {
	if err := u.Validate(); err != nil {
		return exportops.Export{}, err
	}
	if err := ctx.Err(); err != nil {
		return exportops.Export{}, err
	}
	e, err := o.Export(ctx, id)
	if err != nil {
		return e, err
	}
	e.Status = *u.Status
	e.FileSize, e.FileURL, e.ExpiresAt, e.ErrorMessage = u.FileSize, u.FileURL, u.ExpiresAt, u.ErrorMessage
	if u.ConversationCount != nil {
		e.ConversationCount = *u.ConversationCount
	}
	return o.put(e, e.Status)
}

func (o *ops) put(e exportops.Export, status exportops.Status) (exportops.Export, error) {
	if o.refuse != nil {
		if err := o.refuse(status); err != nil {
			return exportops.Export{}, err
		}
	}
	if err := e.Validate(); err != nil {
		return exportops.Export{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil {
		o.rows = map[string]exportops.Export{}
	}
	o.rows[e.ExportID] = e
	o.history = append(o.history, status)
	return e, nil
}

func (o *ops) Export(_ context.Context, id string) (exportops.Export, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, found := o.rows[id]
	if !found {
		return e, &exportops.Error{Kind: exportops.KindNotFound, Message: "no such export"}
	}
	return e, nil
}

func (o *ops) Log(m exportops.Metric) error {
	if err := m.Validate(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.metrics = append(o.metrics, m)
	return nil
}

// only returns the one row and the one metric there are.
func (o *ops) only(t *testing.T) (row exportops.Export, metric exportops.Metric) {
	t.Helper()
	if len(o.rows) != 1 || len(o.metrics) != 1 {
		t.Fatalf("%d rows and %d metrics, want one of each", len(o.rows), len(o.metrics))
	}
	for _, row = range o.rows {
	}
	return row, o.metrics[0]
}

// setUp returns an exporter whose clock goes on by 1250 ms whenever it is
// looked at.
func setUp(t *testing.T, source exporter.Source) (*exporter.Exporter, *ops, string) {
	t.Helper()
	o, dir, now := &ops{}, t.TempDir(), noon
	x := exporter.New(exporter.Config{Dir: dir, Source: source, Ops: o, Rows: o, Clock: func() time.Time {
		was := now
		now = now.Add(1250 * time.Millisecond)
		return was
	}})
	return x, o, dir
}

func lines(text string) exporter.Source {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

func request(f exportops.Format) exporter.Request {
	req := exporter.NewRequest()
	req.UserID, req.Format = user, f
	return req
}

// files returns every file below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, err = filepath.Rel(dir, name)
			found = append(found, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func conversations(t *testing.T) []exporter.Conversation {
	t.Helper()
	f, err := exporter.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []exporter.Conversation
	for c, err := range exporter.Conversations(f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestExportIsRegisteredWrittenAndMeasured(t *testing.T) {
	for _, format := range exportops.Formats {
		t.Run(string(format), func(t *testing.T) {
			x, o, dir := setUp(t, nil)
			result, err := x.Export(t.Context(), request(format))
			if err != nil {
				t.Fatal(err)
			}
			row, metric := o.only(t)

			extension := map[exportops.Format]string{"json": ".json", "jsonl": ".jsonl", "csv": ".csv", "markdown": ".md"}[format]
			if want := user + "/" + row.ExportID + extension; result.FileURL != want {
				t.Errorf("file_url %q, want %q", result.FileURL, want)
			}
			if diff := cmp.Diff([]string{result.FileURL}, files(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			info, err := os.Stat(filepath.Join(dir, result.FileURL))
			if err != nil || info.Size() != result.FileSize || result.FileSize < 100_000 {
				t.Errorf("a file of %d bytes (%v), reported as %d", info.Size(), err, result.FileSize)
			}

			wantRow := exportops.Export{
				ExportID: result.ExportID, UserID: user, Timestamp: exportops.At(noon), Format: format,
				Config:            json.RawMessage(`{"format":"` + string(format) + `","scope":"all","include_metadata":true,"include_system":true}`),
				ConversationCount: result.ConversationCount, FileSize: &result.FileSize,
				Status: exportops.Completed, FileURL: &result.FileURL, ExpiresAt: &result.ExpiresAt,
			}
			if diff := cmp.Diff(wantRow, row); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			if want := exportops.At(noon.Add(1250*time.Millisecond + 24*time.Hour)); result.ExpiresAt != want {
				t.Errorf("expires_at %v, want %v", result.ExpiresAt, want)
			}
			if diff := cmp.Diff([]exportops.Status{"queued", "processing", "completed"}, o.history); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			took := int64(2500)
			wantMetric := exportops.Metric{
				ExportID: result.ExportID, UserID: user, Format: format, Status: exportops.Completed,
				ConversationCount: int64(len(conversations(t))), DurationMS: &took, FileSizeBytes: &result.FileSize,
			}
			if diff := cmp.Diff(wantMetric, metric); diff != "" {
				t.Errorf("metric (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	all := conversations(t)
	tests := map[string]struct {
		change func(*exporter.Request)
		want   func(i int, c exporter.Conversation) bool
	}{
		"topic": {
			func(r *exporter.Request) { r.Scope, r.Topic = "topic", "sql" },
			func(_ int, c exporter.Conversation) bool { return c.Topic == "sql" },
		},
		"ids": {
			func(r *exporter.Request) { r.Scope, r.IDs = "ids", []string{"conv-0200", "conv-0007"} },
			func(_ int, c exporter.Conversation) bool { return c.ID == "conv-0007" || c.ID == "conv-0200" },
		},
		"limit": {
			func(r *exporter.Request) { r.Scope, r.Limit = "limit", 3 },
			func(i int, _ exporter.Conversation) bool { return i < 3 },
		},
		"more_than_there_are": {
			func(r *exporter.Request) { r.Scope, r.Limit = "limit", 1_000_000 },
			func(int, exporter.Conversation) bool { return true },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x, _, dir := setUp(t, nil)
			req := request(exportops.JSONL)
			tt.change(&req)
			var want []exporter.Conversation
			for i, c := range all {
				if tt.want(i, c) {
					want = append(want, c)
				}
			}
			if diff := cmp.Diff(want, exportAndRead(t, x, dir, req)); diff != "" || len(want) == 0 {
				t.Errorf("of %d (-want +got):\n%s", len(want), diff)
			}
		})
	}
}
