// Package storetest is the conformance suite that every store passes. A store
// hands Run a way to open itself, and a way to write rows of export_logs as
// any other program would.
package storetest

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// Fixture is one empty, migrated store.
type Fixture struct {
	Store exportops.Store
	// Insert adds rows to export_logs by plain SQL, as the application does.
	Insert func(t testing.TB, rows ...Row)
	// Exec runs one statement of plain SQL on export_logs, whose name stands for
	// {logs}, with ? for arguments.
	Exec func(t testing.TB, query string, args ...any)
	// Count returns the number that a query yields, in the same form.
	Count func(t testing.TB, query string, args ...any) int64
	// Typed says that columns take nothing but values of their type, ids and
	// times among them: what no program can write there is not tried.
	Typed bool
}

// Row is a row of export_logs as any program may write it. Zero fields take
// the values Complete gives.
type Row struct {
	ID, ExportID, UserID            string
	Timestamp, CreatedAt, UpdatedAt string
	Format, Status, Config          string
	Conversations                   int64
	FileSize                        *int64
	FileURL, ExpiresAt, Error       *string
}

// Run runs the suite; open returns a new, empty store at each call.
func Run(t *testing.T, open func(t testing.TB) Fixture) {
	t.Run("exports", func(t *testing.T) { testExports(t, open) })
	t.Run("metrics", func(t *testing.T) { testMetrics(t, open) })
	t.Run("outcomes", func(t *testing.T) { testOutcomes(t, open) })
	t.Run("rollups", func(t *testing.T) { testRollups(t, open) })
	t.Run("runs", func(t *testing.T) { testRuns(t, open) })
	t.Run("deletions", func(t *testing.T) { testDeletions(t, open) })
	t.Run("logs", func(t *testing.T) { testLogs(t, open) })
	t.Run("archives", func(t *testing.T) { testArchives(t, open) })
	t.Run("beside", func(t *testing.T) { testBeside(t, open) })
	t.Run("holds", func(t *testing.T) { testHolds(t, open) })
	t.Run("alerts", func(t *testing.T) { testAlerts(t, open) })
	t.Run("outbox", func(t *testing.T) { testOutbox(t, open) })
	t.Run("chain", func(t *testing.T) { testChain(t, open) })
	t.Run("requests", func(t *testing.T) { testRequests(t, open) })
	t.Run("guards", func(t *testing.T) { testGuards(t, open) })
	t.Run("forget", func(t *testing.T) { testForget(t, open) })
	t.Run("erasures", func(t *testing.T) { testErasures(t, open) })
	t.Run("facts", func(t *testing.T) { testFacts(t, open) })
	t.Run("every_row", func(t *testing.T) { testEveryRow(t, open) })
	t.Run("changed_facts", func(t *testing.T) { testChangedFacts(t, open) })
	t.Run("expiry", func(t *testing.T) { testExpiry(t, open) })
	t.Run("long_texts", func(t *testing.T) { testLongTexts(t, open) })
	t.Run("reconcile", func(t *testing.T) { testReconcile(t, open) })
}

// Complete returns the row with every zero field filled in: a completed export
// of asked's time that took two seconds and never expires.
func (r Row) Complete(asked exportops.Time) Row {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&r.ID, exportops.NewID())
	set(&r.ExportID, exportops.NewID())
	set(&r.UserID, exportops.NewID())
	set(&r.Timestamp, asked.String())
	set(&r.CreatedAt, r.Timestamp)
	set(&r.Format, string(exportops.JSONL))
	set(&r.Status, string(exportops.Completed))
	set(&r.Config, `{"scope":"all"}`)
	if r.UpdatedAt == "" {
		r.UpdatedAt = r.CreatedAt
		if t, ok := exportops.ParseStoredTime(r.CreatedAt); ok && !exportops.Status(r.Status).InProgress() {
			r.UpdatedAt = exportops.At(t.Add(took)).String()
		}
	}
	return r
}

const took = 2 * time.Second
