package archive

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// group reads one group of rows.
type group struct {
	*parquet.GenericReader[record]
}

func openGroup(of parquet.RowGroup) (g group, err error) {
	defer catch(&err)
	return group{parquet.NewGenericRowGroupReader[record](of, schema)}, nil
}

// read fills the buffer, and says whether there may be more.
func (g group) read(buffer []record) (n int, more bool, err error) {
	defer catch(&err)
	clear(buffer) // what is missing in a record is left as it is
	n, err = g.Read(buffer)
	switch {
	case errors.Is(err, io.EOF):
		return n, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("its rows cannot be read: %w", err)
	case n == 0:
		return 0, false, io.ErrNoProgress
	}
	return n, true, nil
}

func (g group) close() (err error) {
	defer catch(&err)
	return g.Close()
}

// catch makes an error of a panic: the decoder has some for files that contradict
// themselves.
func catch(err *error) {
	if p := recover(); p != nil { //nolint:revive // it is what callers defer
		*err = fmt.Errorf("it contradicts itself: %v", p)
	}
}

// source notes whether reading failed, so that a broken disk is not taken for a
// broken file.
type source struct {
	io.ReaderAt
	err error
}

// ReadAt reads as the interface says.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("it points to before its beginning")
	}
	n, err := s.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = err
	}
	return n, err
}

// judge says of an error what is to be thought of the file.
func (s *source) judge(err error) error {
	if s.err != nil {
		return fmt.Errorf("read an archive: %w", s.err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
