package cleanup_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// A user of whom there are metrics alone, which no aggregation has counted yet, is
// erased all the same.
func TestMetricsWithoutARowAreErased(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	took := int64(9)
	for _, ago := range []time.Duration{90 * time.Minute, 0} {
		receipts, err := w.Metrics().Record(t.Context(), []exportops.Metric{{
			ExportID: exportops.NewID(), UserID: testworld.User, Format: exportops.CSV, Status: exportops.Failed, ConversationCount: 5, DurationMS: &took,
			Timestamp: exportops.At(w.Clock.Now().Add(-ago)),
		}})
		w.Must(err)
		w.Must(receipts[0].Err)
	}
	a, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: testworld.User})
	w.Must(err)
	if e := a.Result.Erased; e.Receipt == nil || e.Left != 0 || e.LoneMetrics != 2 {
		t.Errorf("receipt %v, %d are left, %d metrics deleted: %s", e.Receipt, e.Left, e.LoneMetrics, a.Failure)
	}
}
