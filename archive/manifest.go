package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/exportops/exportops"
)

// Manifest says what is in an archive, and lies beside it as JSON. It holds no id
// of a user or an export.
type Manifest struct {
	Format     int             `json:"format"` // the version of file and manifest
	Key        string          `json:"key"`    // of the file, within the archive's storage
	Rows       int64           `json:"rows"`
	Oldest     *exportops.Time `json:"oldest"` // by timestamp; null where none can be read
	Newest     *exportops.Time `json:"newest"`
	Bytes      int64           `json:"bytes"`
	SHA256     string          `json:"sha256"`
	RowsSHA256 string          `json:"rows_sha256"` // of the hashes of the rows, in their order
	Columns    []Column        `json:"columns"`
	CreatedAt  exportops.Time  `json:"created_at"`
	Program    string          `json:"program"` // and its version
}

// NewManifest describes a file that was written.
func NewManifest(n Name, s Summary, createdAt exportops.Time, program string) Manifest {
	m := Manifest{
		Format: formatVersion, Key: n.Key(), Rows: s.Rows, Bytes: s.Bytes, SHA256: hex.EncodeToString(s.SHA256[:]),
		RowsSHA256: hex.EncodeToString(s.RowsSHA256[:]), Columns: columns(), CreatedAt: createdAt, Program: program,
	}
	if s.Dated {
		m.Oldest, m.Newest = &s.Oldest, &s.Newest
	}
	return m
}

// Encode returns the manifest as it is stored. It is KindInvalid where Validate is.
func (m Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write a manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// largestManifest is the most that is read of one.
const largestManifest = 1 << 20

// ParseManifest reads a manifest. What is none is KindInvalid, an error of r is
// returned as it is.
func ParseManifest(r io.Reader) (Manifest, error) {
	var m Manifest
	b, err := io.ReadAll(io.LimitReader(r, largestManifest+1))
	switch {
	case err != nil:
		return m, fmt.Errorf("read a manifest: %w", err)
	case len(b) > largestManifest:
		return m, exportops.Invalid("manifest", "it has more than %d bytes", largestManifest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&m); err != nil {
		return Manifest{}, exportops.Invalid("manifest", "it is not the JSON of one: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, exportops.Invalid("manifest", "something follows its JSON")
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Validate reports what of a manifest contradicts itself, as KindInvalid.
func (m Manifest) Validate() error {
	n, err := ParseKey(m.Key)
	if err != nil || n.Key() != m.Key {
		return notAKey(m.Key)
	}
	sum, err := digest("sha256", m.SHA256)
	if err != nil {
		return err
	}
	if _, err := digest("rows_sha256", m.RowsSHA256); err != nil {
		return err
	}
	switch {
	case m.Format != formatVersion:
		return exportops.Invalid("format", "it is of version %d, and this program knows version %d", m.Format, formatVersion)
	case n.Check != [4]byte(sum[:4]):
		return exportops.Invalid("sha256", "it is not that of the key %s", m.Key)
	case m.Rows < 1:
		return exportops.Invalid("rows", "an archive has at least one, not %d", m.Rows)
	case m.Bytes < 1:
		return exportops.Invalid("bytes", "a file has more than %d", m.Bytes)
	case (m.Oldest == nil) != (m.Newest == nil):
		return exportops.Invalid("oldest", "it comes with newest, or neither does")
	case m.Oldest != nil && m.Newest.Before(m.Oldest.Time):
		return exportops.Invalid("newest", "%s is before the oldest, %s", m.Newest, m.Oldest)
	case m.Oldest != nil && (m.Oldest.Before(n.Start().Time) || m.Newest.After(n.End().Time)):
		return exportops.Invalid("oldest", "from %s to %s is not the month of the key %s", m.Oldest, m.Newest, m.Key)
	case len(m.Columns) == 0:
		return exportops.Invalid("columns", "there are none")
	case m.CreatedAt.IsZero():
		return exportops.Invalid("created_at", "it is missing")
	case m.Program == "":
		return exportops.Invalid("program", "it is missing")
	}
	return nil
}

// Describes reports, as an error that wraps ErrCorrupt, where a file is another one
// than the manifest describes.
func (m Manifest) Describes(s Summary) error {
	switch {
	case m.SHA256 != hex.EncodeToString(s.SHA256[:]):
		return fmt.Errorf("%w: its SHA-256 is not that of its manifest", ErrCorrupt)
	case m.Bytes != s.Bytes || m.Rows != s.Rows:
		return fmt.Errorf("%w: it has %d rows and %d bytes, and its manifest says %d and %d", ErrCorrupt, s.Rows, s.Bytes, m.Rows, m.Bytes)
	case m.RowsSHA256 != hex.EncodeToString(s.RowsSHA256[:]):
		return fmt.Errorf("%w: its rows are not those of its manifest", ErrCorrupt)
	}
	return nil
}

func digest(field, s string) (sum [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(sum) || hex.EncodeToString(b) != s {
		return sum, exportops.Invalid(field, "%.80q is no SHA-256 in lower-case hexadecimal digits", s)
	}
	return [sha256.Size]byte(b), nil
}
