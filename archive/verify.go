package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Verify reads a file back and compares it with what was to be written: the SHA-256
// of its bytes, and the hashes of its rows (exportops.ArchivedRow.Hash), each in its
// place and none more or fewer. An error that want yields is returned as it is; one
// that wraps ErrCorrupt says that the file is not what it should be.
func Verify(r io.ReaderAt, size int64, sum [sha256.Size]byte, want iter.Seq2[[sha256.Size]byte, error]) error {
	from := &source{ReaderAt: r}
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(from, 0, size)); err != nil || n != size {
		return from.judge(fmt.Errorf("it has %d bytes, not %d", n, size))
	}
	if [sha256.Size]byte(h.Sum(nil)) != sum {
		return from.judge(errors.New("its SHA-256 is not what it was"))
	}
	file, err := Open(r, size)
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(want)
	defer stop()
	var n int64
	for row, err := range file.Rows() {
		if err != nil {
			return err
		}
		n++
		hash, err, more := next()
		switch {
		case err != nil:
			return err
		case !more:
			return from.judge(fmt.Errorf("it has %d rows, and fewer were expected", file.Len()))
		case hash != row.Hash():
			return from.judge(fmt.Errorf("its row %d is not the one that was archived", n))
		}
	}
	if _, err, more := next(); err != nil || more {
		if err != nil {
			return err
		}
		return from.judge(fmt.Errorf("it has %d rows, and more were expected", file.Len()))
	}
	return nil
}

// Summarize reads a whole file and says what it holds, as its Writer did.
func Summarize(r io.ReaderAt, size int64) (Summary, error) {
	from := &source{ReaderAt: r}
	s := Summary{Bytes: size}
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(from, 0, size)); err != nil || n != size {
		return Summary{}, from.judge(fmt.Errorf("it has %d bytes, not %d", n, size))
	}
	h.Sum(s.SHA256[:0])
	file, err := Open(r, size)
	if err != nil {
		return Summary{}, err
	}
	for row, err := range file.Rows() {
		if err != nil {
			return Summary{}, err
		}
		s.Rows++
		if t, ok := instant(row.Timestamp); ok {
			s.cover(t)
		}
	}
	s.RowsSHA256 = file.rows
	return s, nil
}
