// Package testworld is a small world for tests of what cleans up: a real
// database, a real folder of files, a clock that stands still until it is told
// otherwise, and storage that fails when asked to.
package testworld

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
)

// TB is what a world needs of a test; *rapid.T offers it, too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
	Cleanup(func())
}

// Noon is when the clock of a new world stands.
var Noon = time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)

// World is one installation. Its files lie below Folder.
type World struct {
	TB
	Dir     string
	Folder  string
	Store   *sqlite.Store
	Files   *Files
	Clock   *Clock
	Locator exportops.Locator
	Events  *Events
}

// New makes an empty world in dir, or opens the one that is there.
func New(t TB, dir string) *World {
	t.Helper()
	w := &World{
		TB: t, Dir: dir, Folder: filepath.Join(dir, "exports"), Clock: &Clock{now: Noon}, Events: &Events{},
	}
	if err := os.MkdirAll(w.Folder, 0o755); err != nil { //nolint:gosec // as an application would make it
		t.Fatalf("make the folder: %v", err)
	}
	w.Store = w.OpenStore()
	w.Must(w.Store.Migrate(t.Context()))
	w.Reopen()
	w.Locator = exportops.Locator{
		Root: filepath.ToSlash(w.Folder), Hosts: []string{"files.example.com"},
	}
	return w
}

// OpenStore opens the world's database once more, as another process would.
func (w *World) OpenStore() *sqlite.Store {
	w.Helper()
	s, err := sqlite.Open(w.Context(), sqlite.Options{Path: filepath.Join(w.Dir, "exportops.db"), Create: true})
	w.Must(err)
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Fatalf("close the database: %v", err)
		}
	})
	return s
}

// Reopen opens the folder anew, as a process does that starts.
func (w *World) Reopen() {
	w.Helper()
	store, err := disk.Open(w.Folder)
	w.Must(err)
	w.Cleanup(func() {
		if err := store.Close(); err != nil {
			w.Fatalf("close the folder: %v", err)
		}
	})
	w.Files = &Files{FileStore: store}
}

// Runner returns a runner on the world, with what change makes different.
func (w *World) Runner(change ...func(*jobs.Options)) *jobs.Runner {
	o := jobs.Options{
		Store: w.Store, Files: w.Files, Locator: w.Locator, Events: w.Events, Now: w.Clock.Now,
		Metrics: w.Metrics(), LogRetention: exportops.DefaultLogRetention, Database: w.Store.Name(), Holder: "test",
	}
	for _, c := range change {
		c(&o)
	}
	return jobs.New(o)
}

// Metrics returns the metrics of the world.
func (w *World) Metrics() *metrics.Service {
	return metrics.New(w.Store, metrics.Options{Events: w.Events, Now: w.Clock.At})
}

// Must fails the test on an error.
func (w *World) Must(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("%v", err)
	}
}

// Write writes a file as if it had been written a day ago.
func (w *World) Write(key, content string) {
	w.Helper()
	w.WriteAt(key, content, w.Clock.Now().Add(-24*time.Hour))
}

// WriteAt writes a file, or writes it again, at a given time.
func (w *World) WriteAt(key, content string, at time.Time) {
	w.Helper()
	name := filepath.Join(w.Folder, filepath.FromSlash(key))
	err := os.WriteFile(name, []byte(content), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		w.Must(os.MkdirAll(filepath.Dir(name), 0o755)) //nolint:gosec // as an application would make it
		err = os.WriteFile(name, []byte(content), 0o644)
	}
	w.Must(err)
	w.Must(os.Chtimes(name, at, at))
}

// Keys lists the files there are, in order.
func (w *World) Keys() []string {
	w.Helper()
	keys := []string{}
	w.Must(filepath.WalkDir(w.Folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			keys = append(keys, filepath.ToSlash(strings.TrimPrefix(path, w.Folder+string(filepath.Separator))))
		}
		return err
	}))
	return keys
}

// Clock stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// At returns the time as the domain has it.
func (c *Clock) At() exportops.Time { return exportops.At(c.Now()) }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Events keeps what was emitted.
type Events struct {
	mu   sync.Mutex
	list []Event
}

// Event is one event.
type Event struct {
	Type  exportops.EventType
	Value any
}

// Emit implements exportops.Events.
func (e *Events) Emit(t exportops.EventType, v any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, Event{t, v})
}

// Of returns the values of one type, in order.
func (e *Events) Of(t exportops.EventType) []any {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []any
	for _, ev := range e.list {
		if ev.Type == t {
			out = append(out, ev.Value)
		}
	}
	return out
}

// Len returns how many events there were.
func (e *Events) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.list)
}
