package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGuardsAndPlansDocument runs the commands of the document as they are
// printed.
func TestGuardsAndPlansDocument(t *testing.T) {
	dir := t.TempDir()
	sh := func(script string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
	}
	logs := `{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a01","user_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4aff","timestamp":"2024-01-31T10:00:00Z","format":"csv","config":{},"conversation_count":8,"status":"completed","file_url":"old.csv","expires_at":"2024-02-01T10:00:00Z","updated_at":"2024-01-31T10:00:01Z"}`
	if err := os.WriteFile(filepath.Join(dir, "logs.jsonl"), []byte(logs+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sh("mkdir exports; echo x >exports/old.csv; exportops migrate; exportops import --kind logs logs.jsonl")
	found := blocks(t, "../../docs/guards-and-plans.md", "sh")
	if len(found) != 1 {
		t.Fatalf("the document has %d blocks of commands; this test knows 1", len(found))
	}
	sh(found[0])
	if _, err := os.Stat(filepath.Join(dir, "exports", "old.csv")); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}
