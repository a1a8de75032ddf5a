package exportops

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
)

// ArchivedRow is one row of the export logs as an archive keeps it, with the
// metric that its export counts as. Texts and times are as the database holds
// them, times in RFC 3339 and UTC wherever they can be read: any program may have
// written them.
type ArchivedRow struct {
	ID                string          `json:"id"`
	ExportID          string          `json:"export_id"`
	UserID            string          `json:"user_id"`
	Timestamp         string          `json:"timestamp"`
	Format            string          `json:"format"`
	Config            string          `json:"config"`
	ConversationCount int64           `json:"conversation_count"`
	FileSize          *int64          `json:"file_size"`
	Status            string          `json:"status"`
	FileURL           *string         `json:"file_url"`
	ExpiresAt         *string         `json:"expires_at"`
	ErrorMessage      *string         `json:"error_message"`
	CreatedAt         string          `json:"created_at"`
	UpdatedAt         string          `json:"updated_at"`
	DownloadedCount   *int64          `json:"downloaded_count"` // nil in installs without the column
	Metric            *ArchivedMetric `json:"metric"`           // nil where the export has none
}

// ArchivedMetric is the outcome of an export as it was counted.
type ArchivedMetric struct {
	Status            string  `json:"status"`
	Source            string  `json:"source"`
	Attempt           int64   `json:"attempt"`
	Format            string  `json:"format"`
	ConversationCount int64   `json:"conversation_count"`
	DurationMS        *int64  `json:"duration_ms"`
	FileSizeBytes     *int64  `json:"file_size_bytes"`
	ErrorType         *string `json:"error_type"`
	ErrorMessage      *string `json:"error_message"`
	Timestamp         string  `json:"timestamp"`
	CountedHour       *string `json:"counted_hour"`
}

// Object is something stored in an ObjectStore.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified Time
}

// ObjectStore is where archives live: a folder, or a bucket with a prefix. Keys are
// relative to it, and go through CheckKey.
type ObjectStore interface {
	// ID names the store, such as "file:///srv/archive", without any secret.
	ID() string
	// Create writes an object under a key that nothing has yet, all of it or
	// nothing. KindConflict says that there is an object already, which is left as
	// it is. Success means that storage has acknowledged the whole.
	Create(ctx context.Context, key string, body io.ReadSeeker, size int64, sum [sha256.Size]byte) error
	// Open reads an object; KindNotFound where there is none.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// List yields the objects whose keys begin with prefix, in the order of their
	// keys. An error ends it: what came before is then no complete answer.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes an object. That it was not there is no error; that it may be
	// there still is one.
	Delete(ctx context.Context, key string) error
	// Sweep removes what processes left that died while they wrote an object, and names
	// what is being written by others. No List has either.
	Sweep(ctx context.Context) (writing []string, err error)
	// ProbeCreate writes, reads and removes a small object of its own, and fails
	// where a second Create of the same key is not refused: archives would then
	// not be safe from being overwritten.
	ProbeCreate(ctx context.Context) error
}

// CheckBody reads the body of an object that is to be created, and rewinds it. It is
// KindInvalid when that is not of the size and the SHA-256 that it is said to be: a
// store calls it first, so that nothing else is ever sent.
func CheckBody(body io.ReadSeeker, size int64, sum [sha256.Size]byte) error {
	h := sha256.New()
	_, err := body.Seek(0, io.SeekStart)
	if err != nil {
		return fmt.Errorf("rewind what is to be written: %w", err)
	}
	n, err := io.Copy(h, body)
	if err != nil {
		return fmt.Errorf("read what is to be written: %w", err)
	}
	if n != size || [sha256.Size]byte(h.Sum(nil)) != sum {
		return Invalid("body", "what is to be written is not of the size and the SHA-256 that it should be: %d bytes, not %d", n, size)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind what is to be written: %w", err)
	}
	return nil
}

// ObjectExists is the error of Create for a key that has an object: KindConflict.
func ObjectExists(key string, cause error) error {
	return &Error{Kind: KindConflict, Message: fmt.Sprintf("there is an object %.200q already, and it was left as it is", key), Err: cause}
}

// NoObject is the error of Open for a key that has none: KindNotFound.
func NoObject(key string) error {
	return &Error{Kind: KindNotFound, Message: fmt.Sprintf("there is no object %.200q", key)}
}

// OverwritesObjects is the error of ProbeCreate for a store that let an object be
// overwritten.
func OverwritesObjects(id, hint string) error {
	return &Error{
		Kind: KindUnavailable, Message: id + " lets an object be overwritten that was to be created, so archives would not be safe in it", Hint: hint,
	}
}
