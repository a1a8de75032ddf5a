package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// TestManyExports: one call of each job drains 25,000 expired exports with
// their files and 25,000 old log rows, in little memory, and so does a process
// that goes on where another was killed.
func TestManyExports(t *testing.T) {
	if testing.Short() {
		t.Skip("50,000 rows and 25,000 files take a while")
	}
	n, most := 25_000, 50_000 // exports, kilobytes
	if raced {
		n = 2500 // the database is many times slower then
	}
	var ends []state
	for _, dieAfter := range []int{0, n / 2} {
		w := newWorld(t)
		for i := range n {
			w.Write(fmt.Sprintf("u%d/%d", i%100, i), "content")
		}
		many(w, n)
		minutes := 0
		if dieAfter > 0 {
			if _, ended := child(t, order{Dir: w.Dir, Jobs: fileAndLogs, Force: true, DieAfter: dieAfter}, 0); ended {
				t.Fatal("the process was to kill itself")
			}
			if left := len(w.Keys()); left == 0 || left == n {
				t.Fatalf("it left %d files", left)
			}
			minutes = 1
		}
		done, ended := child(t, order{Dir: w.Dir, Jobs: fileAndLogs, Force: true, Minutes: minutes}, 0)
		if !ended {
			t.Fatal("the process did not end")
		}
		files, logs := done.Answers[0].Result.Files, done.Answers[1].Result.Logs
		want(t, "files", [4]int64{files.TotalFound, files.DeletedCount, files.LogsUpdated, files.Remaining}, [4]int64{int64(n), int64(n), int64(n), 0})
		want(t, "logs", [3]int64{logs.TotalFound, logs.DeletedCount, logs.Remaining}, [3]int64{int64(n), int64(n), 0})
		want(t, "complete", [2]bool{files.Complete, logs.Complete}, [2]bool{true, true})
		want(t, "expired rows", w.Count(`SELECT count(*) FROM export_logs WHERE status = 'expired'`), int64(n))
		want(t, "rows", w.Count(`SELECT count(*) FROM export_logs`), int64(n))
		want(t, "confirmed", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'deleted'`), int64(n))
		t.Logf("peak of the process: %d kB; %d ms and %d ms", done.PeakKB, files.DurationMS, logs.DurationMS)
		if !raced && done.PeakKB > most {
			t.Errorf("it took %d kB at its peak, more than %d", done.PeakKB, most)
		}
		end := stateOf(t, w)
		want(t, "exports counted", end.Aggregate.TotalExports, int64(2*n))
		ends = append(ends, end)
	}
	want(t, "after a kill", ends[1], ends[0], cmpopts.EquateApprox(1e-9, 0))
}

// many inserts n expired exports and n old, failed ones.
func many(w *testworld.World, n int) {
	w.Helper()
	rows := make([]row, 0, 2*n)
	for i := range n {
		rows = append(rows,
			row{ExportID: id(i), URL: fmt.Sprintf("u%d/%d", i%100, i), Size: 7},
			row{
				ExportID: id(n + i), Status: exportops.Failed, Error: "Timeout: late",
				Timestamp: w.Ago(40*day + time.Duration(i)*10*time.Second),
			})
	}
	w.Insert(rows...)
}
