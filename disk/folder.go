package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/exportops/exportops"
)

// folder is one folder of a batch: it is opened once for all of its files.
type folder struct {
	path  string // "." for the root
	files []int  // positions in the batch, in order
	root  *os.Root
}

// byFolder groups a batch. A key that is not acceptable goes to reject instead.
func byFolder(n int, key func(i int) string, reject func(i int, err error)) []*folder {
	var folders []*folder
	seen := make(map[string]*folder)
	for i := range n {
		if err := checkKey(key(i)); err != nil {
			reject(i, err)
			continue
		}
		dir := path.Dir(key(i))
		f := seen[dir]
		if f == nil {
			f = &folder{path: dir}
			seen[dir] = f
			folders = append(folders, f)
		}
		f.files = append(f.files, i)
	}
	return folders
}

func checkKey(key string) error {
	if err := exportops.CheckKey(key); err != nil {
		return err
	}
	// Some file systems take no notice of case.
	if isReserved(key) {
		return fmt.Errorf("%w: names that begin with %s are reserved", exportops.ErrBadKey, reserved)
	}
	return nil
}

// openFolder opens a folder below the root, one part at a time: os.Root by
// itself follows symbolic links that stay inside.
func (s *Store) openFolder(dir string) (*os.Root, error) {
	at, err := s.root.OpenRoot(".")
	if err != nil || dir == "." {
		return at, err
	}
	for part := range strings.SplitSeq(dir, "/") {
		next, err := openChild(at, part)
		if closeErr := at.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func openChild(parent *os.Root, name string) (*os.Root, error) {
	info, err := parent.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		return nil, syscall.ENOTDIR // a file's name, so nothing lies below it
	case !info.IsDir():
		return nil, fmt.Errorf("%w: its folder %q is %s", exportops.ErrBadKey, name, describe(info.Mode()))
	}
	child, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	// The folder may have become a link to another one in between.
	opened, err := child.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("its folder %q was replaced while it was opened", name)
	}
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return child, nil
}

// lstat describes a regular file; anything else by that name is ErrBadKey.
func lstat(dir *os.Root, key string) (fs.FileInfo, error) {
	info, err := dir.Lstat(path.Base(key))
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is %s, not a regular file", exportops.ErrBadKey, describe(info.Mode()))
	}
	return info, err
}

func describe(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "of an unknown kind"
}

// isAbsent reports whether err proves that there is no such file. A name that
// the file system cannot hold is no file's.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// cause drops the path from an error of the os package: it is relative to some
// folder of ours, and the caller knows the key.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// sync makes what was deleted from the folder stay deleted after a power cut:
// the ledger that says so is on disk by then. Where a file system cannot do
// that for a folder, it keeps its own promise or none.
func (f *folder) sync() error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be flushed there
	}
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	if closeErr := dir.Close(); err == nil {
		err = closeErr
	}
	return err
}

// empty reports whether the root holds nothing but what a probe left behind
// that was killed.
func (s *Store) empty() (bool, error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return false, err
	}
	defer dir.Close() // opened for reading: nothing to lose
	for {
		names, err := dir.Readdirnames(64)
		for _, name := range names {
			if !strings.HasPrefix(name, probePrefix) {
				return false, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

// inParallel calls do for every folder, for some of them at a time. File
// systems lock a folder while one of its names is removed, so folders and not
// files are the unit.
func inParallel(atOnce int, folders []*folder, do func(*folder)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(folders), atOnce) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(folders)); i = next.Add(1) - 1 {
				do(folders[i])
			}
		})
	}
	workers.Wait()
}
