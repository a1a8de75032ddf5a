package jobs_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

const (
	day   = testworld.Day
	never = testworld.Never
)

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

// oldRows inserts n failed exports that are older than any retention.
func oldRows(w *testworld.World, n int) {
	w.Helper()
	for i := 1; i <= n; i++ {
		w.Insert(row{ExportID: id(1000 + i), Status: exportops.Failed, Timestamp: w.Ago(40 * day)})
	}
}

func filesBy(t exportops.Trigger) jobs.Request {
	return jobs.Request{Job: exportops.FileCleanup, Trigger: t}
}

func run(t testing.TB, r *jobs.Runner, req jobs.Request) jobs.Answer {
	t.Helper()
	a, err := r.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func want[T any](t testing.TB, what string, got, want T, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func wantKind(t testing.TB, err error, k exportops.Kind) {
	t.Helper()
	if !exportops.IsKind(err, k) {
		t.Fatalf("error is %v, want %s", err, k)
	}
}

// answer is what Run returned.
type answer struct {
	jobs.Answer
	err error
}

// blocked starts a run that stops before it deletes anything. It returns where
// its answer will come, and what lets it go on.
func blocked(t testing.TB, w *testworld.World, r *jobs.Runner, req jobs.Request, claims int64) (<-chan answer, func()) {
	t.Helper()
	there, goOn := make(chan struct{}), make(chan struct{})
	first := true
	w.Files.Before = func([]string) error {
		if first {
			first = false
			close(there)
			<-goOn
		}
		return nil
	}
	out := make(chan answer, 1)
	ctx := t.Context()
	go func() {
		a, err := r.Run(ctx, req)
		out <- answer{a, err}
	}()
	select {
	case <-there:
	case a := <-out:
		t.Fatalf("the run ended before it deleted anything: %+v", a)
	}
	w.AwaitClaims(claims)
	return out, func() { close(goOn) }
}
