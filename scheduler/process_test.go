package scheduler_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/scheduler"
	"github.com/exportops/exportops/sqlite"
)

// TestMain makes the test program a process of its own where it is told to be
// one, and otherwise sees to it that no goroutine outlives the tests.
func TestMain(m *testing.M) {
	roles := map[string]func(string, string) error{"migrate": migrateProcess, "schedule": scheduleProcess}
	role, ok := roles[os.Getenv("EXPORTOPS_TEST_ROLE")]
	if !ok {
		goleak.VerifyTestMain(m)
		return
	}
	if err := role(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// waitForWord says that the process is ready, and waits for the parent.
func waitForWord() error {
	fmt.Println("ready")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

func migrateProcess(path, _ string) (err error) {
	if err := waitForWord(); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Create: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	return scheduler.Migrate(ctx, scheduler.SQLite(s.Writer()), slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// everySecond is a schedule that a test can wait for.
var everySecond = map[exportops.Job]scheduler.Schedule{
	exportops.FileCleanup:      {Expression: "every second", Next: nextSecond},
	exportops.MetricsAggregate: {Expression: "every second", Next: nextSecond},
}

func nextSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second).Add(time.Second) }

func scheduleProcess(path, root string) (err error) {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, sqlite.Options{Path: path})
	if err != nil {
		return err
	}
	files, err := disk.Open(root)
	if err != nil {
		return err
	}
	sched, err := scheduler.Start(ctx, scheduler.Options{
		DB: scheduler.SQLite(store.Writer()), Runs: store, Schedules: everySecond, Now: time.Now,
		Jobs: newRunner(store, &slowFiles{FileStore: files, delay: 100 * time.Millisecond}, root, fmt.Sprint(os.Getpid())),
		Log:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	err = waitForWord()
	return errors.Join(err, sched.Stop(ctx), store.Close(), files.Close())
}

// child is a process that was told its role.
type child struct {
	*exec.Cmd
	t      *testing.T
	word   io.WriteCloser
	stderr logBuffer
}

func (w *world) child(role string) *child {
	w.t.Helper()
	c := &child{Cmd: exec.CommandContext(w.t.Context(), os.Args[0], w.path, w.root), t: w.t}
	c.Env = append(os.Environ(), "EXPORTOPS_TEST_ROLE="+role)
	c.Stderr = &c.stderr
	out, err := c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if c.word, err = c.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		w.t.Fatalf("%q, %v: %q", line, err, c.stderr.lines(""))
	}
	return c
}

func (c *child) tell() {
	c.t.Helper()
	if _, err := io.WriteString(c.word, "go\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) ends() {
	c.t.Helper()
	if err := c.Wait(); err != nil {
		c.t.Errorf("%v: %s", err, strings.Join(c.stderr.lines(""), "\n"))
	}
}

func TestProcessesMigrateAtOnce(t *testing.T) {
	for round := range 5 {
		w := &world{t: t, path: filepath.Join(t.TempDir(), "exportops.db")}
		var all []*child
		for range 4 {
			all = append(all, w.child("migrate"))
		}
		for _, c := range all {
			c.tell()
		}
		for _, c := range all {
			c.ends()
		}
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: w.path})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		var version, tables int
		err = s.Writer().QueryRowContext(t.Context(), `SELECT max(version), (SELECT count(*) FROM sqlite_schema
			WHERE name IN ('river_job', 'river_leader', 'river_queue')) FROM river_migration`).Scan(&version, &tables)
		if err != nil || version < 6 || tables != 3 {
			t.Errorf("round %d: version %d, %d tables, %v", round, version, tables, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAKilledProcessIsReplaced has two processes share a database, and kills the
// one that is in the middle of a run.
func TestAKilledProcessIsReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("a lease has to run out on the clock of two processes")
	}
	w := newWorld(t)
	p := w.process()
	defer p.close()
	first, second := w.child("schedule"), w.child("schedule")
	wait(t, 20*time.Second, "runs of both jobs", func() bool {
		return len(p.runs(exportops.FileCleanup)) > 3 && len(p.runs(exportops.MetricsAggregate)) > 3
	})
	p.expired(60) // six seconds
	var interrupted exportops.Run
	wait(t, 20*time.Second, "a run that has deleted something", func() bool {
		runs := p.runs(exportops.FileCleanup)
		interrupted = runs[len(runs)-1]
		return interrupted.State == exportops.RunRunning && strings.Contains(string(interrupted.Result), `"deleted_count":`)
	})
	victim, other := first, second
	if interrupted.Holder == fmt.Sprint(second.Process.Pid) {
		victim, other = second, first
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	if err := victim.Wait(); err == nil {
		t.Error("the process ended well")
	}
	wait(t, within+5*time.Second, "the run to be taken over", func() bool {
		r, err := p.store.Run(t.Context(), interrupted.ID)
		return err == nil && r.Takeovers == 1
	})
	if took := time.Since(killed); took > within {
		t.Errorf("it took %s to take the run over", took)
	} else {
		t.Logf("it took %s to take the run over", took)
	}
	var end exportops.Run
	wait(t, 20*time.Second, "the run to end", func() (ended bool) {
		r, err := p.store.Run(t.Context(), interrupted.ID)
		end = r
		return err == nil && r.Finished()
	})
	if end.State != exportops.RunDone {
		t.Errorf("the run is %s: %s", end.State, end.Error)
	}
	if left, err := os.ReadDir(w.root); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	latest := func() time.Time {
		runs := p.runs(exportops.FileCleanup)
		return runs[len(runs)-1].StartedAt.Time
	}
	wait(t, 20*time.Second, "a slot after that", func() bool { return latest().After(end.FinishedAt.Add(3 * time.Second)) })
	// How much of a minute all this took is not for the test to say.
	wait(t, 30*time.Second, "slots enough to look at", func() bool {
		return len(p.runs(exportops.FileCleanup)) > 30 && len(p.runs(exportops.MetricsAggregate)) > 30
	})
	other.tell()
	other.ends()
	for _, job := range []exportops.Job{exportops.FileCleanup, exportops.MetricsAggregate} {
		wantOneAfterTheOther(t, p, job, time.Second, 30)
	}
}

// wait polls a condition that other processes bring about.
func wait(t *testing.T, most time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); time.Now().Before(end); <-tick.C {
		if cond() {
			return
		}
	}
	t.Fatalf("waited %s in vain for %s", most, what)
}
