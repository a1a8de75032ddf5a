package alerting_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

func TestObjectives(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	s := watcher(w)
	// One line an objective: its values over an hour, a day and 30 days, and the budget.
	read := func() (lines []string) {
		states, err := s.Objectives(t.Context())
		w.Must(err)
		show := func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.3f", *v)
		}
		for _, o := range states {
			line := o.Name
			for _, x := range o.Windows {
				line += fmt.Sprintf(" %s of %d,", show(x.Value), x.Sample)
			}
			lines = append(lines, line+" left "+show(o.BudgetLeft))
		}
		return lines
	}
	want := func(want ...string) {
		t.Helper()
		if d := cmp.Diff(want, read()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	cleanup := func(gone, absent, failed int) {
		t.Helper()
		result, err := json.Marshal(exportops.FileCleanupResult{DeletedCount: int64(gone), AlreadyAbsent: int64(absent), FailedCount: int64(failed)})
		w.Must(err)
		_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: string(exportops.FileCleanup), Params: []byte(`{}`), Trigger: exportops.ByCron, Holder: "test",
			Now: w.Clock.At(), Lease: time.Hour,
		})
		w.Must(err)
		cp := exportops.Checkpoint{Fence: fence, Now: w.Clock.At(), Lease: time.Hour, Progress: result}
		_, err = w.Store.FinishRun(t.Context(), cp, exportops.RunDone, "")
		w.Must(err)
	}
	want(
		"success_rate – of 0, – of 0, – of 0, left –", "average_duration – of 0, – of 0, – of 0, left –",
		"failure_rate – of 0, – of 0, – of 0, left –", "file_cleanup_success – of 0, – of 0, – of 0, left –",
	)
	exports(t, w, 98, 2, 1500)
	cleanup(90, 9, 1)
	cleanup(100, 0, 0)
	want(
		"success_rate 0.980 of 100, 0.980 of 100, 0.980 of 100, left 0.600", "average_duration 1500.000 of 98, 1500.000 of 98, 1500.000 of 98, left 0.500",
		"failure_rate 0.020 of 100, 0.020 of 100, 0.020 of 100, left 0.800", "file_cleanup_success 0.995 of 200, 0.995 of 200, 0.995 of 200, left 0.500",
	)
	w.Clock.Advance(3 * time.Hour)
	_, err := w.Metrics().Roll(t.Context(), w.Clock.At())
	w.Must(err)
	exports(t, w, 0, 10, 0)
	cleanup(0, 0, 2)
	w.Must(w.Store.RecordSlots(t.Context(), exportops.FileCleanup, []exportops.Time{w.Clock.At()}, exportops.RunMissed, w.Clock.At()))
	want(
		"success_rate 0.000 of 10, 0.891 of 110, 0.891 of 110, left -1.182", "average_duration – of 0, 1500.000 of 98, 1500.000 of 98, left 0.500",
		"failure_rate 1.000 of 10, 0.109 of 110, 0.109 of 110, left -0.091", "file_cleanup_success 0.000 of 2, 0.985 of 202, 0.985 of 202, left -0.485",
	)
	w.Clock.Advance(25 * time.Hour)
	want(
		"success_rate – of 0, – of 0, 0.891 of 110, left -1.182", "average_duration – of 0, – of 0, 1500.000 of 98, left 0.500",
		"failure_rate – of 0, – of 0, 0.109 of 110, left -0.091", "file_cleanup_success – of 0, – of 0, 0.985 of 202, left -0.485",
	)
	w.Clock.Advance(32 * 24 * time.Hour)
	want(
		"success_rate – of 0, – of 0, – of 0, left –", "average_duration – of 0, – of 0, – of 0, left –",
		"failure_rate – of 0, – of 0, – of 0, left –", "file_cleanup_success – of 0, – of 0, – of 0, left –",
	)
}
