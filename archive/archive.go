// Package archive writes log rows to Parquet files and reads them back. DuckDB,
// Athena and Spark read the files as they are; this package besides proves that
// they hold what was put in.
//
// A file begins its life at a [Writer], which says in a [Summary] what it wrote.
// [Open] refuses a file of which any byte is not as it was written, and the rows it
// hands out are compared with a digest of those that went in; [Verify] compares
// them with hashes that were noted elsewhere. A [Manifest] lies beside each file and
// says what is in it, without naming a user or an export; [Key] says where both lie.
//
// The texts of a row are kept as texts, times included: a database may hold some
// that are no times, and an archive gives back exactly what was there. Beside the
// text of timestamp stands timestamp_utc, a real timestamp to filter by, which is
// null where the text is none. Texts that are no UTF-8 would make the file
// unreadable for others: the columns hold them with U+FFFD in place of what is
// wrong, and the column exact holds the whole row as it was.
package archive

import (
	"crypto/sha256"

	"github.com/exportops/exportops"
)

// Summary says what a file holds.
type Summary struct {
	Rows  int64
	Bytes int64 // of the file
	// SHA256 is of the file.
	SHA256 [sha256.Size]byte
	// RowsSHA256 is of the hashes of its rows, in their order: two files that hold
	// the same have it in common, whatever wrote them.
	RowsSHA256 [sha256.Size]byte
	// Oldest and Newest bound the timestamps of its rows that can be read, where Dated
	// says that there are some. They are cut to milliseconds, outwards.
	Oldest, Newest exportops.Time
	Dated          bool
}
