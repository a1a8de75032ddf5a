package sqlite_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/sqlite"
	"github.com/exportops/exportops/storetest"
)

// Looking for files that are due may take long. It must not keep ingest waiting.
func TestClaimsLookBesideTheWriter(t *testing.T) {
	now := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	due := exportops.Selection{Mode: exportops.ByExpiry, Now: now}
	begin := func(t *testing.T) (storetest.Fixture, *sqlite.Store, exportops.Checkpoint) {
		f := openFixture(t)
		s := f.Store.(*sqlite.Store)
		_, fence, _, err := s.BeginRun(t.Context(), exportops.RunRequest{
			Job: exportops.FileCleanup, Lane: "files", Params: []byte(`{}`), Trigger: exportops.ByCommand,
			Holder: "test", Now: now, Lease: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		return f, s, exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Minute}
	}
	claimAll := func(page, _ []exportops.Candidate) []exportops.Decision {
		out := make([]exportops.Decision, len(page))
		for i, c := range page {
			out[i] = exportops.Decision{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "exports", Key: *c.FileURL}}
		}
		return out
	}

	t.Run("a_row_that_changes_after_the_look_is_not_claimed", func(t *testing.T) {
		f, s, cp := begin(t)
		for _, key := range []string{"a.json", "b.json"} {
			f.Exec(t, `INSERT INTO {logs} (export_id, user_id, timestamp, format, config, conversation_count, status, file_url,
				expires_at, created_at) VALUES (?1, 'u', '2025-10-30T00:00:00.000Z', 'json', '{}', 1, 'completed', ?1,
				'2025-10-31T00:00:00.000Z', '2025-10-30T00:00:00.000Z')`, key)
		}
		tx, err := s.Writer().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.Exec(`UPDATE export_logs SET status = 'processing' WHERE export_id = 'a.json'`); err != nil {
			t.Fatal(err)
		}
		type answer struct {
			page exportops.ClaimPage
			err  error
		}
		got := make(chan answer, 1)
		waiting := s.Writer().Stats().WaitCount
		go func() {
			page, err := s.ClaimFiles(t.Context(), cp, exportops.ClaimRequest{Selection: due, Store: "test", Limit: 10, Decide: claimAll})
			got <- answer{page, err}
		}()
		// It has looked once it waits for the writer.
		for end := time.Now().Add(10 * time.Second); s.Writer().Stats().WaitCount == waiting; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the claim never came to the writer")
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		a := <-got
		if a.err != nil || len(a.page.Candidates) != 1 || a.page.Candidates[0].ExportID != "b.json" || a.page.Claims[0] == nil {
			t.Fatalf("%+v %v", a.page, a.err)
		}
		if n := f.Count(t, `SELECT count(*) FROM exportops_deletions`); n != 1 {
			t.Errorf("%d claims in the ledger, want one", n)
		}
	})
}
