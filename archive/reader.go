package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/exportops/exportops"
)

// ErrCorrupt is in the tree of every error that means that a file is not as it was
// written, or none that this program can read. Reading it again does not help; an
// error without it may be of the disk or of the network.
var ErrCorrupt = errors.New("the archive cannot be trusted")

// Reader reads one file. It is not safe for concurrent use.
type Reader struct {
	from *source
	file *parquet.File
	rows [sha256.Size]byte // what the file says of them
}

// Open reads the whole of a file once, and refuses it where a byte is not as it was
// written. r must stay as it is while the Reader is used.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	from := &source{ReaderAt: r}
	x, err := open(from, size)
	if err != nil {
		return nil, from.judge(err)
	}
	x.from = from
	return x, nil
}

func open(r io.ReaderAt, size int64) (_ *Reader, err error) {
	defer catch(&err)
	if err := checkSeal(r, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, fmt.Errorf("its footer cannot be read: %w", err)
	}
	version, _ := file.Lookup(versionKey)
	if n, err := strconv.Atoi(version); err != nil || n < 1 {
		return nil, fmt.Errorf("it is of no version of the format: %.20q", version)
	} else if n > formatVersion {
		return nil, fmt.Errorf("it is of version %d of the format, and this program reads version %d; use a newer one", n, formatVersion)
	}
	if !parquet.EqualNodes(file.Schema(), schema) {
		return nil, errors.New("its columns are not those of an archive")
	}
	x := &Reader{file: file}
	sum, _ := file.Lookup(rowsKey)
	if n, err := hex.Decode(x.rows[:], []byte(fit(sum))); err != nil || n != len(x.rows) {
		return nil, errors.New("it does not say what its rows are")
	}
	return x, nil
}

// fit keeps what is no digest from being decoded.
func fit(sum string) string {
	if len(sum) != 2*sha256.Size {
		return ""
	}
	return sum
}

// Len is the number of rows.
func (r *Reader) Len() int64 { return r.file.NumRows() }

// Rows yields the rows in the order in which they were written, each one new. An
// error ends them, and so what came before is no complete answer: only at the end
// it is known that they are the rows that were written.
func (r *Reader) Rows() iter.Seq2[*exportops.ArchivedRow, error] {
	return func(yield func(*exportops.ArchivedRow, error) bool) {
		hashes := sha256.New()
		var n int64
		stopped, err := r.each(func(row *exportops.ArchivedRow) bool {
			h := row.Hash()
			hashes.Write(h[:])
			n++
			return yield(row, nil)
		})
		switch {
		case stopped:
			return
		case err == nil && n != r.Len():
			err = fmt.Errorf("it holds %d rows and says %d", n, r.Len())
		case err == nil && [sha256.Size]byte(hashes.Sum(nil)) != r.rows:
			err = errors.New("its rows are not those that were written")
		}
		if err != nil {
			yield(nil, r.from.judge(err))
		}
	}
}

// each calls fn for each row, until it says false.
func (r *Reader) each(fn func(*exportops.ArchivedRow) bool) (stopped bool, err error) {
	buffer := make([]record, atOnce)
	for _, of := range r.file.RowGroups() {
		g, err := openGroup(of)
		if err != nil {
			return false, err
		}
		for more := true; more && !stopped; {
			var n int
			if n, more, err = g.read(buffer); err != nil {
				break
			}
			for i := range buffer[:n] {
				row, ok := buffer[i].row()
				if !ok {
					err = errors.New("a row contradicts itself")
				}
				if stopped = !ok || !fn(row); stopped {
					break
				}
			}
		}
		if err := errors.Join(err, g.close()); err != nil {
			return false, err
		}
		if stopped {
			return true, nil
		}
	}
	return false, nil
}
