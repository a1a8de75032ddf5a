//go:build unix

package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
)

// asOrdinaryUser gives up root's rights until the test ends: they override
// every permission. Tests that call it must not run in parallel.
func asOrdinaryUser(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	check(t, syscall.Seteuid(nobody))
	t.Cleanup(func() { check(t, syscall.Seteuid(0)) })
}

// reachableDir is a folder that any user can get to.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	check(t, os.Chmod(name, mode))
	t.Cleanup(func() { check(t, os.Chmod(name, 0o755)) })
}

func TestWithoutPermissionNothingIsConcluded(t *testing.T) {
	dir := reachableDir(t)
	for _, key := range []string{"readonly/a", "closed/a", "open/a"} {
		put(t, dir, key, nil)
	}
	s := open(t, dir)
	chmod(t, filepath.Join(dir, "readonly"), 0o555)
	chmod(t, filepath.Join(dir, "closed"), 0)
	chmod(t, filepath.Join(dir, "open"), 0o777)
	asOrdinaryUser(t)

	keys := []string{"readonly/a", "closed/a", "closed/gone", "open/a", "readonly/gone"}
	infos, err := s.Stat(t.Context(), keys)
	check(t, err)
	for i, known := range []bool{true, false, false, true, true} {
		if (infos[i].Err == nil) != known || !known && (!infos[i].Exists || !errors.Is(infos[i].Err, fs.ErrPermission)) {
			t.Errorf("Stat(%q) = %+v, known: %v", keys[i], infos[i], known)
		}
	}
	refs := make([]exportops.FileRef, len(keys))
	for i, key := range keys {
		refs[i].Key = key
	}
	results, err := s.Delete(t.Context(), refs)
	check(t, err)
	want := []exportops.Removal{exportops.Unproven, exportops.Unproven, exportops.Unproven, exportops.Removed, exportops.Absent}
	for i, r := range results {
		if r.Removal != want[i] || r.Removal == exportops.Unproven && !errors.Is(r.Err, fs.ErrPermission) {
			t.Errorf("Delete(%q) = %s, %v, want %s", keys[i], r.Removal, r.Err, want[i])
		}
	}
}

func TestARootThatCannotBeReadIsAnError(t *testing.T) {
	dir := reachableDir(t)
	s := open(t, dir)
	chmod(t, dir, 0)
	asOrdinaryUser(t)
	for name, err := range map[string]error{
		"Check": func() error { _, err := s.Check(t.Context()); return err }(),
		"Probe": s.Probe(t.Context()),
		"Open":  func() error { _, err := disk.Open(dir); return err }(),
	} {
		if !exportops.IsKind(err, exportops.KindUnavailable) || !errors.Is(err, fs.ErrPermission) || errors.Is(err, exportops.ErrRootMissing) {
			t.Errorf("%s: %v, want a permission to be missing", name, err)
		}
	}
}

func TestAProbeOfAReadOnlyFolderFails(t *testing.T) {
	dir := reachableDir(t)
	s := open(t, dir)
	chmod(t, dir, 0o555)
	asOrdinaryUser(t)
	if err := s.Probe(t.Context()); !exportops.IsKind(err, exportops.KindUnavailable) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Probe: %v, want a permission to be missing", err)
	}
	if got := keys(t, dir); len(got) != 0 {
		t.Errorf("Probe left %q", got)
	}
}

// The files of /proc are regular, and not even root can delete them.
func TestAFileSystemThatRefusesIsNoSuccess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("not applicable: there is no /proc")
	}
	s := open(t, "/proc/self")
	if r := deleteOne(t, s, "status"); r.Removal != exportops.Unproven || !errors.Is(r.Err, fs.ErrPermission) {
		t.Errorf("Delete = %s, %v, want it to be refused", r.Removal, r.Err)
	}
	if err := s.Probe(t.Context()); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("Probe: %v", err)
	}
}
