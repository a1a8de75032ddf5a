package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchivedRowsDocument runs the commands of docs/retention.md about archived rows as
// they are printed.
func TestArchivedRowsDocument(t *testing.T) {
	found := blocks(t, "../../docs/retention.md", "sh")
	if len(found) != 1 {
		t.Fatalf("the document has %d blocks of commands; this test knows 1", len(found))
	}
	dir := t.TempDir()
	t.Setenv("EXPORT_ARCHIVE_URL", "file://"+filepath.Join(dir, "cold"))
	const row = `{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a01","user_id":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5",` +
		`"timestamp":"2024-01-31T10:00:00Z","format":"csv","config":{},"conversation_count":8,"status":"failed","updated_at":"2024-01-31T10:00:01Z"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "logs.jsonl"), []byte(row), 0o600); err != nil {
		t.Fatal(err)
	}
	said := run(t, dir, "mkdir exports cold; exportops migrate\nEXPORT_LOG_RETENTION=36500d exportops import --kind logs logs.jsonl\n"+
		"exportops run log-cleanup\n"+found[0]+"cat rows.jsonl; exportops exports\n")
	for want, times := range map[string]int{
		`"archive":"export_logs/year=2024/month=01/`: 2, `{"found":1,"restored":1,`: 2, `"dropped":"old_exports"`: 1, `"exports":[{`: 1,
	} {
		if n := strings.Count(said, want); n != times {
			t.Errorf("the commands said %q %d times, want %d:\n%s", want, n, times, said)
		}
	}
}
