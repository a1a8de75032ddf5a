package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/exportops/exportops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server stands in for exportops: rows and metrics in memory.
type server struct {
	mu      sync.Mutex
	rows    map[string]map[string]any
	metrics []exportops.Metric
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	row := func(w http.ResponseWriter, r *http.Request, status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var change map[string]any
		if r.Body != http.NoBody && json.NewDecoder(r.Body).Decode(&change) != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		id := r.PathValue("id")
		if id == "" {
			id, _ = change["export_id"].(string)
			s.rows[id] = map[string]any{}
		}
		for k, v := range change {
			s.rows[id][k] = v
		}
		reply(w, status, s.rows[id])
	}
	mux.HandleFunc("POST /api/v1/exports", func(w http.ResponseWriter, r *http.Request) { row(w, r, http.StatusCreated) })
	mux.HandleFunc("PATCH /api/v1/exports/{id}", func(w http.ResponseWriter, r *http.Request) { row(w, r, http.StatusOK) })
	mux.HandleFunc("GET /api/v1/exports/{id}", func(w http.ResponseWriter, r *http.Request) { row(w, r, http.StatusOK) })
	mux.HandleFunc("GET /api/v1/exports", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		all := []any{}
		for _, r := range s.rows {
			all = append(all, r)
		}
		reply(w, http.StatusOK, map[string]any{"exports": all})
	})
	mux.HandleFunc("POST /api/v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for lines := bufio.NewScanner(r.Body); lines.Scan(); n++ {
			var m exportops.Metric
			if json.Unmarshal(lines.Bytes(), &m) == nil {
				s.metrics = append(s.metrics, m)
			}
		}
		reply(w, http.StatusAccepted, map[string]any{"accepted": n, "new": n, "errors": []any{}})
	})
	return mux
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// readme returns the commands of README.md, block by block.
func readme(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) != 5 {
		t.Fatalf("README.md has %d blocks of commands; this test knows 5", len(blocks))
	}
	return blocks
}

// TestREADME runs the commands of README.md in order, against a stand-in for
// the server of the first block.
func TestREADME(t *testing.T) {
	blocks := readme(t)
	s := &server{rows: map[string]map[string]any{}}
	api := httptest.NewServer(s.handler())
	defer api.Close()
	t.Chdir(t.TempDir())

	prepare, start, _ := strings.Cut(strings.TrimSpace(blocks[1]), "\n")
	sh(t, prepare)
	args, found := strings.CutPrefix(start, "go run ./examples/exporter ")
	if !found {
		t.Fatalf("README.md starts the application by %q", start)
	}
	args = strings.ReplaceAll(args, "http://127.0.0.1:8080", api.URL) + " -addr 127.0.0.1:0"

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, strings.Fields(args), func(string) string { return "" }, io.Discard, func(a net.Addr) { listening <- a })
	}()
	var addr net.Addr
	select {
	case addr = <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
	here := strings.NewReplacer("http://127.0.0.1:3000", "http://"+addr.String(), "http://127.0.0.1:8080", api.URL)

	wantOutput(t, sh(t, here.Replace(blocks[2])), `"conversation_count":`, `"file_url":"0b8f3c1e-54a7-4e0c-9c4d-6d2a9f1b7e10/`)
	data, err := os.ReadFile("conversations.csv")
	if err != nil || !strings.HasPrefix(string(data), "conversation,turn,role,content,id,topic,created_at\n1,1,user,") {
		t.Errorf("conversations.csv: %v, %.80q", err, data)
	}
	wantOutput(t, sh(t, here.Replace(blocks[3])), `"status":422`, `"error_type":"EmptySelection"`)
	wantOutput(t, sh(t, here.Replace(blocks[4])), `"status":"completed"`, `"status":"failed"`,
		`"error_message":"EmptySelection: no conversation matches the topic \"knitting\""`)

	stop()
	if err := <-ended; err != nil {
		t.Errorf("the application ended with %v", err)
	}
	if len(s.metrics) != 2 || s.metrics[0].Status != exportops.Completed || s.metrics[1].Status != exportops.Failed {
		t.Errorf("metrics %+v, want one of each outcome", s.metrics)
	}
}

func sh(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s\n%s", err, script, out)
	}
	return string(out)
}

func wantOutput(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in:\n%s", part, got)
		}
	}
}

func TestRunRefusesToStart(t *testing.T) {
	none := func(string) string { return "" }
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"unknown_flag":   {[]string{"-nonsense"}, "flag provided but not defined"},
		"no_address":     {[]string{"-ops", "exportops"}, "base_url: want http:// or https://"},
		"no_folder":      {[]string{"-dir", "/nowhere/at/all"}, "MissingFolder: "},
		"no_data_set":    {[]string{"-dir", t.TempDir(), "-data", "/nowhere/at/all"}, "DataSetMissing: "},
		"address_in_use": {[]string{"-dir", t.TempDir(), "-addr", inUse(t)}, "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tt.args, none, io.Discard, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func inUse(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
