package cleanup_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

// slow is a store that says each deletion of log rows kept others waiting for
// long, and notes how many rows there were.
type slow struct {
	*sqlite.Store
	sizes []int
}

func (s *slow) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (exportops.LogDeletion, error) {
	d, err := s.Store.DeleteLogRows(ctx, c, rows, progress)
	if len(rows) > 0 {
		s.sizes = append(s.sizes, len(rows))
	}
	d.Took = time.Second
	return d, err
}

// TestSlowDeletionsGetSmaller also where most rows of every page stay, so that
// none of them is a full batch.
func TestSlowDeletionsGetSmaller(t *testing.T) {
	w := newWorld(t)
	const pages, page, going = 4, 1000, 300
	rows := make([]row, pages*page)
	for i := range rows {
		rows[i] = row{ExportID: id(i + 1), Status: exportops.Queued, Timestamp: w.Ago(40 * day)}
		if i%page < going {
			rows[i].Status = exportops.Failed
		}
	}
	w.Insert(rows...)
	s := &slow{Store: w.Store}
	a, err := w.Runner(func(o *jobs.Options) { o.Store = s }).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
	w.Must(err)
	want(t, "deleted", a.Result.Logs.DeletedCount, int64(pages*going))
	if last := s.sizes[len(s.sizes)-1]; last > going/4 {
		t.Errorf("batches of %v rows: they do not get smaller", s.sizes)
	}
}
