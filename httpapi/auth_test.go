package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
)

func TestNewNeedsACronSecret(t *testing.T) {
	o := options()
	o.Secrets.Cron = httpapi.Secret{Previous: "old"}
	if _, err := httpapi.New(o); !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("got %v", err)
	}
}

// scopes has one harmless request for each scope.
var scopes = map[string]request{
	"cron":   {method: http.MethodGet, path: filesPath},
	"ingest": {method: http.MethodPost, path: "/api/v1/metrics", body: oneMetric},
	"read":   {method: http.MethodGet, path: "/api/v1/metrics/failure-rate"},
	"admin":  {method: http.MethodDelete, path: "/api/v1/users/" + userID + "/export-logs"},
}

func TestEachScopeTakesItsOwnTokens(t *testing.T) {
	o := options()
	o.Secrets = httpapi.Secrets{
		Cron:   httpapi.Secret{Current: cronSecret, Previous: "cron-old"},
		Ingest: httpapi.Secret{Current: ingestToken, Previous: "ingest-old"},
		Read:   httpapi.Secret{Current: readToken, Previous: "read-old"},
		Admin:  httpapi.Secret{Current: adminToken, Previous: "admin-old"},
	}
	h := serve(t, o)
	accepts := map[string][]string{
		"cron": {cronSecret, "cron-old"}, "ingest": {ingestToken, "ingest-old"},
		"read": {readToken, "read-old", adminToken, "admin-old"}, "admin": {adminToken, "admin-old"},
	}
	every := append(append(append(accepts["cron"], accepts["ingest"]...), accepts["read"]...), "other", "cron-secret2", "cron-secre", "")
	for scope, call := range scopes {
		for _, token := range every {
			want := http.StatusUnauthorized
			for _, a := range accepts[scope] {
				if a == token {
					want = map[string]int{"ingest": http.StatusAccepted}[scope]
					if want == 0 {
						want = http.StatusOK
					}
				}
			}
			call.token = token
			if w := call.send(h); w.Code != want {
				t.Errorf("%s with %q: %d, want %d", scope, token, w.Code, want)
			}
		}
	}
}

func TestBadCredentialsAllGetTheSameAnswer(t *testing.T) {
	o := options()
	o.Secrets.Read, o.Secrets.Admin = httpapi.Secret{}, httpapi.Secret{} // closed
	h := serve(t, o)
	for scope, call := range scopes {
		for _, authorization := range []string{
			"", "Bearer", "Bearer ", "Bearer  " + cronSecret, "Basic " + cronSecret, cronSecret, "Bearer x",
			"Bearer " + cronSecret + " ", "bearer\t" + cronSecret, "Bearer " + readToken, "Bearer \x00", "Token " + ingestToken,
		} {
			call.header = []string{"Authorization", authorization}
			w := call.send(h)
			golden(t, "auth/unauthorized", w)
			if got := w.Header().Get("Www-Authenticate"); w.Code != http.StatusUnauthorized || got != `Bearer realm="exportops"` {
				t.Errorf("%s with %q: %d %q", scope, authorization, w.Code, got)
			}
		}
	}
	req := scopes["cron"]
	req.header = []string{"authorization", "bearer " + cronSecret} // the scheme has no case
	if w := req.send(h); w.Code != http.StatusOK {
		t.Errorf("lower-case scheme: %d", w.Code)
	}
}

func TestTwoAuthorizationHeadersAreNotOne(t *testing.T) {
	r := newRequest(t, scopes["cron"])
	r.Header["Authorization"] = []string{"Bearer " + cronSecret, "Bearer " + cronSecret}
	if w := send(serve(t, options()), r); w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

func TestDevOpensTheAPIToLoopbackNamesOnly(t *testing.T) {
	o := options()
	o.Dev = true
	o.Secrets = httpapi.Secrets{Cron: httpapi.Secret{Current: "test-secret"}}
	h := serve(t, o)
	for host, open := range map[string]bool{
		"localhost": true, "localhost:8080": true, "127.0.0.1:8080": true, "[::1]:8080": true, "[::1]": true, "127.9.9.9": true,
		"exportops.example.com": false, "localhost.example.com": false, "10.0.0.1:8080": false, "127.0.0.1.nip.io": false, "": false,
	} {
		for scope, call := range scopes {
			r := newRequest(t, call)
			r.Host = host
			got := send(h, r).Code != http.StatusUnauthorized
			if want := open && scope != "cron"; got != want {
				t.Errorf("%s at %q: let in is %v, want %v", scope, host, got, want)
			}
		}
	}
	call := scopes["cron"]
	call.token = "test-secret"
	if w := call.send(h); w.Code != http.StatusOK {
		t.Errorf("cron with its secret: %d", w.Code)
	}
}
