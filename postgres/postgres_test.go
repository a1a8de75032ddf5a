package postgres

import (
	"os"
	"sync"
	"testing"

	"github.com/exportops/exportops/storetest"
)

func TestConformance(t *testing.T) {
	serverURL(t) // or the whole suite is skipped
	d := databases{owner: t}
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		s := openStore(t, d.empty(t))
		return fixtureOn(t, s, s)
	})
}

// TestConformanceThroughPgBouncer uses a pooler that gives each transaction
// another connection.
func TestConformanceThroughPgBouncer(t *testing.T) {
	pooler := os.Getenv("EXPORTOPS_TEST_PGBOUNCER")
	if pooler == "" {
		t.Skip("EXPORTOPS_TEST_PGBOUNCER names no pooler")
	}
	serverURL(t)
	d := databases{owner: t}
	storetest.Run(t, func(t testing.TB) storetest.Fixture {
		s := openStore(t, withDatabase(t, pooler, databaseOf(t, d.empty(t))))
		return fixtureOn(t, s, s)
	})
}

// databases are databases that tests use one after the other: to make one takes
// far longer than to empty it.
type databases struct {
	owner *testing.T
	mu    sync.Mutex
	free  []string
}

func (d *databases) empty(t testing.TB) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var url string
	if n := len(d.free); n > 0 {
		url, d.free = d.free[n-1], d.free[:n-1]
	} else {
		url = newDatabase(d.owner)
	}
	t.Cleanup(func() {
		run(t, url, `TRUNCATE public.export_logs, exportops.export_metrics, exportops.rollup_hours, exportops.rollup_days,
			exportops.rollups, exportops.rollup_users, exportops.rollup_errors, exportops.runs, exportops.run_keys, exportops.unknown_files, exportops.missing_files,
			exportops.schedules, exportops.deletions, exportops.workers RESTART IDENTITY`)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, url)
	})
	return url
}
