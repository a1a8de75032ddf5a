package jobs_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// order is what a child process is to do.
type order struct {
	Dir      string // of its world
	Minutes  int    // its clock is that much later
	Jobs     []exportops.Job
	DieAfter int  // files: it kills itself then; 0 for never
	Archive  bool // log rows are archived before they are deleted
	Force    bool
	// DieWalked is how many files it walks through before it kills itself.
	DieWalked int
}

// report is what a child process did.
type report struct {
	Answers []jobs.Answer
	PeakKB  int // of its memory
	Took    time.Duration
}

const orderVariable = "EXPORTOPS_TEST_ORDER"

// TestMain makes a child process of the test binary when it is given an order.
func TestMain(m *testing.M) {
	if text := os.Getenv(orderVariable); text != "" {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(err)
		}
		obey(o)
		return
	}
	os.Exit(m.Run())
}

// obey runs the jobs of an order one after the other.
func obey(o order) {
	p := &process{}
	defer p.end()
	w := testworld.New(p, o.Dir)
	w.Clock.Advance(time.Duration(o.Minutes) * time.Minute)
	left := o.DieAfter
	w.Files.Change = func(keys []string, _ []exportops.FileResult) error {
		if left -= len(keys); o.DieAfter > 0 && left <= 0 {
			w.Must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
			select {} // it comes at once
		}
		return nil
	}
	if o.DieWalked > 0 {
		w.Files.FileStore = &dyingWalk{FileStore: w.Files.FileStore, left: o.DieWalked}
	}
	say("ready")
	var done report
	began := time.Now()
	for _, job := range o.Jobs {
		var change []func(*jobs.Options)
		if o.Archive {
			change = append(change, w.Archiving(w.Objects()))
		}
		a, err := w.Runner(change...).Run(p.Context(), jobs.Request{Job: job, Trigger: exportops.ByCron, Force: o.Force})
		w.Must(err)
		done.Answers = append(done.Answers, a)
	}
	done.PeakKB, done.Took = peakKB(), time.Since(began)
	b, err := json.Marshal(done)
	w.Must(err)
	say(string(b))
}

func say(line string) {
	if _, err := fmt.Fprintln(os.Stdout, line); err != nil {
		panic(err)
	}
}

// process stands for a test in a child.
type process struct{ cleanups []func() }

func (p *process) Helper()                  {}
func (p *process) Context() context.Context { return context.Background() }
func (p *process) Cleanup(f func())         { p.cleanups = append(p.cleanups, f) }
func (p *process) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n%s", append(args, debug.Stack())...)
	os.Exit(1)
}

func (p *process) end() {
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		p.cleanups[i]()
	}
}

// peakKB is the most memory this process had at any time, 0 where the system
// does not say.
func peakKB() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")))
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// child starts a process that obeys, and kills it after a while, 0 for never.
// It reports whether the process came to its end.
func child(t testing.TB, o order, killAfter time.Duration) (report, bool) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	if !lines.Scan() {
		t.Fatalf("the process did not start: %v %s", cmd.Wait(), &stderr)
	}
	if killAfter > 0 {
		killer := time.AfterFunc(killAfter, func() {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		})
		defer killer.Stop()
	}
	var done report
	ended := lines.Scan() && json.Unmarshal(lines.Bytes(), &done) == nil
	err = cmd.Wait()
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.ExitCode() == -1
	if err != nil && !killed {
		t.Fatalf("the process failed: %v\n%s", err, &stderr)
	}
	return done, ended
}
