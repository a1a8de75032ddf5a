package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/exportops/exportops"
)

// spool is a temporary file, so that memory stays flat however large an archive is.
// It has no name where the system allows that: a process that dies leaves nothing.
type spool struct{ *os.File }

func newSpool(dir string) (spool, error) {
	f, err := os.CreateTemp(dir, "exportops-archive-*")
	if err != nil {
		return spool{}, &exportops.Error{
			Kind:    exportops.KindUnavailable,
			Message: "no temporary file can be made for an archive", Err: err,
			Hint: "make room, or name a folder that can be written to in TMPDIR",
		}
	}
	_ = os.Remove(f.Name()) // where an open file cannot be removed, close does
	return spool{f}, nil
}

func (s spool) close() error {
	err := s.Close()
	if gone := os.Remove(s.Name()); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// fetch reads an object into a spool, one byte more than it should have at most,
// and returns its size and SHA-256.
func fetch(ctx context.Context, objects exportops.ObjectStore, key string, into spool, most int64) (n int64, sum [sha256.Size]byte, err error) {
	body, err := objects.Open(ctx, key)
	if err != nil {
		return 0, sum, err
	}
	h := sha256.New()
	n, err = io.Copy(io.MultiWriter(into, h), io.LimitReader(body, most+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return n, sum, fmt.Errorf("read %s back: %w", key, err)
	}
	h.Sum(sum[:0])
	return n, sum, nil
}
