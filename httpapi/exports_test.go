package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/sqlite"
)

// withStore returns options whose rows are in a database of their own.
func withStore(tb testing.TB) httpapi.Options {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), sqlite.Options{Path: filepath.Join(tb.TempDir(), "exportops.db"), Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	o := options()
	o.Exports, o.Runs, o.Logs = s, s, s
	return o
}

func create(t *testing.T, h http.Handler, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, body: body}.send(h)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w
}

func decodeExport(t *testing.T, w *httptest.ResponseRecorder) exportops.Export {
	t.Helper()
	var e exportops.Export
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code > 299 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	e.ID, e.UpdatedAt = "", exportops.Time{} // made up by the server, and set by a trigger
	return e
}

func ptr[T any](v T) *T { return &v }

func TestAnExportFromItsRequestToItsFile(t *testing.T) {
	h := serve(t, withStore(t))
	w := create(t, h, `{"export_id":"`+strings.ToUpper(exportID)+`","user_id":"`+userID+`","format":"jsonl","config":{"scope":"all","n":1.0}}`)
	if got := w.Header().Get("Location"); got != "/api/v1/exports/"+exportID {
		t.Errorf("Location %q", got)
	}
	want := exportops.Export{
		ExportID: exportID, UserID: userID, Timestamp: noon, Format: exportops.JSONL, Config: json.RawMessage(`{"scope":"all","n":1.0}`),
		Status: exportops.Queued, CreatedAt: noon,
	}
	if diff := cmp.Diff(want, decodeExport(t, w)); diff != "" {
		t.Error(diff)
	}

	path := "/api/v1/exports/" + exportID
	w = request{method: http.MethodPatch, path: path, token: ingestToken, body: `{"status":"completed","conversation_count":150,"file_size":524288,"file_url":"a/b.jsonl"}`}.send(h)
	want.Status, want.ConversationCount, want.FileSize, want.FileURL = exportops.Completed, 150, ptr(int64(524288)), ptr("a/b.jsonl")
	want.ExpiresAt = ptr(exportops.At(noon.AddDate(0, 0, 1)))
	if diff := cmp.Diff(want, decodeExport(t, w)); diff != "" {
		t.Error(diff)
	}
	w = request{method: http.MethodGet, path: path, token: readToken}.send(h)
	if diff := cmp.Diff(want, decodeExport(t, w)); diff != "" {
		t.Error(diff)
	}
	w = request{method: http.MethodPatch, path: path, token: ingestToken, body: `{"downloaded_count":3,"expires_at":"2025-11-02T01:00:00+01:00"}`}.send(h)
	want.DownloadedCount, want.ExpiresAt = 3, ptr(exportops.At(noon.AddDate(0, 0, 1).Add(12*3600e9)))
	if diff := cmp.Diff(want, decodeExport(t, w)); diff != "" {
		t.Error(diff)
	}
}

func TestAnExportThatIsCompletedAlreadyGetsAnExpiry(t *testing.T) {
	o := withStore(t)
	o.FileRetention = 3600e9
	h := serve(t, o)
	e := decodeExport(t, create(t, h, `{"user_id":"`+userID+`","format":"csv","status":"completed"}`))
	if diff := cmp.Diff(ptr(exportops.At(noon.Add(3600e9))), e.ExpiresAt); diff != "" {
		t.Error(diff)
	}
	if _, err := exportops.ParseID("", e.ExportID); err != nil {
		t.Errorf("made-up id: %v", err)
	}
	if e = decodeExport(t, create(t, h, `{"user_id":"`+userID+`","format":"csv"}`)); e.ExpiresAt != nil {
		t.Errorf("a queued export expires at %v", e.ExpiresAt)
	}
}

func TestExportsAreListedByPages(t *testing.T) {
	h := serve(t, withStore(t))
	for _, day := range []string{"01", "02", "03", "04", "05"} {
		create(t, h, `{"user_id":"`+userID+`","format":"csv","timestamp":"2025-10-`+day+`T00:00:00Z"}`)
	}
	create(t, h, `{"user_id":"`+otherExport+`","format":"json","status":"failed","error_message":"TimeoutError: <b>"}`)
	var got []string
	query := url.Values{"limit": {"2"}, "user_id": {strings.ToUpper(userID)}, "from": {"2025-10-02T00:00:00Z"}, "to": {"2025-10-05T00:00:00+00:00"}}
	for range 3 {
		var page struct {
			Exports    []exportops.Export `json:"exports"`
			NextCursor string             `json:"next_cursor"`
		}
		w := request{method: http.MethodGet, path: "/api/v1/exports?" + query.Encode(), token: readToken}.send(h)
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, e := range page.Exports {
			got = append(got, e.Timestamp.String()[:10])
		}
		if page.NextCursor == "" {
			break
		}
		query.Set("cursor", page.NextCursor)
	}
	if diff := cmp.Diff([]string{"2025-10-04", "2025-10-03", "2025-10-02"}, got); diff != "" {
		t.Error(diff)
	}
	w := request{method: http.MethodGet, path: "/api/v1/exports?status=queued&format=json", token: readToken}.send(h)
	golden(t, "exports/none", w)
}

func TestExportsThatCannotBe(t *testing.T) {
	h := serve(t, withStore(t))
	create(t, h, `{"export_id":"`+exportID+`","user_id":"`+userID+`","format":"csv"}`)
	body := func(more string) string { return `{"user_id":"` + userID + `","format":"csv"` + more + `}` }
	const post, patch, get = http.MethodPost, http.MethodPatch, http.MethodGet
	const path = "/api/v1/exports"
	long := strings.Repeat("x", 1<<20-200)
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		says                     string
	}{
		{"taken_id", post, path, body(`,"export_id":"` + exportID + `"`), 409, "export_id"},
		{"missing_user", post, path, `{"format":"csv"}`, 422, "body.user_id: missing"},
		{"two_faults", post, path, `{"user_id":"x","format":"pdf"}`, 422, "body.format"},
		{"unknown_field", post, path, body(`,"file_sise":1`), 422, "body.file_sise: there is no such field"},
		{"other_case", post, path, body(`,"Status":"queued"`), 422, "body.Status: there is no such field"},
		{"wrong_type", post, path, body(`,"conversation_count":"many"`), 422, `body.conversation_count: "many" is not a whole number`},
		{"fraction", post, path, body(`,"conversation_count":1.5`), 422, "body.conversation_count: 1.5 is not a whole number"},
		{"beyond_int64", post, path, body(`,"file_size":1e400`), 422, "body.file_size"},
		{"null_count", post, path, body(`,"conversation_count":null`), 422, "body.conversation_count: null"},
		{"negative_count", post, path, body(`,"conversation_count":-1`), 422, "body.conversation_count"},
		{"no_time", post, path, body(`,"timestamp":"yesterday"`), 422, "body.timestamp"},
		{"time_beyond_four_digits", post, path, body(`,"expires_at":"9999-12-31T23:59:59-01:00"`), 422, "body.expires_at"},
		{"config_no_object", post, path, body(`,"config":[1]`), 422, "body.config"},
		{"config_with_nul", post, path, body(`,"config":{"a":"\u0000"}`), 422, "body.config"},
		{"nul", post, path, body(`,"error_message":"a\u0000b"`), 422, "body.error_message"},
		{"lone_surrogate", post, path, body(`,"file_url":"\ud83d"`), 422, "body.file_url"},
		{"long_text", post, path, body(`,"error_message":"` + long + `"`), 422, "body.error_message"},
		{"long_id", post, path, `{"format":"csv","user_id":"` + long + `"}`, 422, "body.user_id"},
		{"expired_from_the_start", post, path, body(`,"status":"expired"`), 422, "body.status"},
		{"expired_by_hand", patch, path + "/" + exportID, `{"status":"expired"}`, 422, "body.status"},
		{"null_in_update", patch, path + "/" + exportID, `{"expires_at":null}`, 422, "body.expires_at: null"},
		{"unknown_export", patch, path + "/" + otherExport, `{}`, 404, "no such export"},
		{"repeated_name", post, path, body(`,"format":"json"`), 400, `the name "format" comes twice`},
		{"repeated_name_inside", post, path, body(`,"config":{"a":[{"b":1,"\u0062":2}]}`), 400, `the name "b" comes twice`},
		{"nested_too_deeply", post, path, body(`,"config":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), 400, "nests deeper"},
		{"trailing_data", post, path, body("") + `{}`, 400, "not JSON"},
		{"not_json", post, path, `{"user_id"`, 400, "not JSON"},
		{"array", post, path, `[]`, 400, "not a JSON object"},
		{"word", post, path, ` null`, 400, "not a JSON object"},
		{"invalid_utf8", post, path, body(",\"file_url\":\"\xff\""), 400, "UTF-8"},
		{"too_large", post, path, body(`,"error_message":"` + long + long + `"`), 413, "1048576"},
		{"id_in_path", get, path + "/%00%3Cscript%3E", "", 400, "path.export_id"},
		{"absent", get, path + "/" + otherExport, "", 404, "no such export"},
		{"odd_status", get, path + "?status=done", "", 400, "query.status"},
		{"odd_user", get, path + "?user_id=me", "", 400, "query.user_id"},
		{"odd_time", get, path + "?from=today", "", 400, "query.from"},
		{"page_of_none", get, path + "?limit=0", "", 400, "query.limit"},
		{"page_of_all", get, path + "?limit=501", "", 400, "query.limit"},
		{"odd_cursor", get, path + "?cursor=%00", "", 400, "query.cursor"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := map[string]string{get: readToken}[tc.method]
			if token == "" {
				token = ingestToken
			}
			w := request{method: tc.method, path: tc.path, token: token, body: tc.body}.send(h)
			wantProblem(t, w, tc.status, tc.says)
			if w.Body.Len() > 2000 {
				t.Errorf("the answer has %d bytes", w.Body.Len())
			}
		})
	}
}

func TestBodiesOfAnotherKind(t *testing.T) {
	h := serve(t, withStore(t))
	for _, header := range [][]string{
		{"Content-Type", ""},
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/json; charset=latin1"},
		{"Content-Type", "application/x-ndjson"},
		{"Content-Encoding", "gzip"},
		{"Content-Type", ";;"},
	} {
		w := request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, body: `{}`, header: header}.send(h)
		wantProblem(t, w, http.StatusUnsupportedMediaType, "application/json")
	}
	w := request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, header: []string{"Content-Type", "Application/JSON; charset=UTF-8"}}.send(h)
	wantProblem(t, w, http.StatusBadRequest, "not JSON")
}

func TestAFileThatNoCleanupWouldDeleteIsRefused(t *testing.T) {
	o := withStore(t)
	o.Locator = exportops.Locator{KeyPrefix: "{user_id}/", Root: "/srv/exports", Hosts: []string{"files.example.com"}}
	h := serve(t, o)
	create(t, h, `{"export_id":"`+exportID+`","user_id":"`+userID+`","format":"csv","file_url":"`+userID+`/a.csv"}`)
	path := "/api/v1/exports/" + exportID
	for name, url := range map[string]string{
		"parent": userID + "/../a.csv", "encoded_parent": userID + "/%2e%2e%2fa.csv", "backslash": userID + `\\a.csv`,
		"absolute": "/etc/passwd", "another_host": "https://elsewhere.example.com/exports/" + userID + "/a.csv",
		"another_bucket": "s3://other/" + userID + "/a.csv", "outside_the_root": "file:///etc/passwd", "another_user": otherExport + "/a.csv",
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"user_id":"` + userID + `","format":"csv","file_url":"` + url + `"}`
			wantProblem(t, request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, body: body}.send(h), 422, "body.file_url: ")
			body = `{"file_url":"` + url + `"}`
			wantProblem(t, request{method: http.MethodPatch, path: path, token: ingestToken, body: body}.send(h), 422, "body.file_url: ")
		})
	}
	w := request{method: http.MethodPatch, path: path, token: ingestToken, body: `{"file_url":"s3://exports/` + userID + `/b.csv"}`}.send(h)
	if got := decodeExport(t, w).FileURL; *got != "s3://exports/"+userID+"/b.csv" {
		t.Errorf("the file is %q", *got)
	}
}

// TestExpiryUnderAPolicy runs on a real store: the row as the update leaves it
// decides.
func TestExpiryUnderAPolicy(t *testing.T) {
	day := 24 * time.Hour
	size := int64(1000)
	policy, err := exportops.NewPolicy(exportops.KeepFor(2*day), exportops.KeepFor(30*day), []exportops.Rule{
		{Name: "for good", Match: exportops.Match{Config: map[string][]any{"scope": {"all"}}}, Files: exportops.Never, Logs: exportops.Never},
		{Name: "large", Match: exportops.Match{LargerThan: &size}, Files: exportops.KeepFor(time.Hour), Logs: exportops.KeepFor(30 * day)},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := withStore(t)
	o.Policy = policy
	h := serve(t, o)
	own := `"2030-01-01T00:00:00.000Z"`
	at := func(d time.Duration) string { return `"` + exportops.At(noon.Add(d)).String() + `"` }
	for name, c := range map[string]struct{ config, complete, want string }{
		"by_default":                {`{}`, `{"status":"completed","file_size":1000}`, at(2 * day)},
		"by_the_size_of_the_update": {`{}`, `{"status":"completed","file_size":1001}`, at(time.Hour)},
		"never":                     {`{"scope":"all"}`, `{"status":"completed","file_size":1001}`, `null`},
		"its_own_comes_first":       {`{"scope":"all"}`, `{"status":"completed","expires_at":` + own + `}`, own},
	} {
		t.Run(name, func(t *testing.T) {
			id := exportops.NewID()
			fresh := `"export_id":"` + id + `","user_id":"` + exportops.NewID() + `","format":"csv","config":` + c.config
			expires := func(method, path, body string) string {
				t.Helper()
				r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+ingestToken)
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				var got struct {
					ExpiresAt json.RawMessage `json:"expires_at"`
				}
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code >= 300 {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				return string(got.ExpiresAt)
			}
			if got := expires(http.MethodPost, "/api/v1/exports", `{`+fresh+`}`); got != "null" {
				t.Errorf("queued: %s", got)
			}
			if got := expires(http.MethodPatch, "/api/v1/exports/"+id, c.complete); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			once := strings.Replace(`{`+fresh, id, exportops.NewID(), 1) + `,` + c.complete[1:]
			if got := expires(http.MethodPost, "/api/v1/exports", once); got != c.want {
				t.Errorf("completed at once: got %s, want %s", got, c.want)
			}
		})
	}
}
