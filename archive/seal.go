package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// A file is sealed by a digest of all its bytes, which stands in its footer as 64
// hexadecimal digits and is taken over the file with zeros in their place. So the
// file needs nothing beside it to show that not a byte of it has changed. Parquet's
// own checksums do not cover its footer and its indexes, by which others skip what
// a query need not read.
const (
	sealKey   = "exportops.seal"
	sealWidth = 2 * sha256.Size
)

var noSeal = strings.Repeat("0", sealWidth)

const (
	parquetMagic  = "PAR1"
	trailerSize   = 8 // the footer's length, and the magic word again
	largestFooter = 256 << 20
)

// sealer passes a file on, keeps back its end, and puts the seal into that.
type sealer struct {
	to     io.Writer
	whole  hash.Hash // of the file
	sealed hash.Hash // of the file with zeros for the seal
	bytes  int64
	end    *bytes.Buffer // from the indexes on, once they are being written
}

func newSealer(to io.Writer) *sealer {
	return &sealer{to: to, whole: sha256.New(), sealed: sha256.New()}
}

func (s *sealer) Write(p []byte) (int, error) {
	if s.end != nil {
		return s.end.Write(p)
	}
	s.sealed.Write(p)
	return s.pass(p)
}

func (s *sealer) pass(p []byte) (int, error) {
	s.whole.Write(p)
	n, err := s.to.Write(p)
	s.bytes += int64(n)
	return n, err
}

// keepBack begins the end of the file.
func (s *sealer) keepBack() { s.end = &bytes.Buffer{} }

// seal writes the end of the file, sealed.
func (s *sealer) seal() error {
	end := s.end.Bytes()
	at, err := findSeal(end)
	if err != nil {
		return err
	}
	s.sealed.Write(end)
	hex.Encode(end[at:at+sealWidth], s.sealed.Sum(nil))
	_, err = s.pass(end)
	return err
}

// findSeal returns where in the end of a file the digits of the seal are. Rows may
// hold anything, so it is the last such place: what follows the metadata in a
// footer is never a row's.
func findSeal(end []byte) (int, error) {
	// In Thrift's compact form: the key, the type of the next field, its length.
	mark := append([]byte(sealKey), 0x18, sealWidth)
	at := bytes.LastIndex(end, mark)
	if at < 0 || at+len(mark)+sealWidth > len(end) {
		return 0, errors.New("it has no seal, so exportops did not write it, or not to its end")
	}
	return at + len(mark), nil
}

// checkSeal reads the whole file and compares it with its seal.
func checkSeal(r io.ReaderAt, size int64) error {
	end, err := readEnd(r, size)
	if err != nil {
		return err
	}
	at, err := findSeal(end)
	if err != nil {
		return err
	}
	seal := string(end[at : at+sealWidth])
	copy(end[at:], noSeal)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size-int64(len(end)))); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	h.Write(end)
	if seal != hex.EncodeToString(h.Sum(nil)) {
		return errors.New("its bytes are not those that were written")
	}
	return nil
}

// readEnd returns the footer and what follows it.
func readEnd(r io.ReaderAt, size int64) ([]byte, error) {
	var trailer [trailerSize]byte
	if size < int64(len(parquetMagic))+trailerSize {
		return nil, fmt.Errorf("it has %d bytes, too few for a Parquet file", size)
	}
	if err := readFull(r, trailer[:], size-trailerSize); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(trailer[:4]))
	if string(trailer[4:]) != parquetMagic {
		return nil, errors.New("it does not end as a Parquet file does: it is none, or was cut off")
	}
	if length > largestFooter || length > size-trailerSize-int64(len(parquetMagic)) {
		return nil, fmt.Errorf("its footer would have %d bytes of %d", length, size)
	}
	end := make([]byte, length+trailerSize)
	return end, readFull(r, end, size-int64(len(end)))
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read it: %w", err)
}
