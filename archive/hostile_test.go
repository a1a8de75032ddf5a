package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

// Every byte of a file, changed: none goes unnoticed, though Parquet's
// own checksums cover the pages alone.
func TestNoChangedByteGoesUnnoticed(t *testing.T) {
	rows := append(some(2), awkward()[3])
	file, sum := write(t, rows...)
	for at := range file {
		for bit := range 8 {
			if bit != at%8 && bit != 0 { // all of them take ten seconds
				continue
			}
			spoilt := slices.Clone(file)
			spoilt[at] ^= 1 << bit
			if _, err := archive.Open(bytes.NewReader(spoilt), int64(len(spoilt))); !errors.Is(err, archive.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d of %d changed, and Open says %v", bit, at, len(file), err)
			}
			if bit == 0 {
				if err := archive.Verify(bytes.NewReader(spoilt), sum.Bytes, sum.SHA256, hashes(rows)); !errors.Is(err, archive.ErrCorrupt) {
					t.Fatalf("byte %d of %d changed, and Verify says %v", at, len(file), err)
				}
			}
		}
	}
}

func TestNoMissingByteGoesUnnoticed(t *testing.T) {
	file, _ := write(t, some(2)...)
	for n := range file {
		for name, cut := range map[string][]byte{"end": file[:n], "beginning": file[len(file)-n:], "middle": slices.Delete(slices.Clone(file), n, n+1)} {
			if _, err := archive.Open(bytes.NewReader(cut), int64(len(cut))); !errors.Is(err, archive.ErrCorrupt) {
				t.Fatalf("%d bytes without the %s: Open says %v", n, name, err)
			}
		}
	}
	if _, err := archive.Open(bytes.NewReader(file[:100]), int64(len(file))); !errors.Is(err, archive.ErrCorrupt) {
		t.Errorf("a file that is shorter than it is said to be: %v", err)
	}
}

func TestWhatIsNoArchiveIsRefused(t *testing.T) {
	var other, unsealed bytes.Buffer
	check(t, parquet.Write(&other, []struct{ A string }{{"x"}}))
	check(t, parquet.Write(&unsealed, []struct{ A string }{{"x"}}, parquet.KeyValueMetadata("exportops.format", "1")))
	for name, x := range map[string]struct{ file, says string }{
		"empty":         {"", "too few"},
		"text":          {"this is not a Parquet file", "does not end as"},
		"magic_alone":   {"PAR1PAR1PAR1", "would have"},
		"other_parquet": {other.String(), "no seal"},
		"not_sealed":    {unsealed.String(), "no seal"},
		"other_columns": {sealed(t, []struct{ A string }{{"x"}}, "1"), "columns"},
		"later_version": {sealed(t, []struct{ A string }{{"x"}}, "2"), "version 2"},
		"no_version":    {sealed(t, []struct{ A string }{{"x"}}, ""), "no version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := archive.Open(strings.NewReader(x.file), int64(len(x.file)))
			if !errors.Is(err, archive.ErrCorrupt) || !strings.Contains(err.Error(), x.says) {
				t.Errorf("Open: %v, want it to say %q", err, x.says)
			}
		})
	}
}

// sealed writes a Parquet file of any rows with a seal, as somebody could who means
// harm.
func sealed[T any](tb testing.TB, rows []T, version string) string {
	tb.Helper()
	var b bytes.Buffer
	check(tb, parquet.Write(&b, rows, parquet.KeyValueMetadata("exportops.seal", strings.Repeat("0", 64)),
		parquet.KeyValueMetadata("exportops.format", version), parquet.KeyValueMetadata("exportops.rows_sha256", strings.Repeat("0", 64))))
	return string(seal(b.Bytes()))
}

// seal seals a file anew, where it finds the place.
func seal(file []byte) []byte {
	mark := []byte("exportops.seal\x18\x40")
	at := bytes.LastIndex(file, mark) + len(mark)
	if at < len(mark) || at+64 > len(file) {
		return file
	}
	copy(file[at:], strings.Repeat("0", 64))
	sum := sha256.Sum256(file)
	hex.Encode(file[at:], sum[:])
	return file
}

// Even with a right seal, a file that contradicts itself is an error and no panic,
// and rows that were not written never pass for those that were.
func TestASpoiltFileWithARightSealIsNoticed(t *testing.T) {
	rows := append(some(2), awkward()[3])
	file, sum := write(t, rows...)
	for at := range file {
		if at%11 != 0 { // each costs milliseconds; FuzzOpen goes further
			continue
		}
		spoilt := slices.Clone(file)
		spoilt[at] ^= []byte{1, 0x80, 0xff}[at%3]
		spoilt = seal(spoilt)
		got, err := read(spoilt)
		switch {
		case errors.Is(err, archive.ErrCorrupt):
			continue
		case err != nil:
			t.Fatalf("byte %d: %v", at, err)
		case len(got) != len(rows):
			t.Fatalf("byte %d changed: %d rows", at, len(got))
		}
		// It was in what says nothing about rows, such as a page index.
		for i := range got {
			if got[i].Hash() != rows[i].Hash() {
				t.Fatalf("byte %d changed: row %d is another one", at, i)
			}
		}
		err = archive.Verify(bytes.NewReader(spoilt), sum.Bytes, sum.SHA256, hashes(rows))
		if !bytes.Equal(spoilt, file) && !errors.Is(err, archive.ErrCorrupt) {
			t.Fatalf("byte %d changed, and Verify says %v", at, err)
		}
	}
}

func TestVerifyComparesEveryRow(t *testing.T) {
	rows := some(300)
	file, sum := write(t, rows...)
	other := *rows[299]
	other.ErrorMessage = text("")
	errPage := errors.New("the database is away")
	for name, want := range map[string][]*exportops.ArchivedRow{
		"one_fewer": rows[:299], "one_more": append(slices.Clone(rows), rows[0]), "none": nil,
		"another": append(slices.Clone(rows[:299]), &other), "another_order": append(slices.Clone(rows[1:]), rows[0]),
	} {
		t.Run(name, func(t *testing.T) {
			if err := archive.Verify(bytes.NewReader(file), sum.Bytes, sum.SHA256, hashes(want)); !errors.Is(err, archive.ErrCorrupt) {
				t.Errorf("Verify: %v", err)
			}
		})
	}
	for _, after := range []int{0, 10, 300} {
		err := archive.Verify(bytes.NewReader(file), sum.Bytes, sum.SHA256, func(yield func([sha256.Size]byte, error) bool) {
			for _, row := range rows[:after] {
				if !yield(row.Hash(), nil) {
					return
				}
			}
			yield([sha256.Size]byte{}, errPage)
		})
		if !errors.Is(err, errPage) || errors.Is(err, archive.ErrCorrupt) {
			t.Errorf("hashes that end in an error after %d: %v", after, err)
		}
	}
}

type broken struct {
	io.ReaderAt
	after int
}

var errNetwork = errors.New("the connection was cut")

func (b *broken) ReadAt(p []byte, off int64) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errNetwork
	}
	return b.ReaderAt.ReadAt(p, off)
}

// A broken disk is not taken for a broken archive: that would be given up.
func TestAReadThatFailsIsNoCorruption(t *testing.T) {
	rows := some(300)
	file, sum := write(t, rows...)
	for after := 0; ; after++ {
		r := &broken{bytes.NewReader(file), after}
		err := archive.Verify(r, sum.Bytes, sum.SHA256, hashes(rows))
		if r.after >= 0 {
			check(t, err)
			if after < 5 {
				t.Errorf("it took %d reads", after)
			}
			return
		}
		if !errors.Is(err, errNetwork) || errors.Is(err, archive.ErrCorrupt) {
			t.Fatalf("reading fails after %d reads: %v", after, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, rows := range [][]*exportops.ArchivedRow{nil, some(1), some(20), awkward()[:8]} {
		file, _ := write(f, rows...)
		f.Add(file)
		f.Add(file[:len(file)/2])
	}
	old, err := os.ReadFile(filepath.Join("testdata", "v1.parquet"))
	check(f, err)
	f.Add(old)
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	f.Fuzz(func(t *testing.T, file []byte) {
		file = seal(slices.Clone(file)) // else nothing would get past it
		if _, err := read(file); err != nil && !errors.Is(err, archive.ErrCorrupt) {
			t.Error(err)
		}
	})
}
