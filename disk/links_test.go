//go:build unix

package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/disk"
)

// outside is a folder beside the root, with a file that must survive.
func outside(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	put(t, dir, "a", []byte("not ours"))
	return dir, filepath.Join(dir, "a")
}

func TestOnlyRegularFilesAreDeleted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, file := outside(t)
	put(t, dir, "target", nil)
	check(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	check(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, to := range map[string]string{
		"link": "target", "dangling": "nowhere", "escaping": "../" + filepath.Base(filepath.Dir(file)) + "/a", "absolute": file,
	} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	for _, name := range []string{"link", "dangling", "escaping", "absolute", "folder", "pipe"} {
		expectLeftAlone(t, s, name)
		expectExists(t, filepath.Join(dir, name))
	}
	expectExists(t, filepath.Join(dir, "target"))
	expectExists(t, file)
}

func TestLinkedFoldersAreNotEntered(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	other, file := outside(t)
	put(t, dir, "real/sub/a", nil)
	for name, to := range map[string]string{"inside": "real", "escaping": "../" + filepath.Base(other), "absolute": other, "up": ".."} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	check(t, os.Symlink("../real/sub", filepath.Join(dir, "real", "loop")))
	for _, key := range []string{"inside/sub/a", "escaping/a", "absolute/a", "up/a", "real/loop/a"} {
		expectLeftAlone(t, s, key)
	}
	expectExists(t, filepath.Join(dir, "real", "sub", "a"))
	expectExists(t, file)
}

func TestTheRootItselfMayBeALink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(dir, link))
	s := open(t, link)
	put(t, dir, "a", nil)
	if r := deleteOne(t, s, "a"); r.Removal != exportops.Removed {
		t.Errorf("Delete = %s, %v", r.Removal, r.Err)
	}
	// Pointed elsewhere, it is another folder.
	check(t, os.Remove(link))
	check(t, os.Symlink(t.TempDir(), link))
	if _, err := s.Delete(t.Context(), []exportops.FileRef{{Key: "a"}}); !errors.Is(err, exportops.ErrRootMissing) {
		t.Errorf("Delete in another folder: %v, want ErrRootMissing", err)
	}
}

func TestAReplacedRootIsNoticed(t *testing.T) {
	replace := map[string]func(dir string) error{
		"renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
		"replaced_by_file": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.WriteFile(dir, nil, 0o600))
		},
		"replaced_by_folder": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.Mkdir(dir, 0o755))
		},
		"deleted_and_made_again": func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755))
		},
	}
	for name, do := range replace {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "exports")
			put(t, dir, "a", nil)
			s := open(t, dir)
			check(t, do(dir))
			expectRootMissing(t, s)
		})
		t.Run(name+"_during_a_batch", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "exports")
			put(t, dir, "a", nil)
			s := open(t, dir)
			ctx := &asking{Context: t.Context(), ask: sync.OnceFunc(func() { check(t, do(dir)) })}
			results, err := s.Delete(ctx, []exportops.FileRef{{Key: "gone"}, {Key: "a"}})
			if !errors.Is(err, exportops.ErrRootMissing) || results != nil {
				t.Errorf("Delete = %+v, %v, want nothing but ErrRootMissing", results, err)
			}
		})
	}
}

func expectRootMissing(t *testing.T, s *disk.Store) {
	t.Helper()
	_, deleteErr := s.Delete(t.Context(), []exportops.FileRef{{Key: "a"}})
	_, statErr := s.Stat(t.Context(), []string{"a"})
	_, checkErr := s.Check(t.Context())
	for name, err := range map[string]error{"Delete": deleteErr, "Stat": statErr, "Check": checkErr, "Probe": s.Probe(t.Context())} {
		if !errors.Is(err, exportops.ErrRootMissing) || !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Errorf("%s: %v, want ErrRootMissing", name, err)
		}
	}
}

func TestACancelledBatchKeepsWhatItKnows(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, dir, "a", nil)
	put(t, dir, "c", nil)
	inner, cancel := context.WithCancel(t.Context())
	// The context is asked before each file: "b" is where it ends.
	asked := 0
	ctx := &asking{Context: inner, ask: func() {
		if asked++; asked == 2 {
			cancel()
		}
	}}
	results, err := s.Delete(ctx, []exportops.FileRef{{Key: "a"}, {Key: "b"}, {Key: "c"}})
	if err != nil || len(results) != 3 {
		t.Fatalf("Delete = %+v, %v", results, err)
	}
	if results[0].Removal != exportops.Removed {
		t.Errorf("the file before = %+v", results[0])
	}
	for _, r := range results[1:] {
		if r.Removal != exportops.Unproven || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("a file after = %+v, want the context's error", r)
		}
	}
	expectExists(t, filepath.Join(dir, "c"))
}

// asking is a context that does something whenever it is asked, which is in the
// middle of a batch.
type asking struct {
	context.Context
	ask func()
}

func (c *asking) Err() error {
	c.ask()
	return c.Context.Err()
}

// A user who may write below the root swaps a folder for a link while batches
// run. Whatever the moment, nothing outside is touched.
func TestSwappingAFolderForALinkLeadsNowhere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	other, file := outside(t)
	put(t, dir, "u/a", nil)
	u, aside := filepath.Join(dir, "u"), filepath.Join(dir, "aside")
	folder, err := os.OpenRoot(u) // goes on meaning the folder while it moves
	check(t, err)
	defer folder.Close()

	stop := make(chan struct{})
	swapErr := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				close(swapErr)
				return
			default:
			}
			if err := errors.Join(os.Rename(u, aside), os.Symlink(other, u), os.Remove(u), os.Rename(aside, u)); err != nil {
				swapErr <- err
				return
			}
		}
	}()
	outcomes := make(map[exportops.Removal]int)
	met := func() bool { return outcomes[exportops.Removed] > 0 && outcomes[exportops.Unproven] > 0 }
	for i := 0; i < 2000 || i < 100_000 && !met(); i++ {
		outcomes[deleteOne(t, s, "u/a").Removal]++
		check(t, folder.WriteFile("a", nil, 0o600))
	}
	close(stop)
	check(t, <-swapErr)
	expectExists(t, file)
	if !met() {
		t.Errorf("the swap and the batches did not meet: %v", outcomes)
	}
}
