package app_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
	"github.com/exportops/exportops/telemetry"
)

const (
	secret   = "a-secret-for-the-tests"
	stopSoon = 5 * time.Second // the bound of a stop that has little to wait for
)

// settings are those of an installation in a folder of its own.
func settings(t *testing.T, change func(*config.Settings)) config.Config {
	t.Helper()
	dir := t.TempDir()
	s := config.Settings{
		DatabaseURL: "sqlite://" + filepath.Join(dir, "exportops.db"), StorageURL: "file://" + filepath.Join(dir, "exports"),
		Addr: "127.0.0.1:0", CronSecret: secret, IngestToken: secret + "-ingest",
	}
	if change != nil {
		change(&s)
	}
	c, err := s.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// server is a program that serves.
type server struct {
	*app.App
	t     *testing.T
	url   string
	log   *logBuffer
	stop  context.CancelFunc
	ended chan error
	http  *http.Client
}

func open(t *testing.T, c config.Config) *server {
	t.Helper()
	s := &server{t: t, log: &logBuffer{}, http: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	var err error
	s.App, err = app.New(t.Context(), c, app.Options{
		Events: io.Discard, Log: slog.New(slog.NewTextHandler(s.log, nil)), Migrate: true, Create: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve begins to serve, and returns when requests are accepted.
func (s *server) serve() {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	s.stop, s.ended = stop, make(chan error, 1)
	listening := make(chan net.Addr, 1)
	go func() { s.ended <- s.Serve(ctx, false, func(a net.Addr) { listening <- a }) }()
	select {
	case a := <-listening:
		s.url = "http://" + a.String()
	case err := <-s.ended:
		s.t.Fatalf("it does not serve: %v", err)
	}
}

// stops tells it to stop and sees to it that it does so in time, and well.
func (s *server) stops(within time.Duration) {
	s.t.Helper()
	began := time.Now()
	s.stop()
	select {
	case err := <-s.ended:
		if took := time.Since(began); err != nil || took > within {
			s.t.Errorf("it stopped after %s: %v", took, err)
		}
	case <-time.After(30 * time.Second):
		s.t.Fatal("it does not stop")
	}
	if said := s.log.String(); strings.Contains(said, "level=ERROR") {
		s.t.Errorf("logged: %s", said)
	}
}

func (s *server) close() {
	s.t.Helper()
	s.http.CloseIdleConnections()
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

// call sends a request and returns the status and the body.
func (s *server) call(method, path, token, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// slow makes storage take its time over each file.
func (s *server) slow(c config.Config, delay time.Duration) {
	s.Jobs = jobs.New(jobs.Options{
		Store: s.Store, Files: &slowFiles{s.Files, delay}, Locator: app.Locator(c), Metrics: s.Metrics,
		Events: exportops.NoEvents{}, Now: time.Now, LogRetention: c.LogRetention,
	})
}

type slowFiles struct {
	exportops.FileStore
	delay time.Duration
}

func (f *slowFiles) MaxBatch() int { return 1 }

func (f *slowFiles) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	<-time.After(f.delay)
	return f.FileStore.Delete(ctx, refs)
}

type logBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// expired puts n files that are due into the folder, and their rows into the
// application's table.
func (s *server) expired(root string, n int) {
	s.t.Helper()
	past := exportops.At(time.Now().Add(-48 * time.Hour))
	for i := range n {
		name := fmt.Sprintf("%04d.csv", i)
		if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o600); err != nil {
			s.t.Fatal(err)
		}
		_, err := writer(s.Store).ExecContext(s.t.Context(), `INSERT INTO export_logs
			(export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url, expires_at, created_at, updated_at)
			VALUES (?, ?, ?, 'csv', '{}', 1, 1, 'completed', ?, ?, ?, ?)`,
			exportops.NewID(), exportops.NewID(), past.String(), name, exportops.At(past.Add(time.Hour)).String(), past.String(), past.String())
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *server) run(id string) exportops.Run {
	s.t.Helper()
	r, err := s.Store.Run(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// latest returns the latest run of the file cleanup; false without any.
func (s *server) latest() (exportops.Run, bool) {
	s.t.Helper()
	page, _, err := s.Store.Runs(s.t.Context(), exportops.RunFilter{Job: exportops.FileCleanup, Limit: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(page) == 0 {
		return exportops.Run{}, false
	}
	return page[0], true
}

// wait polls a condition.
func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	const most = 20 * time.Second
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); time.Now().Before(end); <-tick.C {
		if cond() {
			return
		}
	}
	t.Fatalf("waited %s in vain for %s", most, what)
}

// writer is the pool that writes the SQLite database behind an app.
func writer(s exportops.Database) *sql.DB {
	if traced, ok := s.(*telemetry.Store); ok {
		s = traced.Database
	}
	return s.(*sqlite.Store).Writer()
}
