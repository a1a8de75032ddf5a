package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/scheduler"
	"github.com/exportops/exportops/sqlite"
)

// The schedules an installation has by default.
var daily = map[exportops.Job]string{
	exportops.MetricsAggregate: "0 * * * *",
	exportops.FileCleanup:      "0 2 * * *",
	exportops.LogCleanup:       "0 3 1 * *",
}

// world is a database file and a folder, for any number of processes.
type world struct {
	t    *testing.T
	path string
	root string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, path: filepath.Join(dir, "exportops.db"), root: filepath.Join(dir, "exports")}
	if err := os.Mkdir(w.root, 0o750); err != nil {
		t.Fatal(err)
	}
	p := w.process()
	if err := p.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := scheduler.Migrate(t.Context(), scheduler.SQLite(p.store.Writer()), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	p.close()
	return w
}

// process is what one process has: a store of its own on the common file.
type process struct {
	*world
	store *sqlite.Store
	files *slowFiles
	jobs  *jobs.Runner
	kept  exportops.RunStore // where the scheduler keeps its slots
	log   *logBuffer
	sched *scheduler.Scheduler
}

func (w *world) process() *process {
	w.t.Helper()
	store, err := sqlite.Open(w.t.Context(), sqlite.Options{Path: w.path, Create: true})
	if err != nil {
		w.t.Fatal(err)
	}
	// No power fails here, and waiting for the disk is most of the time.
	if _, err := store.Writer().ExecContext(w.t.Context(), "PRAGMA synchronous = OFF"); err != nil {
		w.t.Fatal(err)
	}
	files, err := disk.Open(w.root)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{world: w, store: store, files: &slowFiles{FileStore: files, close: files.Close}, kept: store, log: &logBuffer{}}
	p.jobs = newRunner(store, p.files, w.root, fmt.Sprintf("test/%p", store))
	return p
}

func newRunner(store *sqlite.Store, files exportops.FileStore, root, holder string) *jobs.Runner {
	now := func() exportops.Time { return exportops.At(time.Now()) }
	return jobs.New(jobs.Options{
		Store: store, Files: files, Locator: exportops.Locator{Bucket: "exports", Root: root},
		Metrics: metrics.New(store, metrics.Options{Events: exportops.NoEvents{}, Now: now}), Events: exportops.NoEvents{}, Now: time.Now,
		LogRetention: 30 * 24 * time.Hour, Holder: holder,
	})
}

// start begins to schedule; the expressions are cron's.
func (p *process) start(expressions map[exportops.Job]string) {
	p.t.Helper()
	schedules := map[exportops.Job]scheduler.Schedule{}
	for job, expression := range expressions {
		parsed, err := cron.ParseStandard(expression)
		if err != nil {
			p.t.Fatal(err)
		}
		schedules[job] = scheduler.Schedule{
			Expression: expression, Next: func(after time.Time) time.Time { return parsed.Next(after.UTC()) },
		}
	}
	sched, err := scheduler.Start(p.t.Context(), scheduler.Options{
		DB: scheduler.SQLite(p.store.Writer()), Runs: p.kept, Jobs: p.jobs, Schedules: schedules, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(p.log, nil)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.sched = sched
}

// stop ends the process as an operator would.
func (p *process) stop() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), 25*time.Second)
	defer cancel()
	if err := p.sched.Stop(ctx); err != nil {
		p.t.Errorf("stop: %v", err)
	}
	p.close()
}

func (p *process) close() {
	if err := p.store.Close(); err != nil {
		p.t.Error(err)
	}
	if err := p.files.close(); err != nil {
		p.t.Error(err)
	}
}

// expired puts n files that are due into the folder, and their rows into the
// application's table.
func (p *process) expired(n int) {
	p.t.Helper()
	past := exportops.At(time.Now().Add(-48 * time.Hour))
	for i := range n {
		name := fmt.Sprintf("%s.csv", exportops.NewID())
		file := filepath.Join(p.root, name)
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			p.t.Fatal(err)
		}
		// One that was written at the moment of its claim would be taken for a newer file.
		if err := os.Chtimes(file, past.Time, past.Time); err != nil {
			p.t.Fatal(err)
		}
		_, err := p.store.Writer().ExecContext(p.t.Context(), `INSERT INTO export_logs
			(export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url, expires_at, created_at, updated_at)
			VALUES (?, ?, ?, 'csv', '{}', 1, 1, 'completed', ?, ?, ?, ?)`,
			exportops.NewID(), exportops.NewID(), past.String(), name,
			exportops.At(past.Add(time.Hour+time.Duration(i)*time.Second)).String(), past.String(), past.String())
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// runs returns the runs of a job, oldest first.
func (p *process) runs(job exportops.Job) []exportops.Run {
	p.t.Helper()
	var all []exportops.Run
	for cursor := ""; ; {
		page, next, err := p.store.Runs(p.t.Context(), exportops.RunFilter{Job: job, Limit: exportops.MaxPage, Cursor: cursor})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, r := range page {
			all = append([]exportops.Run{r}, all...)
		}
		if cursor = next; cursor == "" {
			return all
		}
	}
}

// slots describes the runs of a job: slot, state and trigger of each.
func (p *process) slots(job exportops.Job) []string {
	p.t.Helper()
	var all []string
	for _, r := range p.runs(job) {
		slot := "--:--"
		if r.Slot != nil {
			slot = r.Slot.Format("15:04")
		}
		all = append(all, fmt.Sprintf("%s %s %s", slot, r.State, r.Trigger))
	}
	return all
}

// slowFiles is storage that takes its time over each file.
type slowFiles struct {
	exportops.FileStore
	delay time.Duration
	close func() error
}

func (f *slowFiles) MaxBatch() int {
	if f.delay > 0 {
		return 1
	}
	return f.FileStore.MaxBatch()
}

func (f *slowFiles) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	time.Sleep(f.delay)
	return f.FileStore.Delete(ctx, refs)
}

// logBuffer collects what was logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) lines(containing string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, containing) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
