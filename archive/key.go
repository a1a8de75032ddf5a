package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/exportops/exportops"
)

// Folder begins the keys of all archives of log rows.
const Folder = "export_logs/"

// Name is what the key of an archive says. It names no user and no export.
type Name struct {
	Year     int        // of the rows' timestamps, in UTC
	Month    time.Month // likewise
	Sequence int64      // of the archives of the month, from 1
	// Check is the beginning of the file's SHA-256.
	Check [4]byte
}

// NameOf names a file that holds rows of a month.
func NameOf(month exportops.Time, sequence int64, sum [sha256.Size]byte) Name {
	t := month.UTC()
	return Name{Year: t.Year(), Month: t.Month(), Sequence: sequence, Check: [4]byte(sum[:4])}
}

// Key is where the file lies, such as
// export_logs/year=2025/month=10/000001-5f70bf18.parquet: query engines take year
// and month for columns. Keys sort by month and sequence.
func (n Name) Key() string { return n.path() + ".parquet" }

// ManifestKey is where its manifest lies.
func (n Name) ManifestKey() string { return n.path() + ".json" }

func (n Name) path() string {
	return fmt.Sprintf("%syear=%04d/month=%02d/%06d-%x", Folder, n.Year, int(n.Month), n.Sequence, n.Check)
}

// Start is the first instant of the month.
func (n Name) Start() exportops.Time {
	return exportops.At(time.Date(n.Year, n.Month, 1, 0, 0, 0, 0, time.UTC))
}

// End is the first instant of the month after it.
func (n Name) End() exportops.Time { return exportops.At(n.Start().AddDate(0, 1, 0)) }

var keyForm = regexp.MustCompile(`^export_logs/year=([0-9]{4})/month=([0-9]{2})/([0-9]{6,18})-([0-9a-f]{8})\.(?:parquet|json)$`)

// ParseKey reads the key of an archive or of a manifest; others are KindInvalid.
func ParseKey(key string) (Name, error) {
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		return Name{}, notAKey(key)
	}
	var n Name
	month := 0
	for to, digits := range map[*int]string{&n.Year: m[1], &month: m[2]} {
		*to, _ = strconv.Atoi(digits) // the form holds digits alone, and few
	}
	n.Month = time.Month(month)
	n.Sequence, _ = strconv.ParseInt(m[3], 10, 64)
	check, _ := hex.DecodeString(m[4])
	n.Check = [4]byte(check)
	if n.Month < time.January || n.Month > time.December || n.Sequence < 1 || n.Key() != key && n.ManifestKey() != key {
		return Name{}, notAKey(key)
	}
	return n, nil
}

func notAKey(key string) error {
	return exportops.Invalid("key", "%.100q is not the key of an archive, such as export_logs/year=2025/month=10/000001-5f70bf18.parquet", key)
}
