package cleanup_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// walks counts how often all rows that may keep a file alive are read.
type walks struct {
	jobs.Store
	n int
}

func (w *walks) KeyRows(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error] {
	if since.IsZero() {
		w.n++
	}
	return w.Store.KeyRows(ctx, since)
}

// Every night most tables hold old rows whose files are all gone: then nothing but the
// old rows is looked at. What a dead run has claimed is dealt with all the same.
func TestALogCleanupWithoutFiles(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *testworld.World)
		walks  int
		want   string
	}{
		"all gone": {func(*testing.T, *testworld.World) {}, 0, "found 1 deleted 1"},
		"one not gone": {func(_ *testing.T, w *testworld.World) {
			w.Insert(row{ExportID: id(2), URL: "f2", Status: exportops.Expired, Timestamp: w.Ago(40 * day)})
			w.Write("f2", "content")
		}, 1, "found 2 deleted 2 files 1"},
		"one that was tried by a run that died": {func(t *testing.T, w *testworld.World) {
			w.Insert(row{ExportID: id(2), URL: "f2", Timestamp: w.Ago(40 * day), Expires: w.Ago(39 * day)})
			w.Write("f2", "content")
			diesBefore(t, w)
			w.Clock.Advance(time.Minute)
		}, 1, "found 2 deleted 2 files 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Write("live", "content")
			w.Insert(row{ExportID: id(1), URL: "f1", Timestamp: w.Ago(40 * day), Expires: w.Ago(39 * day)},
				row{ExportID: id(9), URL: "live", Expires: w.Ago(-day)})
			w.Write("f1", "content")
			want(t, "files", counts(clean(t, w)), "found 1 deleted 1 updated 1")
			aggregate(t, w)
			c.before(t, w)
			store := &walks{Store: w.Store}
			a, err := w.Runner(func(o *jobs.Options) { o.Store = store }).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
			w.Must(err)
			want(t, "result", logCounts(*a.Result.Logs), c.want)
			want(t, "walks through all rows", store.n, c.walks)
			wantKeys(t, w, "live")
		})
	}
}
