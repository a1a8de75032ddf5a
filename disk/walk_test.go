//go:build unix

package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops/disk"
)

// walked lists what a walk tells of: "key" or "key: why it is odd".
func walked(t *testing.T, s *disk.Store, after string) (out []string) {
	t.Helper()
	for f, err := range s.Walk(t.Context(), after) {
		check(t, err)
		if f.Odd != "" {
			f.Key += ": " + f.Odd
		}
		out = append(out, f.Key)
	}
	return out
}

func TestAWalkFollowsNothingAndHidesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	other, file := outside(t)
	put(t, dir, "a/b", nil)
	put(t, dir, "line\nbreak", nil)
	put(t, dir, "not\xffutf8", nil)
	put(t, dir, `back\slash`, nil)
	check(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, to := range map[string]string{"link": "a/b", "up": "..", "escaping": other, "file": file} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	const link = ": it is a symbolic link"
	want := []string{
		"a/b", `back\slash: the key is not acceptable: the key "back\\slash" holds a backslash`, "escaping" + link, "file" + link,
		"line\nbreak: the key is not acceptable: the key \"line\\nbreak\" holds a control character", "link" + link,
		"not\xffutf8: the key is not acceptable: the key \"not\\xffutf8\" is not valid UTF-8", "pipe: it is a named pipe", "up" + link,
	}
	if d := cmp.Diff(want, walked(t, s, "")); d != "" {
		t.Fatal(d)
	}
}

func TestAWalkDoesNotGoBelowAnyDepth(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, dir, strings.Repeat("d/", 100)+"file", nil)
	put(t, dir, "e/"+strings.Repeat("d/", 150)+"file", nil)
	got := walked(t, s, "")
	if len(got) != 2 || !strings.HasSuffix(got[0], "d/file") || !strings.Contains(got[1], "was not looked into") {
		t.Fatal(got)
	}
}

// More names than are held at once take another pass.
func TestAWalkThroughALargeFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	const files = 21_000
	for i := range files {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d", i*7919%files)), os.O_CREATE|os.O_WRONLY, 0o600)
		check(t, err)
		check(t, f.Close())
	}
	n, last := 0, ""
	for f, err := range s.Walk(t.Context(), "") {
		check(t, err)
		if f.Key <= last {
			t.Fatalf("%q came after %q", f.Key, last)
		}
		last = f.Key
		n++
	}
	if n != files {
		t.Fatalf("%d files, want %d", n, files)
	}
}
