package cleanup_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

const (
	day   = testworld.Day
	never = testworld.Never
	other = "6e2f1d2f-3c4b-4d5e-9f70-8192a3b4c5d6" // another user
)

// row is an expired export with a file.
type row = testworld.Row

func id(n int) string { return testworld.ID(n) }

func newWorld(t testing.TB) *testworld.World {
	t.Helper()
	return testworld.New(t, t.TempDir())
}

// expired inserts n expired exports, from 1 on, each with a file "f<n>".
func expired(w *testworld.World, n int) {
	w.Helper()
	for i := 1; i <= n; i++ {
		w.Insert(row{ExportID: id(i), URL: fmt.Sprintf("f%d", i)})
		w.Write(fmt.Sprintf("f%d", i), "content")
	}
}

var cronCall = jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCron}

// clean runs one file cleanup, as a cron call, to its end.
func clean(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) exportops.FileCleanupResult {
	t.Helper()
	req := cronCall
	for _, c := range change {
		c(&req)
	}
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	wantSum(t, *a.Result.Files)
	return *a.Result.Files
}

func dryRun(r *jobs.Request)              { r.DryRun = true }
func byAge(hours int) func(*jobs.Request) { return func(r *jobs.Request) { r.RetentionHours = &hours } }

func wantSum(t testing.TB, r exportops.FileCleanupResult) {
	t.Helper()
	sum := r.DeletedCount + r.FailedCount + r.AlreadyAbsent + r.NoFile + r.Changed + r.Shared + r.Held + r.Implausible +
		r.Quarantined + r.InFlight + r.WouldDelete + r.Remaining
	if r.TotalFound != sum {
		t.Errorf("total_found is %d, and its parts add up to %d: %+v", r.TotalFound, sum, r)
	}
}

// counts says what a result counts, in short: what is zero is left out.
func counts(r exportops.FileCleanupResult) string {
	var b strings.Builder
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"found", r.TotalFound},
		{"deleted", r.DeletedCount},
		{"absent", r.AlreadyAbsent},
		{"no_file", r.NoFile},
		{"failed", r.FailedCount},
		{"changed", r.Changed},
		{"shared", r.Shared},
		{"held", r.Held},
		{"implausible", r.Implausible},
		{"quarantined", r.Quarantined},
		{"in_flight", r.InFlight},
		{"would", r.WouldDelete},
		{"remaining", r.Remaining},
		{"updated", r.LogsUpdated},
		{"recovered", r.Recovered},
	} {
		if c.n != 0 {
			fmt.Fprintf(&b, "%s %d ", c.name, c.n)
		}
	}
	return strings.TrimSpace(b.String())
}

func want[T any](t testing.TB, what string, got, want T, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func wantKeys(t testing.TB, w *testworld.World, keys ...string) {
	t.Helper()
	want(t, "files", w.Keys(), append([]string{}, keys...))
}

var errCrash = errors.New("the process dies here")

// diesBefore lets a run die when it is about to delete files, and diesAfter
// when it has. The clock moves on until the run counts as dead.
func diesBefore(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) {
	t.Helper()
	w.Files.Before = func([]string) error { panic(errCrash) }
	die(t, w, change...)
}

func diesAfter(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) {
	t.Helper()
	w.Files.Change = func([]string, []exportops.FileResult) error { panic(errCrash) }
	die(t, w, change...)
}

func die(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) {
	t.Helper()
	req := cronCall
	for _, c := range change {
		c(&req)
	}
	func() {
		defer func() {
			if p := recover(); p != errCrash { //nolint:errorlint // the very value
				t.Fatalf("the run did not die as planned: %v", p)
			}
		}()
		a, err := w.Runner().Run(t.Context(), req)
		t.Fatalf("the run did not die: %+v, %v", a, err)
	}()
	w.Files.Before, w.Files.Change = nil, nil
	w.Clock.Advance(time.Minute)
}
