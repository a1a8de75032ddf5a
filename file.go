package exportops

import (
	"context"
	"errors"
	"iter"
)

// Removal says what became of one file that was to be deleted.
type Removal string

// The outcomes of a deletion, per key.
const (
	Removed  Removal = "deleted" // storage confirms that it is gone because of us
	Absent   Removal = "absent"  // storage says it was not there
	Unproven Removal = "failed"  // it may still be there; Err says why
	Replaced Removal = "changed" // the guard saw another file; it was left alone
)

// FileRef names a file that is to be deleted.
type FileRef struct {
	Key string
	// Guard, where set, lets the file be deleted only while it is still the one
	// that was claimed.
	Guard *FileGuard
}

// FileGuard describes the file that was claimed.
type FileGuard struct {
	Size     *int64 // bytes; nil when unknown
	NotAfter Time   // it was last written no later than this
	Version  string // ETag or the like where the store knows one, else ""
}

// FileResult is the outcome for one FileRef.
type FileResult struct {
	Removal Removal
	Bytes   int64 // what was freed, where the store knows it
	Err     error // set when Unproven or Replaced
}

// FileInfo describes a stored file.
type FileInfo struct {
	Exists   bool
	Size     int64
	Modified Time
	Version  string
	Err      error // why it cannot be known; Exists is then true, as it may be there
}

// ErrRootMissing is returned when the folder or bucket that holds the files
// cannot be found: never to be read as "all files are gone".
var ErrRootMissing = errors.New("the storage root is missing")

// ErrBadKey is returned for a key that could leave the root or names something
// that is no regular file.
var ErrBadKey = errors.New("the key is not acceptable")

// FileStore is where export files live.
type FileStore interface {
	// ID names the store in the ledger, such as "file:///srv/exports". It does
	// not change between runs and holds no secret.
	ID() string
	// Delete deletes files, at most MaxBatch of them, and answers for each in
	// order. The error is set, and nothing may be concluded about any file, when
	// the store as a whole could not be used (KindUnavailable, ErrRootMissing).
	Delete(ctx context.Context, refs []FileRef) ([]FileResult, error)
	// Stat describes files, in order.
	Stat(ctx context.Context, keys []string) ([]FileInfo, error)
	// Walk yields what lies under the prefix and is not ours, in the order of the
	// bytes of its key, from the first key behind after on; "" is the beginning. It
	// takes no more memory for many files than for few. An error ends it, and what
	// came before is then no complete answer: a root that is not there any more at
	// the end is one.
	Walk(ctx context.Context, after string) iter.Seq2[WalkedFile, error]
	// Check reports whether the root is there, and whether it holds nothing at
	// all. A root that cannot be read is an error.
	Check(ctx context.Context) (empty bool, err error)
	// Probe writes, reads and deletes a small file of its own under the prefix.
	Probe(ctx context.Context) error
	// MaxBatch is the most files one Delete or Stat takes.
	MaxBatch() int
}
