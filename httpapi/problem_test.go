package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

func TestKindsBecomeStatuses(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		says   string
	}{
		{&exportops.Error{Kind: exportops.KindInvalid, Field: "format", Message: "odd"}, 422, "body.format: odd"},
		{errors.Join(exportops.Invalid("a", "one"), exportops.Invalid("b", "two")), 422, "body.b: two"},
		{&exportops.Error{Kind: exportops.KindNotFound, Message: "there is no such export"}, 404, "there is no such export"},
		{&exportops.Error{Kind: exportops.KindConflict, Field: "export_id", Message: "taken"}, 409, "export_id: taken"},
		{&exportops.Error{Kind: exportops.KindRefused, Message: "on hold"}, 409, "on hold"},
		{&exportops.Error{Kind: exportops.KindTooLarge, Message: "too much"}, 413, "too much"},
		{fmt.Errorf("create: %w", &exportops.Error{Kind: exportops.KindUnavailable, Message: "the database is locked", Err: errors.New("inner-secret")}), 503, "the database is locked"},
		{&exportops.Error{Kind: exportops.KindInternal, Message: "we got it wrong", Err: errors.New("inner-secret")}, 500, "we got it wrong"},
		{&exportops.Error{Kind: "unheard of", Message: "odd"}, 500, "odd"},
		{errors.New("inner-secret"), 500, "something went wrong in the server"},
	} {
		var log bytes.Buffer
		o := options()
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Exports = stub{create: func(e exportops.Export) (exportops.Export, error) { return e, tc.err }}
		w := request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, body: `{"user_id":"` + userID + `","format":"csv"}`}.send(serve(t, o))
		wantProblem(t, w, tc.status, tc.says)
		if strings.Contains(w.Body.String(), "inner-secret") {
			t.Errorf("the cause shows: %s", w.Body)
		}
		id := w.Header().Get("X-Request-Id")
		if logged := strings.Count(log.String(), "request_id="+id); logged != map[bool]int{true: 1, false: 0}[tc.status >= 500] {
			t.Errorf("%d: logged %d times: %s", tc.status, logged, &log)
		}
		if tc.status >= 500 && !strings.Contains(log.String(), `route="POST /api/v1/exports"`) {
			t.Errorf("the log does not name the route: %s", &log)
		}
		if retry := w.Header().Get("Retry-After") != ""; retry != (tc.status == http.StatusServiceUnavailable) {
			t.Errorf("%d: Retry-After is %v", tc.status, retry)
		}
	}
}

func TestUnknownRoutesAndMethodsAreProblems(t *testing.T) {
	h := serve(t, options())
	for _, path := range []string{
		"/", "/api", "/api/v1", "/api/v1/exports/", "/api/v2/exports", "/api/cron/export-file-cleanup/x", "//api/v1/exports",
		"/api/v1/../v1/exports", "/api/v1/%2e%2e/healthz", "/<script>", "/api/v1/users/export-logs", "/schemas/Export.json", "/openapi.yaml",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			r := httptest.NewRequest(method, "/", nil)
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(path, "%2e", "."), path
			wantProblem(t, send(h, r), http.StatusNotFound, "there is no such route")
		}
	}
	ran := false
	o := options()
	o.Jobs = &fakeJobs{run: func(context.Context, jobs.Request) (jobs.Answer, error) {
		ran = true
		return jobs.Answer{}, nil
	}}
	h = serve(t, o)
	for path, allow := range map[string]string{
		filesPath: "GET, POST", "/api/v1/exports": "GET, POST", "/api/v1/exports/" + exportID: "GET, PATCH",
		"/api/v1/metrics": "POST", "/api/v1/runs": "GET", "/api/v1/users/" + userID + "/export-logs": "DELETE",
		"/healthz": "GET, HEAD", "/openapi.json": "GET, HEAD", "/docs": "GET, HEAD",
	} {
		for _, method := range []string{"HEAD", "PUT", "OPTIONS", "TRACE", "BREW"} {
			if method == "HEAD" && strings.Contains(allow, "HEAD") {
				continue
			}
			w := request{method: method, path: path, token: cronSecret}.send(h)
			wantProblem(t, w, http.StatusMethodNotAllowed, allow)
			if got := w.Header().Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allow)
			}
		}
	}
	if ran {
		t.Error("a job ran")
	}
}

func TestEveryAnswerIsSafeToShow(t *testing.T) {
	h := serve(t, options())
	for _, path := range []string{"/healthz", "/nowhere", filesPath, "/docs", "/openapi.json", "/docs/docs.js"} {
		w := request{method: http.MethodGet, path: path}.send(h)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if cache := w.Header().Get("Cache-Control"); strings.HasPrefix(path, "/api") && cache != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, cache)
		}
	}
}

func TestAPanicIsAProblemAndIsLogged(t *testing.T) {
	var log bytes.Buffer
	o := options()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Exports = stub{create: func(exportops.Export) (exportops.Export, error) { panic("inner-secret") }}
	w := request{method: http.MethodPost, path: "/api/v1/exports", token: ingestToken, body: `{"user_id":"` + userID + `","format":"csv"}`}.send(serve(t, o))
	wantProblem(t, w, http.StatusInternalServerError, "something went wrong")
	if strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "inner-secret") {
		t.Errorf("answer %s, log %s", w.Body, &log)
	}
}

func TestHealth(t *testing.T) {
	o := options()
	golden(t, "health/alive", request{method: http.MethodGet, path: "/healthz"}.send(serve(t, o)))
	golden(t, "health/ready", request{method: http.MethodGet, path: "/readyz?probe&n=1"}.send(serve(t, o)))
	o.Ready = func(context.Context) error {
		return errors.Join(&exportops.Error{Kind: exportops.KindUnavailable, Message: "the database cannot be opened", Err: errors.New("inner-secret")},
			fmt.Errorf("storage: %w", &exportops.Error{Kind: exportops.KindUnavailable, Message: "the storage root is missing"}))
	}
	golden(t, "health/unready", request{method: http.MethodGet, path: "/readyz"}.send(serve(t, o)))
	golden(t, "health/alive", request{method: http.MethodGet, path: "/healthz"}.send(serve(t, o)))
	o.Ready = func(context.Context) error { return errors.New("inner-secret") }
	golden(t, "health/unready_unexplained", request{method: http.MethodGet, path: "/readyz"}.send(serve(t, o)))
	if w := (request{method: http.MethodHead, path: "/healthz"}).send(serve(t, o)); w.Code != http.StatusOK {
		t.Errorf("HEAD /healthz: %d", w.Code)
	}
}
