//go:build linux && (amd64 || arm64)

package killsweep_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/killsweep"
)

// world is one installation of the program: a database, storage for the files of
// exports, storage for archives, and a folder in which the program runs.
type world struct {
	backend
	dir     string
	exports store
	cold    store
	now     time.Time // that rows are older than, the same in all worlds
	archive bool
	err     error // of the last reset
}

// store is where files are.
type store interface {
	put(key string, content []byte) error
	remove(key string) error
	all() (map[string][]byte, error)
}

// backend is what worlds differ in.
type backend interface {
	fresh() error // makes it empty
	keep() error  // remembers it as it is
	reset() error // makes it again what was kept
	// settled waits until files that were written are old enough to be told from
	// ones written after a claim.
	settled()
	// quiet waits until nothing goes on that a program had begun that was killed.
	quiet(ctx context.Context, db *sql.DB) error
	settings() []string
	archiveURL() string
	connect() (*sql.DB, error)
	database(ctx context.Context) (exportops.Database, error)
	own(table string) string // the name of a table of ours
	tables() string          // the query that lists our tables
	marks(n int) string      // n places of values in a statement
	mask(text string) string // the same text in all worlds
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := w.connect()
	must(t, err)
	return db
}

func (w *world) ready() { w.settled() }

func (w *world) environ() []string {
	env := append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir, "CRON_SECRET=a-secret-of-the-sweep", "EXPORT_LOG_RETENTION=10d",
	}, w.settings()...)
	if w.archive {
		env = append(env, "EXPORT_ARCHIVE_URL="+w.archiveURL())
	}
	return env
}

// result is how a command ended.
type result struct {
	status   int
	out, err string
}

// try runs the program to its end, which may be a failure.
func (w *world) try(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir, c.Env = w.dir, w.environ()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("exportops %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// command runs the program, which must succeed.
func (w *world) command(t *testing.T, args ...string) string {
	t.Helper()
	r := w.try(t, args...)
	if r.status != 0 {
		t.Fatalf("exportops %s: status %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
	}
	return r.out
}

func (w *world) file(name string) string {
	return filepath.Join(filepath.Dir(w.dir), filepath.Base(w.dir)+"."+name)
}

// traced runs a job and kills it at its n-th point.
func (w *world) traced(t *testing.T, j job, n int) killsweep.Outcome {
	t.Helper()
	out, err := os.Create(w.file("out"))
	must(t, err)
	defer out.Close()
	errs, err := os.Create(w.file("err"))
	must(t, err)
	defer errs.Close()
	o, err := killsweep.Command{Path: program, Args: j.args, Env: w.environ(), Dir: w.dir, Out: out, Err: errs}.Run(n)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this process may not trace another one: it takes CAP_SYS_PTRACE, or a seccomp profile that allows ptrace")
	}
	must(t, err)
	if o.At != "" && o.Status != 128+9 || o.At == "" && o.Status >= 128 {
		t.Fatalf("%s ended with %d at point %d, %q:\n%s", j.name, o.Status, n, o.At, w.told(t))
	}
	return o
}

// answer is what the job that was traced said.
func (w *world) answer(t *testing.T) string { return w.read(t, "out") }

// told is what the last job told beside its answer.
func (w *world) told(t *testing.T) string { return w.read(t, "err") }

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(w.file(name))
	must(t, err)
	return string(b)
}

// release lets the lease of a dead run be over, as it is after 20 seconds.
func (w *world) release(t *testing.T) {
	t.Helper()
	db := w.open(t)
	defer db.Close()
	must(t, w.quiet(t.Context(), db))
	if !w.has(t, db, "runs") {
		return
	}
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(
		`UPDATE %s SET lease_until = '2020-01-01T00:00:00.000Z' WHERE state = 'running'`, w.own("runs")))
	must(t, err)
}

func (w *world) has(t *testing.T, db *sql.DB, table string) bool {
	t.Helper()
	for _, name := range w.names(t, db) {
		if name == w.own(table) {
			return true
		}
	}
	return false
}

func (w *world) names(t *testing.T, db *sql.DB) (names []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), w.tables())
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		names = append(names, name)
	}
	must(t, rows.Err())
	return names
}

// again runs the job once more, undisturbed, and looks at what is left.
func (w *world) again(t *testing.T, j job) left {
	t.Helper()
	r := w.try(t, j.args...)
	must(t, os.WriteFile(w.file("err"), []byte(r.err), 0o600))
	return w.look(t, j, r.status, r.out)
}
