// Package disk keeps export files in a folder of the local file system.
//
// Every access goes through os.Root, so no key and no symbolic link leads out
// of the folder. A file has exactly one key: symbolic links are not followed
// within the folder either, else a file that one export still needs could be
// deleted under another name. Only regular files are deleted.
//
// Folders that a deletion leaves empty stay: an application may be about to
// write into one, and they show that the volume is mounted.
//
// A file that is written under the same key between the look at it and its
// deletion, some microseconds later, is deleted: POSIX knows no conditional
// unlink.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/exportops/exportops"
)

// MarkerFile is the name of a file that an operator may put into a folder that
// is meant to hold no exports yet: with it the folder does not count as empty,
// and so not as an unmounted volume.
const MarkerFile = reserved + "root"

// reserved begins the names in the root that are ours and never an export.
const reserved = ".exportops-"

// maxBatch is the batch of the other stores too.
const maxBatch = 1000

// Store is a folder of export files. It is safe for concurrent use.
type Store struct {
	dir  string // absolute
	root *os.Root
	self fs.FileInfo // which folder root is
}

var _ exportops.FileStore = (*Store)(nil)

// Open opens the folder dir, which it does not create. A folder that is not
// there is ErrRootMissing. The folder stays open until Close, so that it cannot
// be taken for another one that appears in its place.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, exportops.Invalid("", "the storage folder has no name")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the storage folder %q: %w", dir, err)
	}
	s := &Store{dir: abs}
	if s.self, err = s.look(); err != nil {
		return nil, err
	}
	if s.root, err = os.OpenRoot(abs); err != nil {
		return nil, s.unusable("opened", err)
	}
	// What was opened may no longer be what was looked at.
	if s.self, err = s.root.Stat("."); err != nil {
		return nil, errors.Join(s.unusable("read", err), s.root.Close())
	}
	if err := s.present(); err != nil {
		return nil, errors.Join(err, s.root.Close())
	}
	return s, nil
}

// Close lets go of the folder.
func (s *Store) Close() error { return s.root.Close() }

// ID is the file:// URL of the folder.
func (s *Store) ID() string {
	path := filepath.ToSlash(s.dir)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/exports
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// MaxBatch is the most files one Delete or Stat takes.
func (s *Store) MaxBatch() int { return maxBatch }

// look describes what is at the folder's path now.
func (s *Store) look() (fs.FileInfo, error) {
	info, err := os.Stat(s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil, s.missing("is missing")
	case err != nil:
		return nil, s.unusable("read", err)
	case !info.IsDir():
		return nil, s.missing("is not a folder")
	}
	return info, nil
}

// present makes sure that the folder's path still leads to the folder that was
// opened. After it was unmounted, renamed or replaced, files seem to be gone
// that are not.
func (s *Store) present() error {
	info, err := s.look()
	if err == nil && !os.SameFile(info, s.self) {
		err = s.missing("was replaced by another one since it was opened")
	}
	return err
}

func (s *Store) missing(what string) error {
	return &exportops.Error{
		Kind:    exportops.KindUnavailable,
		Message: fmt.Sprintf("the storage folder %q %s", s.dir, what),
		Hint:    "create or mount it, then start exportops again",
		Err:     exportops.ErrRootMissing,
	}
}

func (s *Store) unusable(verb string, err error) error {
	return &exportops.Error{
		Kind:    exportops.KindUnavailable,
		Message: fmt.Sprintf("the storage folder %q cannot be %s", s.dir, verb),
		Hint:    "check that this process may read and write the folder",
		Err:     cause(err),
	}
}

func checkBatch(n int) error {
	if n <= maxBatch {
		return nil
	}
	return &exportops.Error{Kind: exportops.KindTooLarge, Message: strconv.Itoa(n) + " files are more than one call takes, " + strconv.Itoa(maxBatch)}
}

// Check reports whether the folder holds nothing at all, as the mount point of
// a volume that is not mounted does. A marker file and empty folders count as
// something.
func (s *Store) Check(ctx context.Context) (empty bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := s.present(); err != nil {
		return false, err
	}
	if empty, err = s.empty(); err != nil {
		return false, s.unusable("read", err)
	}
	return empty, s.present()
}
