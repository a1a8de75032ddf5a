package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAPlanOfLogRowsOnPostgres makes a plan of old rows, some with files, lets the
// application and an operator change a few of them, and applies it twice, with archives.
func TestAPlanOfLogRowsOnPostgres(t *testing.T) {
	s := newSite(t, "EXPORT_ARCHIVE_URL=file://"+t.TempDir())
	s.exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, error_message, created_at, updated_at)
		SELECT gen_random_uuid(), md5('u' || i % 50)::uuid, at, 'json', '{}', i, 'failed', 'Timeout: ' || i, at, at
		FROM (SELECT i, now() - interval '31 days' - interval '1 hour' * i - interval '1 us' AS at FROM generate_series(1, 2500) i) x`)
	s.exec(`UPDATE export_logs SET status = 'expired', file_url = conversation_count || '.csv', expires_at = timestamp + interval '1 day'
		WHERE conversation_count <= 20`)
	for _, name := range []string{"1.csv", "2.csv", "20.csv"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan := filepath.Join(t.TempDir(), "plan.json")
	said := s.command("run", "log-cleanup", "--dry-run", "--plan-out", plan)
	if !strings.Contains(said, `"would_delete":2500`) || !strings.Contains(said, `"archived_count":2500`) {
		t.Fatalf("it said %s", said)
	}
	if n := s.count(`SELECT count(*) FROM export_logs`) + s.count(`SELECT count(*) FROM exportops.runs`); n != 2500 {
		t.Fatalf("the dry run left %d rows and runs", n)
	}
	s.exec(`UPDATE export_logs SET status = 'processing' WHERE conversation_count BETWEEN 101 AND 103`)
	s.exec(`UPDATE export_logs SET expires_at = expires_at + interval '1 us' WHERE conversation_count = 20`)
	s.exec(`UPDATE export_logs SET timestamp = timestamp - interval '1 ms' WHERE conversation_count = 104`)
	s.exec(`DELETE FROM export_logs WHERE conversation_count BETWEEN 105 AND 106`)
	s.exec(`INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, created_at)
		SELECT gen_random_uuid(), md5('u')::uuid, now() - interval '40 days', 'json', '{}', 9000 + i, 'failed', now() - interval '40 days'
		FROM generate_series(1, 4) i`)
	s.exec(`INSERT INTO exportops.holds (scope, subject, reason, placed_by, placed_at)
		SELECT 'export', export_id, 'audit', 'counsel', now() FROM export_logs WHERE conversation_count = 107`)

	said = s.command("run", "log-cleanup", "--plan", plan)
	for _, want := range []string{`"deleted_count":2492`, `"changed":5`, `"kept_held":1`, `"total_found":2498`, `"complete":true`, `"archived_count":2492`} {
		if !strings.Contains(said, want) {
			t.Errorf("it did not say %s: %s", want, said)
		}
	}
	if n := s.count(`SELECT count(*) FROM export_logs`); n != 10 {
		t.Errorf("%d rows are left", n)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "20.csv" {
		t.Errorf("files are left: %v, %v", left, err)
	}
	said = s.command("run", "log-cleanup", "--plan", plan)
	if !strings.Contains(said, `"deleted_count":0`) || !strings.Contains(said, `"total_found":6`) {
		t.Errorf("again it said %s", said)
	}
	s.command("archive", "verify")
}
