package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// What is told of a request is bounded: anybody may ask for any path and by any
// method.
func TestAnswersAreToldByTheirRoutes(t *testing.T) {
	var told string
	o := options()
	o.Exports = stub{create: func(exportops.Export) (exportops.Export, error) { return exportops.Export{}, errors.New("broken") }}
	o.Answered = func(_ context.Context, method, route string, status int, took time.Duration) {
		told = fmt.Sprint(method, " ", route, " ", status)
		if took < 0 || took > time.Minute {
			t.Errorf("it took %s", took)
		}
	}
	h := serve(t, o)
	for _, c := range []struct{ method, path, token, body, want string }{
		{http.MethodGet, "/healthz", "", "", "GET /healthz 200"},
		{http.MethodGet, "/api/v1/exports/" + exportID + "?a=b", "", "", "GET /api/v1/exports/{export_id} 401"},
		{http.MethodPost, "/api/v1/exports", ingestToken, `{"user_id":"` + userID + `","format":"csv"}`, "POST /api/v1/exports 500"},
		{http.MethodGet, "/api/v1/nothing/" + userID, "", "", "GET  404"},
		{http.MethodGet, "//healthz", "", "", "GET  404"},
		{"BREW", "/healthz", "", "", "other  405"},
	} {
		if (request{method: c.method, path: c.path, token: c.token, body: c.body}).send(h); told != c.want {
			t.Errorf("%s %s: told %q, want %q", c.method, c.path, told, c.want)
		}
	}
}
