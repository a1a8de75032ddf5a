package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// capture runs a command and returns what it wrote and its exit status.
func capture(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	files := make([]*os.File, 2)
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		files[i] = f
	}
	status = execute(t.Context(), args, strings.NewReader(""), files[0], files[1])
	texts := make([]string, 2)
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	return texts[0], texts[1], status
}

const cronSecret = "correct-horse-battery+staple/42"

// cronServer answers as exportops does, except where broken has another answer
// for a path. asked returns what was asked so far, under a lock: net/http sends a
// request again when its connection breaks, while the first is still served.
func cronServer(t *testing.T, broken map[string]http.HandlerFunc) (base string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var urls []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		urls = append(urls, r.URL.String())
		mu.Unlock()
		if h := broken[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+cronSecret {
			http.Error(w, `{"title":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		field := "result"
		if strings.Contains(r.URL.Path, "metrics") {
			field = "metrics"
		}
		fmt.Fprintf(w, `{"success":true,%q:{},"timestamp":"2026-01-01T00:00:00.000Z"}`, field)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(urls)
	}
}

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestCheckPassesAgainstAHealthyServer(t *testing.T) {
	base, asked := cronServer(t, nil)
	stdout, stderr, status := capture(t, "check", base+"/", cronSecret)
	want := `✅ PASSED: Export metrics aggregation (HTTP 200)
✅ PASSED: Export file cleanup (HTTP 200)
✅ PASSED: Export log cleanup (HTTP 200)
✅ PASSED: Security check (HTTP 401)

Total tests: 4
✅ Passed: 4
❌ Failed: 0
`
	if stdout != want || status != 0 {
		t.Errorf("status %d, got:\n%s", status, stdout)
	}
	if !strings.Contains(stderr, "real run") || !strings.Contains(asked()[1], "file-cleanup") || strings.Contains(asked()[1], "dry_run") {
		t.Errorf("it does not say that it deletes, or does not: %v\n%s", asked(), stderr)
	}
}

func TestCheckDeletesNothingWithDryRun(t *testing.T) {
	base, asked := cronServer(t, nil)
	_, stderr, status := capture(t, "check", "--dry-run", base, cronSecret)
	if status != 0 || strings.Contains(stderr, "real run") {
		t.Errorf("status %d: %s", status, stderr)
	}
	for _, u := range asked() {
		if !strings.HasSuffix(u, "?dry_run=true") {
			t.Errorf("%s was called", u)
		}
	}
}

func TestCheckSeesWhatIsBroken(t *testing.T) {
	const metrics, files, logs = "/api/cron/export-metrics-aggregate", "/api/cron/export-file-cleanup", "/api/cron/export-log-cleanup"
	for name, c := range map[string]struct {
		path   string
		answer http.HandlerFunc
		says   string
	}{
		"a job that failed":         {metrics, answers(500, `{"success":false,"error":"the database is full"}`), "FAILED: Export metrics aggregation: HTTP 500: the database is full"},
		"a guard that refused":      {files, answers(409, `{"detail":"12000 files are more than ten times as many"}`), "FAILED: Export file cleanup: HTTP 409: 12000 files"},
		"a run still going on":      {logs, answers(202, `{"run_id":"x"}`), "FAILED: Export log cleanup: HTTP 202"},
		"another web page":          {files, answers(200, `<html>hello</html>`), "FAILED: Export file cleanup: HTTP 200, but the answer is not JSON"},
		"another program's success": {files, answers(200, `{"success":true}`), "FAILED: Export file cleanup: HTTP 200, but the answer has no result"},
		"success that is not":       {logs, answers(200, `{"success":false,"error":"three rows","result":{}}`), "FAILED: Export log cleanup: HTTP 200, but not success: three rows"},
		"a path that is not there":  {logs, answers(404, `not found`), "FAILED: Export log cleanup: HTTP 404"},
		"a redirect":                {files, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "FAILED: Export file cleanup: HTTP 302"},
		"a door open to all":        {metrics, answers(200, `{"success":true,"metrics":{}}`), "FAILED: Security check: HTTP 200 with "},
		"a door that breaks":        {metrics, answers(403, ``), "FAILED: Security check: HTTP 403 with "},
		"a server that repeats it": {files, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintf(w, `{"error":"bad header %s"}`, r.Header.Get("Authorization"))
		}, "HTTP 502: bad header Bearer (hidden)"},
		"a terminal under attack":     {files, answers(500, `{"error":"\u001b[2J\u0007red"}`), "HTTP 500:  [2J red"},
		"an answer that never begins": {logs, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "FAILED: Export log cleanup: "},
	} {
		t.Run(name, func(t *testing.T) {
			base, _ := cronServer(t, map[string]http.HandlerFunc{c.path: c.answer})
			stdout, stderr, status := capture(t, "check", base, cronSecret)
			if status != 1 || !strings.Contains(stdout, c.says) {
				t.Errorf("status %d, want %q:\n%s", status, c.says, stdout)
			}
			if strings.Contains(stdout+stderr, cronSecret) {
				t.Errorf("the secret shows:\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestCheckWithAWrongSecret(t *testing.T) {
	base, _ := cronServer(t, nil)
	stdout, _, status := capture(t, "check", base, "another-secret")
	if status != 1 || !strings.Contains(stdout, "HTTP 401: the server has another CRON_SECRET") ||
		!strings.Contains(stdout, "✅ PASSED: Security check (HTTP 401)") || !strings.Contains(stdout, "❌ Failed: 3") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
}

func TestCheckWithoutAServer(t *testing.T) {
	base, _ := cronServer(t, nil)
	s := httptest.NewServer(nil)
	s.Close()
	stdout, _, status := capture(t, "check", s.URL, cronSecret)
	if status != 1 || !strings.Contains(stdout, "❌ Failed: 4") || !strings.Contains(stdout, "connection refused") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
	for _, bad := range []string{"localhost:8080", "ftp://x", "http://", "http://user:pass@host", base + "?x=y", "::"} {
		if _, stderr, status := capture(t, "check", bad, cronSecret); status != 2 || !strings.Contains(stderr, "base-url") {
			t.Errorf("%q: status %d: %s", bad, status, stderr)
		}
	}
	t.Setenv("CRON_SECRET", "")
	if _, stderr, status := capture(t, "check", base); status != 2 || !strings.Contains(stderr, "CRON_SECRET") {
		t.Errorf("without a secret: status %d: %s", status, stderr)
	}
	t.Setenv("CRON_SECRET", cronSecret)
	if stdout, _, status := capture(t, "check", base); status != 0 {
		t.Errorf("with the secret from the environment: status %d: %s", status, stdout)
	}
}
