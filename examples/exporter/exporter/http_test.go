package exporter_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/examples/exporter/exporter"
)

func call(x *exporter.Exporter, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	x.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestExportOverHTTP(t *testing.T) {
	x, o, dir := setUp(t, nil)
	w := call(x, "POST", "/api/export", `{"user_id":"`+user+`","format":"markdown","scope":"topic","topic":"sql","include_system":false}`)
	row, _ := o.only(t)
	file, err := os.ReadFile(filepath.Join(dir, *row.FileURL))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	wantJSON, err := json.Marshal(exporter.Result{
		ExportID: row.ExportID, FileURL: user + "/" + row.ExportID + ".md",
		ConversationCount: row.ConversationCount, FileSize: int64(len(file)), ExpiresAt: *row.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(w.Body.Bytes(), &got) != nil || json.Unmarshal(wantJSON, &want) != nil || w.Code != http.StatusOK {
		t.Errorf("HTTP %d: %s", w.Code, w.Body)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if want := `{"format":"markdown","scope":"topic","topic":"sql","include_metadata":true,"include_system":false}`; string(row.Config) != want {
		t.Errorf("config %s, want %s", row.Config, want)
	}

	w = call(x, "GET", "/api/export/download/"+row.ExportID, "")
	if w.Code != http.StatusOK || w.Body.String() != string(file) {
		t.Errorf("download: HTTP %d with %d bytes, want the %d of the file", w.Code, w.Body.Len(), len(file))
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/markdown; charset=utf-8",
		"Content-Disposition":    `attachment; filename="export-` + row.ExportID + `.md"`,
		"X-Content-Type-Options": "nosniff",
		"Cache-Control":          "private, no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestProblemsOverHTTP(t *testing.T) {
	tests := map[string]struct {
		body      string
		status    int
		errorType exporter.ErrorType
		recorded  bool
	}{
		"no_json":          {`format=csv`, 400, exporter.InvalidRequest, false},
		"nothing":          {``, 400, exporter.InvalidRequest, false},
		"misspelled_field": {`{"user_id":"` + user + `","fromat":"csv"}`, 400, exporter.InvalidRequest, false},
		"two_objects":      {`{"user_id":"` + user + `","format":"csv"}{}`, 400, exporter.InvalidRequest, false},
		"too_long":         {`{"topic":"` + strings.Repeat("x", 40_000) + `"}`, 413, exporter.InvalidRequest, false},
		"no_user":          {`{"format":"csv"}`, 422, exporter.InvalidRequest, false},
		"no_format":        {`{"user_id":"` + user + `"}`, 422, exporter.UnsupportedFormat, true},
		"unknown_format":   {`{"user_id":"` + user + `","format":"pdf"}`, 422, exporter.UnsupportedFormat, true},
		"nothing_matches":  {`{"user_id":"` + user + `","format":"csv","scope":"topic","topic":"knitting"}`, 422, exporter.EmptySelection, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x, o, _ := setUp(t, nil)
			w := call(x, "POST", "/api/export", tt.body)
			var p struct {
				Title     string             `json:"title"`
				Status    int                `json:"status"`
				Detail    string             `json:"detail"`
				ErrorType exporter.ErrorType `json:"error_type"`
				ExportID  string             `json:"export_id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != tt.status || p.Status != tt.status || p.Title != http.StatusText(tt.status) || p.ErrorType != tt.errorType ||
				p.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("HTTP %d (%s): %s, want %d and %s", w.Code, w.Header().Get("Content-Type"), w.Body, tt.status, tt.errorType)
			}
			if _, known := o.rows[p.ExportID]; known != tt.recorded || len(o.metrics) == 1 != tt.recorded {
				t.Errorf("export_id %q with %d rows and %d metrics; recorded should be %v", p.ExportID, len(o.rows), len(o.metrics), tt.recorded)
			}
		})
	}
}

func TestDownloadsThatAreRefused(t *testing.T) {
	const id = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"
	late, early := exportops.At(noon.AddDate(0, 0, 1)), exportops.At(noon)
	secret := "../secret"
	tests := map[string]struct {
		id     string
		change func(e *exportops.Export)
		status int
		detail string
	}{
		"unknown":     {"22222222-2222-4333-8444-555555555555", func(*exportops.Export) {}, 404, "there is no such export"},
		"no_id":       {"..%2f..%2fetc%2fpasswd", func(*exportops.Export) {}, 404, "there is no such export"},
		"in_progress": {id, func(e *exportops.Export) { e.Status = exportops.Processing }, 404, "the export is processing"},
		"failed":      {id, func(e *exportops.Export) { e.Status = exportops.Failed }, 404, "the export is failed"},
		"cleaned_up":  {id, func(e *exportops.Export) { e.Status = exportops.Expired }, 410, "the export has expired"},
		"expired_now": {id, func(e *exportops.Export) { e.ExpiresAt = &early }, 410, "the export has expired"},
		"file_gone":   {id, func(e *exportops.Export) { e.Format = exportops.JSON }, 410, "the file of the export is not there"},
		"file_url_is_not_trusted": {id, func(e *exportops.Export) {
			e.Format, e.FileURL = exportops.JSON, &secret
		}, 410, "the file of the export is not there"},
		"user_id_is_not_trusted": {id, func(e *exportops.Export) { e.UserID = "../.." }, 410, "the file of the export is not there"},
		"a_link":                 {id, func(e *exportops.Export) { e.Format = exportops.JSONL }, 410, "the file of the export is not there"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x, o, dir := setUp(t, nil)
			e := exportops.Export{
				ExportID: id, UserID: user, Timestamp: early, Format: exportops.CSV,
				Status: exportops.Completed, ExpiresAt: &late,
			}
			if err := os.Mkdir(filepath.Join(dir, user), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, user, id+".csv"), []byte("role,content\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(id+".csv", filepath.Join(dir, user, id+".jsonl")); err != nil {
				t.Fatal(err)
			}
			o.rows = map[string]exportops.Export{id: e}
			if w := call(x, "GET", "/api/export/download/"+id, ""); w.Code != 200 {
				t.Fatalf("without the fault: HTTP %d: %s", w.Code, w.Body)
			}
			tt.change(&e)
			o.rows[id] = e
			w := call(x, "GET", "/api/export/download/"+tt.id, "")
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.detail) {
				t.Errorf("HTTP %d: %s, want %d and %q", w.Code, w.Body, tt.status, tt.detail)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	x, _, dir := setUp(t, nil)
	if w := call(x, "GET", "/healthz", ""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"status":"ok"}` {
		t.Errorf("HTTP %d: %s", w.Code, w.Body)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if w := call(x, "GET", "/healthz", ""); w.Code != 503 || strings.Contains(w.Body.String(), dir) {
		t.Errorf("without a folder: HTTP %d: %s, want 503 and no path", w.Code, w.Body)
	}
}
