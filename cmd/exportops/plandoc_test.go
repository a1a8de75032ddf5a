package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuardsAndPlansDocument runs the commands of the document as they are
// printed.
func TestGuardsAndPlansDocument(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed; scripts/setup installs it")
	}
	found := blocks(t, "../../docs/guards-and-plans.md", "sh")
	if len(found) != 3 {
		t.Fatalf("the document has %d blocks of commands; this test knows 3", len(found))
	}
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"EXPORTOPS_ADDR": addr, "CRON_SECRET": strings.Repeat("c", 40), "EXPORTOPS_ADMIN_TOKEN": strings.Repeat("a", 40),
		"EXPORTOPS_SCHEDULER": "off",
	} {
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	row := func(n, url string) string {
		return `{"export_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a0` + n + `","user_id":"7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4aff",` +
			`"timestamp":"2024-01-31T10:00:00Z","format":"csv","config":{},"conversation_count":8,"status":"completed",` + url +
			`"expires_at":"2024-02-01T10:00:00Z","updated_at":"2024-01-31T10:00:01Z"}` + "\n"
	}
	for file, content := range map[string]string{"logs.jsonl": row("1", `"file_url":"old.csv",`), "more.jsonl": row("2", "")} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(file string) string {
		return "EXPORT_LOG_RETENTION=36500d exportops import --kind logs " + file + "\n"
	}
	said := run(t, dir, "mkdir exports; echo x >exports/old.csv; exportops migrate\n"+load("logs.jsonl")+
		found[0]+"test ! -e exports/old.csv\n"+found[1]+
		load("more.jsonl")+"exportops serve & server=$!\ntrap 'kill $server; wait $server' EXIT\n"+
		"until curl -sf http://"+addr+"/readyz >/dev/null; do kill -0 $server; done\n"+
		strings.ReplaceAll(found[2], "127.0.0.1:8080", addr)+"echo; exportops exports\n")
	if strings.Count(said, "\n{\"total_found\":1,\"deleted_count\":1,") != 3 || !strings.Contains(said, `"exports":[]`) {
		t.Errorf("the commands said:\n%s", said)
	}
}
