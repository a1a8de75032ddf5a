package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/exportops/exportops"
)

// The bounds of what a Writer and a Reader hold in memory. A group of rows is held
// until it is complete, compressed; larger ones read a little faster.
const (
	groupRows  = 8 << 10
	groupBytes = 4 << 20 // of texts, before compression
	pageBytes  = 64 << 10
	atOnce     = 128 // rows that are handed to the encoder together
)

const (
	versionKey = "exportops.format"
	rowsKey    = "exportops.rows_sha256"
)

// Writer writes one file. It is not safe for concurrent use.
type Writer struct {
	out     *sealer
	parquet *parquet.GenericWriter[record]
	pending []record
	group   struct{ rows, bytes int }
	hashes  hash.Hash
	sum     Summary
	err     error // the first; nothing can be written after it
}

// NewWriter begins a file in w, which is written to in pieces, front to back.
func NewWriter(w io.Writer) *Writer {
	out := newSealer(w)
	return &Writer{
		out: out, hashes: sha256.New(), pending: make([]record, 0, atOnce),
		parquet: parquet.NewGenericWriter[record](out, schema,
			parquet.Compression(newThrifty()),
			parquet.DataPageVersion(1), // which every reader knows
			parquet.PageBufferSize(pageBytes),
			parquet.ColumnPageBuffers(parquet.NewChunkBufferPool(16<<10)),
			parquet.CreatedBy("exportops", strconv.Itoa(formatVersion), ""),
			parquet.KeyValueMetadata(versionKey, strconv.Itoa(formatVersion)),
			withoutBounds(),
		),
	}
}

// withoutBounds leaves out the smallest and largest value of every column but
// timestamp_utc: nobody skips by the others, and long texts would stand in the
// footer again.
func withoutBounds() parquet.WriterOption {
	c := parquet.DefaultWriterConfig()
	for _, path := range schema.Columns() {
		if path[0] != "timestamp_utc" {
			c.SkipPageBounds = append(c.SkipPageBounds, path)
			c.SkipPageStatistics = append(c.SkipPageStatistics, path)
		}
	}
	return &parquet.WriterConfig{SkipPageBounds: c.SkipPageBounds, SkipPageStatistics: c.SkipPageStatistics}
}

// Write adds a row, which it does not keep.
func (w *Writer) Write(row *exportops.ArchivedRow) error {
	if w.err != nil {
		return w.err
	}
	r := toRecord(row)
	w.pending = append(w.pending, r)
	w.group.rows++
	w.group.bytes += r.size()
	h := row.Hash()
	w.hashes.Write(h[:])
	w.sum.Rows++
	if t, ok := instant(row.Timestamp); ok {
		w.sum.cover(t)
	}
	if len(w.pending) == atOnce || w.group.bytes >= groupBytes {
		w.err = w.encode()
	}
	if w.err == nil && (w.group.rows >= groupRows || w.group.bytes >= groupBytes) {
		w.err = w.endGroup()
	}
	return w.err
}

// Close completes the file, and says what it holds. It does not close what the
// file was written to. Without it there is no file.
func (w *Writer) Close() (Summary, error) {
	if w.err != nil {
		return Summary{}, w.err
	}
	w.err = errors.New("write an archive: it is closed already")
	if err := w.encode(); err != nil {
		return Summary{}, err
	}
	if err := w.endGroup(); err != nil {
		return Summary{}, err
	}
	w.hashes.Sum(w.sum.RowsSHA256[:0])
	w.parquet.SetKeyValueMetadata(rowsKey, hex.EncodeToString(w.sum.RowsSHA256[:]))
	w.parquet.SetKeyValueMetadata(sealKey, noSeal)
	w.out.keepBack()
	if err := w.parquet.Close(); err != nil {
		return Summary{}, fmt.Errorf("write an archive: %w", err)
	}
	if err := w.out.seal(); err != nil {
		return Summary{}, fmt.Errorf("write an archive: %w", err)
	}
	w.sum.Bytes = w.out.bytes
	w.out.whole.Sum(w.sum.SHA256[:0])
	return w.sum, nil
}

func (w *Writer) encode() error {
	if _, err := w.parquet.Write(w.pending); err != nil {
		return fmt.Errorf("write an archive: %w", err)
	}
	clear(w.pending) // they hold on to rows
	w.pending = w.pending[:0]
	return nil
}

func (w *Writer) endGroup() error {
	w.group.rows, w.group.bytes = 0, 0
	if err := w.parquet.Flush(); err != nil {
		return fmt.Errorf("write an archive: %w", err)
	}
	return nil
}

func (r *record) size() int {
	n := len(r.Exact) + 100
	for s := range r.texts {
		n += len(*s)
	}
	return n
}

// cover widens the range of times by one.
func (s *Summary) cover(t time.Time) {
	from := exportops.At(t)
	to := exportops.At(t.Add(time.Millisecond - 1))
	if !s.Dated || from.Before(s.Oldest.Time) {
		s.Oldest = from
	}
	if !s.Dated || to.After(s.Newest.Time) {
		s.Newest = to
	}
	s.Dated = true
}
