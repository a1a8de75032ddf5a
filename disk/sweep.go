package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// errLocked says that another process, or another writer of this one, is at work on a
// file.
var errLocked = errors.New("it is being written")

// longestWrite is how long a file counts as being written that cannot be locked.
const longestWrite = time.Hour

// temporary makes a file for an object that is being written, and locks it: a sweep
// tells by the lock who died.
func temporary(dir *os.Root) (f *os.File, name string, err error) {
	for range 10 {
		name = newPrefix + rand.Text()
		if f, err = dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640); err != nil {
			return nil, "", err
		}
		if err = lock(f); err == nil || errors.Is(err, errors.ErrUnsupported) {
			if err = sameFile(dir, name, f); err == nil {
				return f, name, nil
			}
		}
		// A sweep came in between.
		err = errors.Join(err, f.Close())
		if gone := dir.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			return nil, "", errors.Join(err, gone)
		}
	}
	return nil, "", err
}

// sameFile reports why a name is not that of an open file.
func sameFile(dir *os.Root, name string, f *os.File) error {
	seen, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(seen, opened) {
		err = fs.ErrNotExist
	}
	return err
}

// Sweep implements exportops.ObjectStore: a process that was killed while it wrote left
// a file, which may have all of an object in it.
func (o *Objects) Sweep(ctx context.Context) (writing []string, err error) {
	if err := o.store.present(); err != nil {
		return nil, err
	}
	if writing, err = o.sweep(ctx, "."); err != nil {
		return nil, err
	}
	return writing, o.store.present()
}

func (o *Objects) sweep(ctx context.Context, in string) (writing []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := o.store.openFolder(in)
	if isAbsent(err) || errors.Is(err, exportops.ErrBadKey) {
		return nil, nil // gone meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", in, cause(err))
	}
	defer dir.Close() // what was removed is flushed
	entries, err := readDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", in, cause(err))
	}
	removed := false
	for _, e := range entries {
		key := path.Join(in, e.Name())
		if e.IsDir() {
			below, err := o.sweep(ctx, key)
			if err != nil {
				return nil, err
			}
			writing = append(writing, below...)
			continue
		}
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		switch err := removeDead(dir, e.Name()); {
		case errors.Is(err, errLocked):
			writing = append(writing, key)
		case err != nil:
			return nil, fmt.Errorf("remove %q, which a process left that was killed while it wrote: %w", key, cause(err))
		default:
			removed = true
		}
	}
	if removed {
		return writing, flush(dir)
	}
	return writing, nil
}

// removeDead removes what is left of an object, unless somebody is writing it.
func removeDead(dir *os.Root, name string) error {
	f, err := dir.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written to it
	err = lock(f)
	if errors.Is(err, errors.ErrUnsupported) {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && time.Since(info.ModTime()) < longestWrite {
			err = errLocked
		}
	}
	if err == nil {
		err = dir.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
