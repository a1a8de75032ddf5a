package testworld

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// Files is the world's folder with a hand on it: each field, where set, steps
// in.
type Files struct {
	exportops.FileStore

	// Before is called before a batch is deleted. Its error is the batch's.
	Before func(keys []string) error
	// Change is told what became of a batch and may say otherwise.
	Change func(keys []string, results []exportops.FileResult) error
	// Fail lists keys whose files storage will not delete.
	Fail map[string]error
	// Checked is called before the root is checked.
	Checked func()
	// Batch is how many files one call takes, where it is not the folder's own
	// number.
	Batch int
}

// Ahead returns a Before that waits, call by call, until so many claims are open, and
// then does something: while storage is at work on a page, a run claims the next one.
func (w *World) Ahead(open []int64, then func()) func([]string) error {
	return func([]string) error {
		if len(open) == 0 {
			return errors.New("more pages are deleted than the test expects")
		}
		w.AwaitClaims(open[0])
		open = open[1:]
		then()
		return nil
	}
}

// AwaitClaims waits until so many claims are open.
func (w *World) AwaitClaims(n int64) {
	w.Helper()
	const most = 30 * time.Second
	for end := time.Now().Add(most); ; time.Sleep(time.Millisecond) {
		got := w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`)
		switch {
		case got == n:
			return
		case time.Now().After(end):
			w.Fatalf("%d claims are open after %s, not %d", got, most, n)
		}
	}
}

// Delete implements exportops.FileStore.
func (f *Files) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	keys := make([]string, len(refs))
	for i, r := range refs {
		keys[i] = r.Key
	}
	if f.Before != nil {
		if err := f.Before(keys); err != nil {
			return nil, err
		}
	}
	results, err := f.deleteSome(ctx, refs)
	if err == nil && f.Change != nil {
		err = f.Change(keys, results)
	}
	return results, err
}

func (f *Files) deleteSome(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	good := slices.DeleteFunc(slices.Clone(refs), func(r exportops.FileRef) bool { return f.Fail[r.Key] != nil })
	done, err := f.FileStore.Delete(ctx, good)
	if err != nil {
		return nil, err
	}
	results := make([]exportops.FileResult, len(refs))
	for i, r := range refs {
		if why := f.Fail[r.Key]; why != nil {
			results[i] = exportops.FileResult{Removal: exportops.Unproven, Err: why}
			continue
		}
		results[i], done = done[0], done[1:]
	}
	return results, nil
}

// Check implements exportops.FileStore.
func (f *Files) Check(ctx context.Context) (bool, error) {
	if f.Checked != nil {
		f.Checked()
	}
	return f.FileStore.Check(ctx)
}

// MaxBatch implements exportops.FileStore.
func (f *Files) MaxBatch() int {
	if f.Batch > 0 {
		return f.Batch
	}
	return f.FileStore.MaxBatch()
}
