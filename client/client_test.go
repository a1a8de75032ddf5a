package client_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "s3cret-ingest-token"

// serve starts a server, and a client of it that is closed with the test.
func serve(t *testing.T, h http.HandlerFunc, opts ...client.Option) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return open(t, srv.URL, opts...)
}

func open(t *testing.T, url string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(url, token, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // tests look at errors themselves
	return c
}

func answer(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func metric() exportops.Metric {
	ms, size := int64(2500), int64(524288)
	return exportops.Metric{
		ExportID: exportops.NewID(), UserID: "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10",
		Format: exportops.JSONL, Status: exportops.Completed,
		ConversationCount: 150, DurationMS: &ms, FileSizeBytes: &size,
	}
}

func export() exportops.Export {
	return exportops.Export{
		ExportID: "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b", UserID: "0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10",
		Timestamp: exportops.At(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)),
		Format:    exportops.CSV, Config: json.RawMessage(`{"scope":"all"}`), Status: exportops.Queued,
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNewRefusesAnUnusableAddressOrToken(t *testing.T) {
	for _, base := range []string{
		"", "exportops.example.com", "ftp://exportops.example.com", "https://", "https://u:hunter2@exportops.example.com",
		"https://exportops.example.com?x=1", "https://exportops.example.com#x", "http://hunter2\x7f",
	} {
		_, err := client.New(base, token)
		if !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("New(%q): %v, want KindInvalid", base, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New(%q) repeats the address: %v", base, err)
		}
	}
	if _, err := client.New("https://exportops.example.com", "two\r\nX-Lines: 1"); !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("New with a token of two lines: %v, want KindInvalid", err)
	}
}

func TestExports(t *testing.T) {
	stored := export()
	stored.ID = "11111111-2222-4333-8444-555555555555"
	stored.CreatedAt = exportops.At(time.Date(2026, 1, 31, 12, 0, 1, 0, time.UTC))
	stored.UpdatedAt = stored.CreatedAt
	var got struct{ method, uri, auth, contentType, body string }
	list := false
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.method, got.uri, got.body = r.Method, r.RequestURI, string(body)
		got.auth, got.contentType = r.Header.Get("Authorization"), r.Header.Get("Content-Type")
		if list {
			answer(w, 200, "application/json", `{"exports":[`+mustJSON(t, stored)+`],"next_cursor":"n/2"}`)
			return
		}
		answer(w, 200, "application/json; charset=utf-8", mustJSON(t, stored))
	})
	want := func(method, uri, contentType, body string) {
		t.Helper()
		w := got
		w.method, w.uri, w.contentType, w.body, w.auth = method, uri, contentType, body, "Bearer "+token
		if got != w {
			t.Errorf("request:\n got %+v\nwant %+v", got, w)
		}
	}

	one, err := c.CreateExport(t.Context(), export())
	if diff := cmp.Diff(stored, one); err != nil || diff != "" {
		t.Errorf("CreateExport: %v (-want +got):\n%s", err, diff)
	}
	want("POST", "/api/v1/exports", "application/json",
		`{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b","user_id":"0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10",`+
			`"timestamp":"2026-01-31T12:00:00.000Z","format":"csv","config":{"scope":"all"},"conversation_count":0,"status":"queued"}`)

	status, url := exportops.Completed, "u/7f3c.csv"
	one, err = c.UpdateExport(t.Context(), stored.ExportID, exportops.ExportUpdate{Status: &status, FileURL: &url})
	if diff := cmp.Diff(stored, one); err != nil || diff != "" {
		t.Errorf("UpdateExport: %v (-want +got):\n%s", err, diff)
	}
	want("PATCH", "/api/v1/exports/"+stored.ExportID, "application/json", `{"status":"completed","file_url":"u/7f3c.csv"}`)

	one, err = c.Export(t.Context(), strings.ToUpper(stored.ExportID))
	if diff := cmp.Diff(stored, one); err != nil || diff != "" {
		t.Errorf("Export: %v (-want +got):\n%s", err, diff)
	}
	want("GET", "/api/v1/exports/"+stored.ExportID, "", "")

	list = true
	page, next, err := c.Exports(t.Context(), exportops.ExportFilter{
		UserID: stored.UserID, Format: exportops.CSV, Status: exportops.Failed,
		From: stored.Timestamp, Limit: 7, Cursor: "a&b",
	})
	if diff := cmp.Diff([]exportops.Export{stored}, page); err != nil || diff != "" || next != "n/2" {
		t.Errorf("Exports: next %q, %v (-want +got):\n%s", next, err, diff)
	}
	want("GET", "/api/v1/exports?cursor=a%26b&format=csv&from=2026-01-31T12%3A00%3A00.000Z&limit=7&status=failed&user_id="+stored.UserID, "", "")
	if _, _, err := c.Exports(t.Context(), exportops.ExportFilter{}); err != nil {
		t.Errorf("Exports of all: %v", err)
	}
	want("GET", "/api/v1/exports", "", "")
}

func TestExportIDCannotReachAnotherPath(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was requested", r.URL) })
	for _, id := range []string{"", "../runs", "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b/../x", "?limit=500"} {
		if _, err := c.Export(t.Context(), id); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("Export(%q): %v, want KindInvalid", id, err)
		}
		if _, err := c.UpdateExport(t.Context(), id, exportops.ExportUpdate{}); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("UpdateExport(%q): %v, want KindInvalid", id, err)
		}
	}
}
