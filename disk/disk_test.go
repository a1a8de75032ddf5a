package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/filetest"
)

func TestConformance(t *testing.T) { filetest.Run(t, fixture) }

func fixture(t *testing.T) filetest.Fixture {
	t.Helper()
	dir := t.TempDir()
	return filetest.Fixture{
		Store:      open(t, dir),
		Put:        func(key string, content []byte) error { return write(dir, key, content) },
		Keys:       func() ([]string, error) { return list(dir) },
		RemoveRoot: func() error { return os.RemoveAll(dir) },
		Mark:       func() error { return write(dir, disk.MarkerFile, nil) },
		FoldsNames: runtime.GOOS == "darwin" || runtime.GOOS == "windows",
	}
}

func open(tb testing.TB, dir string) *disk.Store {
	tb.Helper()
	s, err := disk.Open(dir)
	check(tb, err)
	tb.Cleanup(func() { check(tb, s.Close()) })
	return s
}

func write(dir, key string, content []byte) error {
	name := filepath.Join(dir, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}

func put(tb testing.TB, dir, key string, content []byte) {
	tb.Helper()
	check(tb, write(dir, key, content))
}

func list(dir string) (keys []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			keys = append(keys, path)
		}
		return err
	})
	return keys, err
}

func keys(t *testing.T, dir string) []string {
	t.Helper()
	keys, err := list(dir)
	check(t, err)
	return keys
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func deleteOne(t *testing.T, s *disk.Store, key string) exportops.FileResult {
	t.Helper()
	results, err := s.Delete(t.Context(), []exportops.FileRef{{Key: key}})
	if err != nil || len(results) != 1 {
		t.Fatalf("Delete(%q) = %+v, %v", key, results, err)
	}
	return results[0]
}

// expectLeftAlone fails unless deleting key is refused as a bad key.
func expectLeftAlone(t *testing.T, s *disk.Store, key string) {
	t.Helper()
	if r := deleteOne(t, s, key); r.Removal != exportops.Unproven || !errors.Is(r.Err, exportops.ErrBadKey) {
		t.Errorf("Delete(%q) = %s, %v, want ErrBadKey", key, r.Removal, r.Err)
	}
	infos, err := s.Stat(t.Context(), []string{key})
	if err != nil || !infos[0].Exists || !errors.Is(infos[0].Err, exportops.ErrBadKey) {
		t.Errorf("Stat(%q) = %+v, %v, want ErrBadKey", key, infos, err)
	}
}

func expectExists(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(name); err != nil {
		t.Errorf("want it to be there still: %v", err)
	}
}

func TestOpenCreatesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, name := range []string{filepath.Join(dir, "missing"), filepath.Join(dir, "a", "b"), file, filepath.Join(file, "x")} {
		_, err := disk.Open(name)
		var e *exportops.Error
		if !errors.Is(err, exportops.ErrRootMissing) || !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || e.Hint == "" {
			t.Errorf("Open(%q): %v, want ErrRootMissing with a hint", name, err)
		}
	}
	if got := keys(t, dir); len(got) != 1 {
		t.Errorf("Open left %q", got)
	}
	if _, err := disk.Open(""); !exportops.IsKind(err, exportops.KindInvalid) {
		t.Errorf("Open without a name: %v", err)
	}
}

func TestIDIsTheFoldersURL(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	check(t, err)
	check(t, os.Mkdir("my exports", 0o755))
	s := open(t, "my exports")
	if want := "file://" + filepath.ToSlash(wd) + "/my%20exports"; runtime.GOOS != "windows" && s.ID() != want {
		t.Errorf("ID = %q, want %q", s.ID(), want)
	}
	// A relative name goes on meaning the same folder.
	put(t, wd, "my exports/a", nil)
	t.Chdir(t.TempDir())
	if r := deleteOne(t, s, "a"); r.Removal != exportops.Removed {
		t.Errorf("Delete after a change of directory = %s, %v", r.Removal, r.Err)
	}
}

func TestReservedNamesAreNoExports(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, key := range []string{disk.MarkerFile, ".exportops-probe-x", ".EXPORTOPS-root", ".exportops-x/a"} {
		put(t, dir, key, nil)
		expectLeftAlone(t, s, key)
	}
	put(t, dir, "u/.exportops-root", nil)
	if r := deleteOne(t, s, "u/.exportops-root"); r.Removal != exportops.Removed {
		t.Errorf("a name that is reserved in the root alone = %s, %v", r.Removal, r.Err)
	}
}

func TestCheckTakesNoNoticeOfAnAbandonedProbe(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, dir, ".exportops-probe-ABC", nil)
	if empty, err := s.Check(t.Context()); !empty || err != nil {
		t.Errorf("Check = %v, %v, want empty", empty, err)
	}
}

func TestEmptyFoldersStayAndCount(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, dir, "u/a", nil)
	deleteOne(t, s, "u/a")
	expectExists(t, filepath.Join(dir, "u"))
	if empty, err := s.Check(t.Context()); empty || err != nil {
		t.Errorf("Check = %v, %v, want not empty", empty, err)
	}
}
