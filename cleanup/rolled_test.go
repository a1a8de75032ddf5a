package cleanup_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
)

// Rows go only once they are counted. Counting a table takes long, so it is done
// where a row needs it.
func TestLogCleanupRollsUpWhatIsNotCounted(t *testing.T) {
	now := time.Date(2025, 12, 31, 12, 0, 0, 0, time.UTC)
	const insert = `INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status)
		VALUES (?, 'u', ?, 'json', '{}', 1, ?)`
	const at = "2025-10-31T12:00:00.000Z"
	type rows map[string]exportops.Status
	for _, c := range []struct {
		name   string
		before rows   // when the aggregation ran
		after  rows   // written since
		change string // run since
		rolls  int
		failed int64 // in the rollup, at the end
	}{
		{name: "not_at_all_where_the_aggregation_was_here", before: rows{"a": "completed", "b": "failed"}, failed: 1},
		{name: "once_for_rows_it_has_not_seen", before: rows{"a": "completed"}, after: rows{"b": "failed", "c": "failed"}, rolls: 1, failed: 2},
		{
			name: "for_a_row_that_ended_otherwise_since", before: rows{"a": "completed", "b": "failed"}, rolls: 1,
			change: `UPDATE export_logs SET status = 'completed' WHERE export_id = 'b'`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "x.db"), Create: true})
			check(t, err)
			defer s.Close()
			check(t, s.Migrate(t.Context()))
			files, err := disk.Open(t.TempDir())
			check(t, err)
			defer files.Close()
			m := metrics.New(s, metrics.Options{Now: func() exportops.Time { return exportops.At(now) }})
			put := func(r rows) {
				for id, status := range r {
					_, err := s.Writer().Exec(insert, id, at, status)
					check(t, err)
				}
			}
			put(c.before)
			put(rows{"busy": exportops.Processing})
			_, err = m.Roll(t.Context(), exportops.At(now))
			check(t, err)
			put(c.after)
			if c.change != "" {
				_, err := s.Writer().Exec(c.change)
				check(t, err)
			}

			_, fence, _, err := s.BeginRun(t.Context(), exportops.RunRequest{
				Job: exportops.LogCleanup, Lane: "logs", Params: []byte(`{}`), Trigger: exportops.ByCommand,
				Holder: "test", Now: exportops.At(now), Lease: time.Minute,
			})
			check(t, err)
			cleaner := cleanup.Cleaner{Store: s, Files: files, Now: func() time.Time { return now }, Lease: time.Minute}
			rolls := 0
			cut := exportops.At(now.AddDate(0, 0, -30))
			var res exportops.LogCleanupResult
			sel := cleanup.LogWork{Cut: cut, Roll: func(ctx context.Context) error {
				rolls++
				_, err := m.RollBefore(ctx, cut, exportops.At(now))
				return err
			}}
			check(t, cleaner.CleanLogs(t.Context(), cleanup.Work{Fence: fence}, sel, sel, &res))
			gone := int64(len(c.before) + len(c.after))
			if rolls != c.rolls || res.DeletedCount != gone || res.KeptInProgress != 1 || res.TotalFound != gone+1 || !res.Complete {
				t.Errorf("rolled up %d times, want %d; %+v", rolls, c.rolls, res)
			}
			sum, err := m.Aggregate(t.Context(), mustTime(t, at), exportops.At(now), exportops.Daily)
			check(t, err)
			if sum.FailedExports != c.failed || sum.SuccessfulExports != gone-c.failed {
				t.Errorf("%d failed and %d successful afterwards, want %d of %d failed", sum.FailedExports, sum.SuccessfulExports, c.failed, gone)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustTime(t *testing.T, s string) exportops.Time {
	t.Helper()
	at, err := exportops.ParseTime(s)
	check(t, err)
	return at
}
