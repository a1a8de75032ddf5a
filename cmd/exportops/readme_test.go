package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// blocks returns the fenced blocks of a language in a document.
func blocks(t *testing.T, document, language string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	return found
}

// TestREADME runs the commands of the README as they are printed, in order; what
// make does is looked up, because it is make that runs this test.
func TestREADME(t *testing.T) {
	for _, name := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed; scripts/setup installs it", name)
		}
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	commands := blocks(t, "../../README.md", "sh")
	if len(commands) != 4 {
		t.Fatalf("the README has %d blocks of commands; this test knows 4", len(commands))
	}
	program, err := exec.LookPath("exportops") // this very program, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "bin", "exportops")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EXPORTOPS_ADDR", addr)
	var script strings.Builder
	for _, line := range strings.Split(strings.Join(commands, ""), "\n") {
		target, isMake := strings.CutPrefix(line, "make ")
		switch {
		case isMake:
			if target = strings.Fields(target)[0]; !bytes.Contains(makefile, []byte("\n"+target+":")) {
				t.Errorf("there is no target %q in the Makefile", target)
			}
		case line == "./bin/exportops serve":
			script.WriteString(line + " & server=$!\ntrap 'kill $server; wait $server' EXIT\n" +
				"until curl -sf http://127.0.0.1:8080/readyz >/dev/null; do kill -0 $server; done\n")
		default:
			script.WriteString(line + "\n")
		}
	}
	said := run(t, dir, strings.ReplaceAll(script.String(), "127.0.0.1:8080", addr))
	for _, want := range []string{
		"✅ Passed: 7\n❌ Failed: 0", "✅ Passed: 4\n❌ Failed: 0", `"new":1`, `"successful_exports":1`, `"dry_run":true`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the commands did not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// TestHoldsPage runs the commands of the page about legal holds.
func TestHoldsPage(t *testing.T) {
	program, err := exec.LookPath("exportops")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "bin", "exportops")); err != nil {
		t.Fatal(err)
	}
	commands := strings.Join(blocks(t, "../../docs/holds.md", "sh"), "")
	said := run(t, dir, "mkdir exports\n./bin/exportops migrate\n"+commands)
	for _, want := range []string{`"scope":"user"`, `"scope":"all"`, `"kept_held":0`, `"released_by":"operations"`} {
		if !strings.Contains(said, want) {
			t.Errorf("the commands did not say %q:\n%s", want, said)
		}
	}
}

func run(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// The piece of Go in the README stands in an example that is run.
func TestTheREADMEShowsTheClientAsItIs(t *testing.T) {
	example, err := os.ReadFile("../../client/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range blocks(t, "../../README.md", "go") {
		if !bytes.Contains(example, []byte(code)) {
			t.Errorf("client/example_test.go does not hold:\n%s", code)
		}
	}
}
