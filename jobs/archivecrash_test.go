package jobs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// TestKilledWhileArchiving kills a process that archives and deletes log rows, again
// and again, wherever it happens to be. In the end each row is in the table or in
// exactly one archive that is done.
func TestKilledWhileArchiving(t *testing.T) {
	rows, kills := 6000, 10
	if testing.Short() || raced {
		rows, kills = 800, 4
	}
	job := order{Jobs: []exportops.Job{exportops.LogCleanup}, Archive: true}
	calm := newWorld(t)
	overMonths(calm, rows)
	job.Dir = calm.Dir
	done, ended := child(t, job, 0)
	if !ended {
		t.Fatal("the undisturbed process did not end")
	}
	whole := done.Took

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, undisturbed %s", seed, whole)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	overMonths(w, rows)
	all := w.Strings(`SELECT id FROM export_logs`)
	job.Dir = w.Dir
	died := 0
	for ended = false; !ended; job.Minutes++ {
		after := time.Duration(random.Int64N(int64(whole)/4)) + time.Millisecond
		if died >= kills {
			after = 0
		}
		if _, ended = child(t, job, after); !ended {
			died++
		} else if died < kills {
			t.Logf("it ended before it was killed for the %d. time", died+1)
		}
	}
	archives := map[exportops.ArchiveState]int{}
	for _, a := range w.Archives() {
		archives[a.State]++
	}
	t.Logf("died %d times; archives: %v", died, archives)
	_, times := w.Archived(w.Objects())
	there := map[string]bool{}
	for _, id := range w.Strings(`SELECT id FROM export_logs`) {
		there[id] = true
	}
	archived := 0
	for _, id := range all {
		if n := times[id]; n > 1 || (n == 1) == there[id] {
			t.Errorf("row %s is in %d archives, and in the table: %v", id, n, there[id])
		}
		archived += times[id]
	}
	want(t, "rows that nobody wrote", len(times), archived)
	want(t, "members left", w.Count(`SELECT count(*) FROM exportops_archive_rows`), 0)
	want(t, "archives that are not finished", w.Count(`SELECT count(*) FROM exportops_archives WHERE state NOT IN ('done', 'abandoned')`), 0)
	want(t, "statuses", w.Statuses(), calm.Statuses())
	want(t, "counts", logCounts(w), logCounts(calm))
	if left := slices.DeleteFunc(w.Objects().Keys(), func(key string) bool { return !strings.Contains(key, "~") }); len(left) > 0 {
		t.Errorf("half objects: %q", left)
	}
}

// overMonths is populate with log rows alone, which lie over four months.
func overMonths(w *testworld.World, rows int) {
	populate(w, 0, rows)
	w.Exec(`UPDATE export_logs SET timestamp = strftime('%Y-%m-%dT%H:%M:%fZ', timestamp, '-' || (rowid % 4) || ' months'),
		created_at = timestamp, updated_at = timestamp`)
}

// logCounts is what the runs have counted in all.
func logCounts(w interface{ Strings(string) []string }) string {
	return fmt.Sprint(w.Strings(`SELECT 'found ' || sum(result ->> 'total_found') || ' deleted ' || sum(result ->> 'deleted_count')
		|| ' archived ' || sum(result ->> 'archived_count') || ' remaining ' || sum(result ->> 'remaining')
		|| ' failed ' || sum(result ->> 'failed_count') FROM exportops_runs`))
}
