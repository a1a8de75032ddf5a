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
		s := openWith(t, Options{URL: d.empty(t), ConfigKeys: storetest.FactKeys})
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
		s := openWith(t, Options{URL: withDatabase(t, pooler, databaseOf(t, d.empty(t))), ConfigKeys: storetest.FactKeys})
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
		run(t, url, emptyAll)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, url)
	})
	return url
}

// emptyAll empties every table but that of the schema's versions.
const emptyAll = `DO $$ DECLARE ours text;
BEGIN
	FOR ours IN SELECT name FROM exportops.restored_tables LOOP
		EXECUTE 'DROP TABLE IF EXISTS ' || ours;
	END LOOP;
	SELECT string_agg(format('exportops.%I', tablename), ', ') INTO ours FROM pg_tables
	WHERE schemaname = 'exportops' AND tablename <> 'schema_version';
	EXECUTE 'TRUNCATE public.export_logs, ' || ours || ' RESTART IDENTITY';
END $$`
