package cleanup_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// comparing dies when a reconciliation has done what it does not meet again.
type comparing struct {
	jobs.Store
	in string
}

func (s comparing) die(call string, err error) {
	if err == nil && call == s.in {
		panic(errCrash)
	}
}

func (s comparing) RecordUnknown(ctx context.Context, c exportops.Checkpoint, files []exportops.UnknownFile) error {
	err := s.Store.RecordUnknown(ctx, c, files)
	if slices.ContainsFunc(files, func(u exportops.UnknownFile) bool { return u.State == exportops.UnknownGone }) {
		s.die("RecordUnknown", err)
	}
	return err
}

func (s comparing) ForgetMissing(ctx context.Context, c exportops.Checkpoint, exportIDs []string) error {
	err := s.Store.ForgetMissing(ctx, c, exportIDs)
	if len(exportIDs) > 0 {
		s.die("ForgetMissing", err)
	}
	return err
}

func (s comparing) FailStuck(ctx context.Context, c exportops.Checkpoint, rows []exportops.StuckExport, reason string,
	progress func([]bool) (json.RawMessage, error),
) ([]bool, error) {
	failed, err := s.Store.FailStuck(ctx, c, rows, reason, progress)
	s.die("FailStuck", err)
	return failed, err
}

func TestWhatAReconciliationDidBeforeACrashIsCounted(t *testing.T) {
	for _, call := range []string{"FailStuck", "RecordUnknown", "ForgetMissing", ""} {
		t.Run("after_"+call, func(t *testing.T) {
			w := newWorld(t)
			w.Write("gone", "x")
			w.Write("adopted", "x")
			w.Insert(row{ExportID: id(1), URL: "back", Expires: never}, row{ExportID: id(2), Status: exportops.Processing, Expires: never})
			reconcile(t, w, func(r *jobs.Request) { r.StuckAfter = 1000 * day })
			w.Must(os.Remove(filepath.Join(w.Folder, "gone")))
			w.Insert(row{ExportID: id(3), URL: "adopted", Expires: never})
			w.Write("back", "x")
			w.Clock.Advance(time.Hour)
			if call != "" {
				r := w.Runner(func(o *jobs.Options) { o.Store = comparing{o.Store, call} })
				if a, err := runOrDie(t, r, byHand); a.Result.Recon != nil || err != nil {
					t.Fatalf("it did not die: %+v, %v", a, err)
				}
				w.Clock.Advance(time.Minute)
			}
			r := reconcile(t, w)
			want(t, "stuck, gone, adopted, found again", [4]int64{r.StuckFailed, r.Gone, r.Adopted, r.MissingCleared}, [4]int64{1, 1, 1, 1})
			want(t, "stuck", r.Stuck, []string{id(2)})
			want(t, "files", [2]int64{r.FilesSeen, r.FilesKnown}, [2]int64{2, 2})
		})
	}
}
