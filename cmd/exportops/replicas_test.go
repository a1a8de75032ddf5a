package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// site is a database that several processes share.
type site struct {
	testing.TB
	db  *pgx.Conn
	env []string
	dir string
}

const siteSecret = "a-secret-of-the-replicas"

// newSite makes an empty database on the test server, with its schema and the
// table of export logs, and a folder for the files.
func newSite(t testing.TB, settings ...string) *site {
	t.Helper()
	server := os.Getenv("EXPORTOPS_TEST_POSTGRES")
	if server == "" {
		t.Skip("EXPORTOPS_TEST_POSTGRES names no server")
	}
	ctx := context.Background() // the database is dropped after the test's context has ended
	admin, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(ctx) })
	name := "exportops_" + strings.ReplaceAll(exportops.NewID(), "-", "")
	if _, err := admin.Exec(ctx, `CREATE DATABASE `+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	s := &site{TB: t, dir: t.TempDir()}
	if s.db, err = pgx.Connect(ctx, u.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close(ctx) })
	s.env = append(os.Environ(), append([]string{
		"DATABASE_URL=" + u.String(), "EXPORT_STORAGE_URL=file://" + s.dir, "CRON_SECRET=" + siteSecret,
		"EXPORTOPS_SCHEDULER=off",
	}, settings...)...)
	s.command("migrate", "--create-export-logs")
	return s
}

// command runs the program to its end.
func (s *site) command(args ...string) string {
	s.Helper()
	c := exec.Command("exportops", args...)
	c.Dir, c.Env = s.dir, s.env
	out, err := c.CombinedOutput()
	if err != nil {
		s.Fatalf("exportops %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *site) exec(query string, args ...any) {
	s.Helper()
	if _, err := s.db.Exec(s.Context(), query, args...); err != nil {
		s.Fatal(err)
	}
}

func (s *site) count(query string, args ...any) (n int) {
	s.Helper()
	if err := s.db.QueryRow(s.Context(), query, args...).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

// until waits for a query to count n.
func (s *site) until(within time.Duration, n int, query string, args ...any) {
	s.Helper()
	for end := time.Now().Add(within); s.count(query, args...) != n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("%s is %d after %s, and not %d", query, s.count(query, args...), within, n)
		}
	}
}

// expired inserts n exports that have expired; their keys begin with prefix.
func (s *site) expired(n int, prefix string) {
	s.Helper()
	s.exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, file_url, file_size, expires_at, created_at)
		SELECT gen_random_uuid(), md5(i::text)::uuid, now() - interval '3 days', 'json', '{}', 1, 'completed', $2::text || i, 1,
			now() - interval '1 day' + i * interval '1 ms', now() - interval '3 days' FROM generate_series(1, $1::int) i`, n, prefix)
}

// replica is one process that serves.
type replica struct {
	*site
	base string
	cmd  *exec.Cmd
	log  *logged
}

type logged struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (s *site) serve(settings ...string) *replica {
	s.Helper()
	addr, err := freeAddress()
	if err != nil {
		s.Fatal(err)
	}
	r := &replica{site: s, base: "http://" + addr, cmd: exec.Command("exportops", "serve"), log: &logged{}}
	r.cmd.Dir, r.cmd.Env = s.dir, append(append([]string{}, s.env...), append(settings, "EXPORTOPS_ADDR="+addr)...)
	r.cmd.Stdout, r.cmd.Stderr = r.log, r.log
	if err := r.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		if s.Failed() {
			s.Logf("%s said:\n%s", r.base, r.log)
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get(r.base + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return r
			}
		}
		if time.Now().After(end) {
			s.Fatal("it is not ready after 30 seconds")
		}
	}
}

// cleanupContext is one for what happens after a test's own has ended.
func cleanupContext() context.Context { return context.Background() }

// called is the answer of a cron endpoint.
type called struct {
	status int
	RunID  string                       `json:"run_id"`
	Result *exportops.FileCleanupResult `json:"result"`
	Error  string                       `json:"error"`
}

func (r *replica) call(job, key string) (c called, err error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.base+"/api/cron/export-"+job, nil)
	if err != nil {
		return c, err
	}
	req.Header.Set("Authorization", "Bearer "+siteSecret)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if c.status = resp.StatusCode; c.Result != nil {
		c.RunID = c.Result.RunID
	}
	return c, err
}

// TestProductionGuide runs the commands of docs/production.md as they are printed.
func TestProductionGuide(t *testing.T) {
	s := newSite(t)
	program, err := exec.LookPath("exportops") // this very program, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(s.dir, "bin", "exportops")); err != nil {
		t.Fatal(err)
	}
	commands := blocks(t, "../../docs/production.md", "sh")
	if len(commands) != 1 {
		t.Fatalf("the guide has %d blocks of commands; this test knows one", len(commands))
	}
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands[0])
	c.Dir, c.Env = s.dir, s.env
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`CREATE ROLE "exportops_runner"`, "✅ Passed: 7\n❌ Failed: 0"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands did not say %q:\n%s", want, out)
		}
	}
}

// TestFiftyTriggersAreOneRun sends them to three processes at once, while nothing
// can be claimed.
func TestFiftyTriggersAreOneRun(t *testing.T) {
	s := newSite(t, "EXPORTOPS_DB_LOCK_TIMEOUT=1m")
	const files, triggers = 200, 50
	s.expired(files, "f")
	for i := range files {
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprint("f", i+1)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replicas := []*replica{s.serve(), s.serve(), s.serve()}
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE exportops.deletions IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		called
		err error
	}
	answers := make(chan answer, triggers)
	for i := range triggers {
		go func() {
			c, err := replicas[i%len(replicas)].call("file-cleanup", fmt.Sprint("trigger ", i))
			answers <- answer{c, err}
		}()
	}
	s.until(30*time.Second, triggers, `SELECT count(*) FROM exportops.run_keys`)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	runs := map[string]int{}
	for range triggers {
		a := <-answers
		if a.err != nil || a.status != http.StatusOK || a.Result.DeletedCount != files {
			t.Errorf("answer %+v, %v", a.called, a.err)
		}
		runs[a.RunID]++
	}
	if len(runs) != 1 || s.count(`SELECT count(*) FROM exportops.runs WHERE job = 'file-cleanup'`) != 1 {
		t.Errorf("the answers name the runs %v", runs)
	}
	if left, err := os.ReadDir(s.dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	if n := s.count(`SELECT count(*) FROM export_logs WHERE status = 'expired'`); n != files {
		t.Errorf("%d of %d rows expired", n, files)
	}
}
