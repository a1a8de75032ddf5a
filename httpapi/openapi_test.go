package httpapi_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/exportops/exportops/httpapi"
)

// contract lists every endpoint that is promised, with the parameters of its
// query.
var contract = map[string][]string{
	"GET " + aggregatePath: {"dry_run", "force"}, "POST " + aggregatePath: {"dry_run", "force"},
	"GET " + filesPath: {"dry_run", "force", "retention_hours"}, "POST " + filesPath: {"dry_run", "force", "retention_hours"},
	"GET " + logsPath: {"dry_run", "force", "retention_days"}, "POST " + logsPath: {"dry_run", "force", "retention_days"},
	"POST /api/v1/exports": nil, "PATCH /api/v1/exports/{export_id}": nil, "GET /api/v1/exports/{export_id}": nil,
	"GET /api/v1/exports":                        {"user_id", "format", "status", "from", "to", "limit", "cursor"},
	"POST /api/v1/metrics":                       nil,
	"GET /api/v1/metrics/aggregate":              {"start", "end", "period"},
	"GET /api/v1/metrics/failure-rate":           {"lookback_minutes"},
	"GET /api/v1/metrics/volume":                 {"period", "days"},
	"GET /api/v1/cleanup/log-statistics":         {"retention_days"},
	"GET /api/v1/runs":                           {"job", "state", "limit", "cursor"},
	"GET /api/v1/runs/{id}":                      nil,
	"POST /api/v1/runs/{id}/cancel":              nil,
	"POST /api/v1/deletions/{id}/retry":          nil,
	"GET /api/v1/deletions":                      {"export_id", "run_id", "state", "from", "to", "limit", "cursor"},
	"GET /api/v1/deletions/{id}":                 nil,
	"DELETE /api/v1/users/{user_id}/export-logs": {"dry_run", "force"},
	"POST /api/v1/users/{user_id}/erasure":       {"dry_run", "force"},
	"GET /api/v1/erasures":                       {"limit", "cursor"},
	"POST /api/v1/holds":                         nil,
	"GET /api/v1/holds":                          {"all", "limit", "cursor"},
	"DELETE /api/v1/holds/{id}":                  {"released_by"},
	"POST /api/v1/reconcile":                     {"dry_run", "force", "stuck_after_hours"},
	"GET /api/v1/reconcile/unknown":              {"state", "limit", "cursor"},
	"GET /api/v1/reconcile/missing":              {"limit", "cursor"},
	"POST /api/v1/plans/file-cleanup":            {"retention_hours"},
	"POST /api/v1/plans/file-cleanup/apply":      {"force"},
	"POST /api/v1/plans/log-cleanup":             {"retention_days"},
	"POST /api/v1/plans/log-cleanup/apply":       {"force"},
	"POST /api/v1/plans/unknown-cleanup":         nil,
	"POST /api/v1/plans/unknown-cleanup/apply":   {"force"},
	"GET /api/v1/exports/report":                 {"from", "to"},
	"GET /api/v1/archives":                       {"state", "limit", "cursor"},
	"GET /api/v1/archives/{id}":                  nil,
	"GET /api/v1/archives/search":                {"user_id", "export_id", "format", "from", "to", "limit", "cursor"},
	"POST /api/v1/archives/verify":               {"sample"},
	"POST /api/v1/archives/{id}/verify":          nil,
	"GET /api/v1/alerts":                         {"rule", "open", "fired", "limit", "cursor"},
	"GET /api/v1/alerts/{id}":                    nil,
	"POST /api/v1/alerts/{id}/ack":               nil,
	"GET /api/v1/alerts/rules":                   nil,
	"GET /api/v1/silences":                       nil,
	"POST /api/v1/silences":                      nil,
	"DELETE /api/v1/silences/{id}":               {"ended_by"},
	"GET /api/v1/slo":                            nil,
	"GET /api/v1/notifications":                  {"state", "channel", "limit", "cursor"},
	"GET /api/v1/notifications/{id}":             nil,
	"POST /api/v1/notifications/{id}/retry":      nil,
	"GET /healthz":                               nil,
	"GET /readyz":                                nil,
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                map[string]any
}

type operation struct {
	OperationID string `json:"operationId"`
	Summary     string
	Security    []map[string][]string
	Parameters  []parameter
	RequestBody *struct {
		Content map[string]struct {
			Schema  map[string]any
			Example any
		}
	}
	Responses map[string]struct{ Description string }
}

type document struct {
	OpenAPI    string `json:"openapi"`
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]operation
	Components struct {
		Schemas         map[string]map[string]any
		SecuritySchemes map[string]any
	}
}

func describe(t *testing.T, h http.Handler) (document, string) {
	t.Helper()
	w := request{method: http.MethodGet, path: "/openapi.json"}.send(h)
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "application/openapi+json" {
		t.Fatalf("%d %s", w.Code, got)
	}
	var d document
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d, w.Body.String()
}

func TestEveryPromisedEndpointIsDescribed(t *testing.T) {
	d, _ := describe(t, serve(t, options()))
	found := map[string]bool{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			found[name] = true
			var query []string
			for _, p := range op.Parameters {
				if p.In == "query" {
					query = append(query, p.Name)
				}
			}
			want, promised := contract[name]
			if !promised || !slices.Equal(slices.Sorted(slices.Values(query)), slices.Sorted(slices.Values(want))) {
				t.Errorf("%s takes %v, promised are %v", name, query, want)
			}
		}
	}
	for name := range contract {
		if !found[name] {
			t.Errorf("%s is not described", name)
		}
	}
}

func TestTheDescriptionHoldsTogether(t *testing.T) {
	d, text := describe(t, serve(t, options()))
	if d.OpenAPI != "3.1.0" || d.Info.Title == "" || d.Info.Version != "1.2.3" {
		t.Errorf("%s %+v", d.OpenAPI, d.Info)
	}
	ids := map[string]bool{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s %s: id %q, summary %q", method, path, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			for _, placeholder := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p parameter) bool {
					return p.In == "path" && p.Name == placeholder[1] && p.Required
				}) {
					t.Errorf("%s %s does not describe %s", method, path, placeholder[1])
				}
			}
			for _, p := range op.Parameters {
				if p.Description == "" || len(p.Schema) == 0 {
					t.Errorf("%s %s: %s is not described", method, path, p.Name)
				}
			}
			if strings.HasPrefix(path, "/api/") == (len(op.Security) == 0) {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			for _, choice := range op.Security {
				for scheme := range choice {
					if d.Components.SecuritySchemes[scheme] == nil {
						t.Errorf("%s %s: there is no scheme %s", method, path, scheme)
					}
				}
			}
			if len(op.Responses) == 0 || strings.HasPrefix(path, "/api/") && op.Responses["401"].Description == "" {
				t.Errorf("%s %s: responses %v", method, path, op.Responses)
			}
		}
	}
	for _, ref := range regexp.MustCompile(`"\$ref": "([^"]*)"`).FindAllStringSubmatch(text, -1) {
		name, local := strings.CutPrefix(ref[1], "#/components/schemas/")
		if !local || d.Components.Schemas[name] == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
}

func TestBodiesAreStrictAndAnswersMayGrow(t *testing.T) {
	d, text := describe(t, serve(t, options()))
	for name, schema := range d.Components.Schemas {
		strict := name == "NewExport" || name == "ExportUpdate" || name == "MetricBody" || name == "NewHold" || name == "NewSilence" ||
			name == "Acknowledgement"
		if _, closed := schema["additionalProperties"]; closed != strict {
			t.Errorf("%s: additionalProperties is set: %v", name, closed)
		}
	}
	if strings.Contains(text, "$schema") || strings.Contains(text, "example.com") {
		t.Error("the description carries a host")
	}
}

func TestTheExamplesAreAccepted(t *testing.T) {
	h := serve(t, withStore(t))
	d, _ := describe(t, h)
	for _, op := range []struct{ method, path, at string }{
		{"post", "/api/v1/exports", "/api/v1/exports"},
		{"patch", "/api/v1/exports/{export_id}", "/api/v1/exports/" + exportID},
		{"post", "/api/v1/metrics", "/api/v1/metrics"},
		{"post", "/api/v1/plans/file-cleanup/apply", "/api/v1/plans/file-cleanup/apply"},
		{"post", "/api/v1/plans/log-cleanup/apply", "/api/v1/plans/log-cleanup/apply"},
		{"post", "/api/v1/plans/unknown-cleanup/apply", "/api/v1/plans/unknown-cleanup/apply"},
	} {
		token := ingestToken
		if strings.Contains(op.path, "/plans/") {
			token = adminToken
		}
		for mediaType, content := range d.Paths[op.path][op.method].RequestBody.Content {
			body, lines := content.Example.(string)
			if !lines {
				b, err := json.Marshal(content.Example)
				if err != nil {
					t.Fatal(err)
				}
				body = string(b)
			}
			w := request{
				method: strings.ToUpper(op.method), path: op.at, token: token, body: body, header: []string{"Content-Type", mediaType},
			}.send(h)
			if w.Code > 299 || strings.Contains(w.Body.String(), `"line"`) {
				t.Errorf("%s %s as %s: %d %s", op.method, op.path, mediaType, w.Code, w.Body)
			}
		}
	}
}

func TestTheLimitsAreDescribed(t *testing.T) {
	_, text := describe(t, serve(t, options()))
	if httpapi.MaxObjectBytes != 1<<20 || httpapi.MaxBatchBytes != 32<<20 || httpapi.MaxLineBytes != 128<<10 || httpapi.MaxBatchLines != 50_000 || httpapi.MaxPlanBytes != 512<<20 {
		t.Error("the limits changed: change the introduction with them")
	}
	for _, limit := range []string{"1 MiB", "32 MiB", "128 KiB", "50,000 lines", "512 MiB"} {
		if !strings.Contains(text, limit) {
			t.Errorf("%s is not mentioned", limit)
		}
	}
}

func TestTheDocumentationLoadsNothingFromElsewhere(t *testing.T) {
	h := serve(t, options())
	types := map[string]string{"/docs": "text/html; charset=utf-8", "/docs/docs.js": "text/javascript; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8"}
	for path, want := range types {
		w := request{method: http.MethodGet, path: path}.send(h)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != want {
			t.Errorf("%s: %d %s", path, w.Code, got)
		}
		if strings.Contains(w.Body.String(), "://") || strings.Contains(w.Body.String(), "innerHTML") {
			t.Errorf("%s reaches out, or sets markup", path)
		}
		again := request{method: http.MethodGet, path: path, header: []string{"If-None-Match", w.Header().Get("ETag")}}.send(h)
		if again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.Code)
		}
	}
	page := request{method: http.MethodGet, path: "/docs"}.send(h).Body.String()
	for _, ref := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if w := (request{method: http.MethodGet, path: "/" + ref[1]}).send(h); w.Code != http.StatusOK {
			t.Errorf("the page refers to %s: %d", ref[1], w.Code)
		}
	}
	if strings.Contains(page, "style=") || strings.Contains(page, "onload") || strings.Contains(page, "<script>") {
		t.Error("the page holds what its policy forbids")
	}
}
