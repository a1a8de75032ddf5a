package disk

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/exportops/exportops"
)

// newPrefix begins the name of an object while it is being written. A process that
// is killed meanwhile leaves the file, which is no object to anybody; Sweep removes it.
const newPrefix = reserved + "new-"

// Objects is a folder of objects that are written once, such as archives. It is
// safe for concurrent use, also by several processes.
//
// An object is written beside its place, flushed to disk, and then given its name by
// a hard link, which fails where there is one by that name.
type Objects struct{ store *Store }

var _ exportops.ObjectStore = (*Objects)(nil)

// OpenObjects opens the folder dir as Open does.
func OpenObjects(dir string) (*Objects, error) {
	s, err := Open(dir)
	if err != nil {
		return nil, err
	}
	return &Objects{s}, nil
}

// Close lets go of the folder.
func (o *Objects) Close() error { return o.store.Close() }

// ID is the file:// URL of the folder.
func (o *Objects) ID() string { return o.store.ID() }

// Create writes an object, as exportops.ObjectStore has it. It makes the folders that
// the key names.
func (o *Objects) Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	if err := o.ready(ctx, key); err != nil {
		return err
	}
	if err := exportops.CheckBody(body, size, sum); err != nil {
		return err
	}
	dir, err := o.store.makeFolder(path.Dir(key))
	if err != nil {
		return fmt.Errorf("make the folder of %q: %w", key, cause(err))
	}
	err = create(ctx, dir, key, body, size, sum)
	if closeErr := dir.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the folder of %q: %w", key, cause(closeErr))
	}
	if err != nil {
		return err
	}
	return o.store.present()
}

// ready checks what every operation takes.
func (o *Objects) ready(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkObjectKey(key); err != nil {
		return err
	}
	return o.store.present()
}

func checkObjectKey(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if strings.HasPrefix(strings.ToLower(path.Base(key)), newPrefix) {
		return fmt.Errorf("%w: names that begin with %s are reserved", exportops.ErrBadKey, newPrefix)
	}
	return nil
}

func create(ctx context.Context, dir *os.Root, key string, body io.Reader, size int64, sum [sha256.Size]byte) (err error) {
	f, unnamed, err := temporary(dir)
	if err != nil {
		return fmt.Errorf("write %q: %w", key, cause(err))
	}
	name := path.Base(key)
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("write %q: %w", key, cause(closeErr))
		}
		// Without the lock, a sweep may have been faster.
		if removeErr := dir.Remove(unnamed); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove the temporary file of %q: %w", key, cause(removeErr)))
		}
	}()
	if err := fill(ctx, f, body, size, sum); err != nil {
		return fmt.Errorf("write %q: %w", key, cause(err))
	}
	switch err := dir.Link(unnamed, name); {
	case errors.Is(err, fs.ErrExist):
		return exportops.ObjectExists(key, nil)
	case errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported):
		return &exportops.Error{
			Kind: exportops.KindUnavailable, Message: "the file system of the archive folder knows no hard links",
			Hint: "put the folder on a file system that does, such as ext4, XFS, APFS or NTFS", Err: cause(err),
		}
	case err != nil:
		return fmt.Errorf("name %q: %w", key, cause(err))
	}
	return flush(dir)
}

// fill writes a file to its end, onto the disk.
func fill(ctx context.Context, f *os.File, body io.Reader, size int64, sum [sha256.Size]byte) error {
	h := sha256.New()
	n, err := io.Copy(f, io.TeeReader(&untilEnd{ctx, body}, h))
	if err == nil && (n != size || [sha256.Size]byte(h.Sum(nil)) != sum) {
		err = errors.New("what was read is not what was announced")
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

// untilEnd reads until the context ends.
type untilEnd struct {
	ctx context.Context
	io.Reader
}

func (u *untilEnd) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// makeFolder opens a folder below the root, and makes what is missing of its path.
func (s *Store) makeFolder(dir string) (*os.Root, error) {
	at, err := s.root.OpenRoot(".")
	if err != nil || dir == "." {
		return at, err
	}
	for part := range strings.SplitSeq(dir, "/") {
		next, err := makeChild(at, part)
		if closeErr := at.Close(); err == nil && closeErr != nil {
			err = errors.Join(closeErr, next.Close())
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func makeChild(parent *os.Root, name string) (*os.Root, error) {
	switch err := parent.Mkdir(name, 0o750); {
	case err == nil:
		if err := flush(parent); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return openChild(parent, name)
}

// flush makes the names in a folder outlast a power cut.
func flush(dir *os.Root) error {
	f := folder{root: dir}
	if err := f.sync(); err != nil {
		return fmt.Errorf("flush its folder: %w", cause(err))
	}
	return nil
}

// Open opens an object, which must be a regular file.
func (o *Objects) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := o.ready(ctx, key); err != nil {
		return nil, err
	}
	f, err := o.open(key)
	switch {
	case isAbsent(err):
		if err := o.store.present(); err != nil {
			return nil, err
		}
		return nil, exportops.NoObject(key)
	case err != nil:
		return nil, fmt.Errorf("open %q: %w", key, cause(err))
	}
	return f, nil
}

func (o *Objects) open(key string) (*os.File, error) {
	dir, err := o.store.openFolder(path.Dir(key))
	if err != nil {
		return nil, err
	}
	defer dir.Close() // opened for reading
	seen, err := lstat(dir, key)
	if errors.Is(err, exportops.ErrBadKey) && seen.IsDir() {
		return nil, fs.ErrNotExist // a folder is no object
	}
	if err != nil {
		return nil, err
	}
	f, err := dir.Open(path.Base(key))
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(seen, opened) {
		err = errors.New("it was replaced while it was opened")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Delete removes an object.
func (o *Objects) Delete(ctx context.Context, key string) error {
	if err := o.ready(ctx, key); err != nil {
		return err
	}
	results, err := o.store.Delete(ctx, []exportops.FileRef{{Key: key}})
	if err != nil {
		return err
	}
	if r := results[0]; r.Err != nil {
		return fmt.Errorf("delete %q: %w", key, r.Err)
	}
	return nil
}

// ProbeCreate creates a small object twice.
func (o *Objects) ProbeCreate(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Names of ours are reserved, so that no probe is ever listed.
	dir, err := o.store.root.OpenRoot(".")
	if err == nil {
		err = o.store.present()
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	name, content := probePrefix+rand.Text(), rand.Text()
	write := func() error {
		return create(ctx, dir, name, strings.NewReader(content), int64(len(content)), sha256.Sum256([]byte(content)))
	}
	if err := write(); err != nil {
		return o.store.unusable("written to", err)
	}
	second := write()
	read, readErr := dir.ReadFile(name)
	if err := dir.Remove(name); err != nil {
		return o.store.unusable("cleaned", err)
	}
	switch {
	case readErr != nil || string(read) != content:
		return o.store.unusable("read back from", errors.Join(readErr, errors.New("a probe file did not read as it was written")))
	case second == nil:
		return exportops.OverwritesObjects(o.ID(), "put the folder on a local file system")
	case !exportops.IsKind(second, exportops.KindConflict):
		return o.store.unusable("written to", second)
	}
	return o.store.present()
}
