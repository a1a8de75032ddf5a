package exportops

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// Format is the file format of an export.
type Format string

// The formats an export can have.
const (
	JSON     Format = "json"
	JSONL    Format = "jsonl"
	CSV      Format = "csv"
	Markdown Format = "markdown"
)

// Formats lists every format, in the order they are shown.
var Formats = []Format{JSON, JSONL, CSV, Markdown}

// Status is the state of an export.
type Status string

// The states of an export.
const (
	Queued     Status = "queued"
	Processing Status = "processing"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Expired    Status = "expired"
)

// Statuses lists every status, in the order an export passes through them.
var Statuses = []Status{Queued, Processing, Completed, Failed, Expired}

// InProgress reports whether the export has no outcome yet.
func (s Status) InProgress() bool { return s == Queued || s == Processing }

// Export is one row of export_logs.
type Export struct {
	ID                string          `json:"id"`
	ExportID          string          `json:"export_id"`
	UserID            string          `json:"user_id"`
	Timestamp         Time            `json:"timestamp"`
	Format            Format          `json:"format"`
	Config            json.RawMessage `json:"config"`
	ConversationCount int64           `json:"conversation_count"`
	FileSize          *int64          `json:"file_size"`
	Status            Status          `json:"status"`
	FileURL           *string         `json:"file_url"`
	ExpiresAt         *Time           `json:"expires_at"`
	ErrorMessage      *string         `json:"error_message"`
	CreatedAt         Time            `json:"created_at"`
	UpdatedAt         Time            `json:"updated_at"`
	DownloadedCount   int64           `json:"downloaded_count"`

	// FileMissingSince is no column: since when a reconciliation misses the file, see
	// MarkMissing.
	FileMissingSince *Time `json:"file_missing_since,omitempty"`
}

// Limits on text that comes from outside, in bytes.
const (
	MaxTextBytes      = 8 << 10  // file_url and error_message
	MaxErrorTypeBytes = 1 << 10  // error_type: rollups count by it, and an index of Postgres takes no more than 2704
	MaxConfigBytes    = 64 << 10 // config
	MaxCount          = 1 << 31  // conversation_count, which is an integer in Postgres
)

// Validate reports everything that is wrong with e, each error naming its
// field.
func (e *Export) Validate() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	_, err := ParseID("export_id", e.ExportID)
	add(err)
	_, err = ParseID("user_id", e.UserID)
	add(err)
	add(checkFormat(e.Format))
	add(checkOneOf("status", e.Status, Statuses))
	add(checkCount("conversation_count", &e.ConversationCount, MaxCount-1))
	add(checkCount("file_size", e.FileSize, 1<<62))
	add(checkCount("downloaded_count", &e.DownloadedCount, MaxCount-1))
	add(checkText("file_url", e.FileURL, MaxTextBytes))
	add(checkText("error_message", e.ErrorMessage, MaxTextBytes))
	add(checkConfig(e.Config))
	if e.Timestamp.IsZero() {
		add(Invalid("timestamp", "missing"))
	}
	return errors.Join(errs...)
}

// ExportUpdate changes some fields of an export; a nil field stays as it is.
type ExportUpdate struct {
	Status            *Status `json:"status,omitempty"`
	ConversationCount *int64  `json:"conversation_count,omitempty"`
	FileSize          *int64  `json:"file_size,omitempty"`
	FileURL           *string `json:"file_url,omitempty"`
	ExpiresAt         *Time   `json:"expires_at,omitempty"`
	ErrorMessage      *string `json:"error_message,omitempty"`
	DownloadedCount   *int64  `json:"downloaded_count,omitempty"`
}

// Validate reports everything that is wrong with u, each error naming its
// field. Only a cleanup may say that an export expired.
func (u *ExportUpdate) Validate() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if u.Status != nil {
		add(checkOneOf("status", *u.Status, Statuses))
		if *u.Status == Expired {
			add(Invalid("status", "expired is set by the file cleanup alone, once storage confirms that the file is gone"))
		}
	}
	add(checkCount("conversation_count", u.ConversationCount, MaxCount-1))
	add(checkCount("file_size", u.FileSize, 1<<62))
	add(checkCount("downloaded_count", u.DownloadedCount, MaxCount-1))
	add(checkText("file_url", u.FileURL, MaxTextBytes))
	add(checkText("error_message", u.ErrorMessage, MaxTextBytes))
	return errors.Join(errs...)
}

// ExpiryOf says when the file of an export that is being completed expires, of
// the row as the update leaves it; nil for never. It is pure and quick: stores
// call it inside a transaction, and may call it more than once.
type ExpiryOf func(Export) *Time

// ExpiresAt is the same expiry for every export.
func ExpiresAt(t Time) ExpiryOf { return func(Export) *Time { return &t } }

// Completes reports whether u completes an export without saying when its file
// expires.
func (u *ExportUpdate) Completes() bool {
	return u.Status != nil && *u.Status == Completed && u.ExpiresAt == nil
}

// ExpiryOver reports whether the expiry that a row has is over.
func (e *Export) ExpiryOver(now Time) bool { return e.ExpiresAt != nil && !e.ExpiresAt.After(now.Time) }

// Apply returns e as u leaves it.
func (u *ExportUpdate) Apply(e Export) Export {
	if u.Status != nil {
		e.Status = *u.Status
	}
	if u.ConversationCount != nil {
		e.ConversationCount = *u.ConversationCount
	}
	if u.DownloadedCount != nil {
		e.DownloadedCount = *u.DownloadedCount
	}
	e.FileSize, e.FileURL = cmp.Or(u.FileSize, e.FileSize), cmp.Or(u.FileURL, e.FileURL)
	e.ExpiresAt, e.ErrorMessage = cmp.Or(u.ExpiresAt, e.ExpiresAt), cmp.Or(u.ErrorMessage, e.ErrorMessage)
	return e
}

// Candidate returns what a policy looks at, reading the given keys of the config.
func (e *Export) Candidate(configKeys []string) Candidate {
	c := Candidate{
		ID: e.ID, ExportID: e.ExportID, UserID: e.UserID, Status: e.Status, FileURL: e.FileURL, CreatedAt: e.CreatedAt.String(),
		FileSize: e.FileSize, Format: e.Format, Config: ReadConfig(e.Config, configKeys),
	}
	if !e.Timestamp.IsZero() { // else the row's could not be read
		c.Timestamp = e.Timestamp.String()
	}
	if e.ExpiresAt != nil {
		at := e.ExpiresAt.String()
		c.ExpiresAt = &at
	}
	return c
}

// Expiry says when the files of exports expire that are completed now.
func (p *Policy) Expiry(now Time) ExpiryOf {
	return func(e Export) *Time {
		at, ever := p.Choose(e.Candidate(p.keys), now).Files.After(now)
		if !ever {
			return nil
		}
		return &at
	}
}

// ExportFilter selects exports, newest first. Zero fields do not filter.
type ExportFilter struct {
	UserID string
	Format Format
	Status Status
	From   Time   // timestamp not before
	To     Time   // timestamp before
	Limit  int    // rows a page; 1 to MaxPage, 0 means DefaultPage
	Cursor string // as returned with the page before; opaque
}

// The size of a page of a list.
const (
	DefaultPage = 50
	MaxPage     = 500
)

// ExportStore keeps export_logs.
type ExportStore interface {
	// CreateExport adds a row. An export_id that exists is KindConflict.
	CreateExport(ctx context.Context, e Export) (Export, error)
	// UpdateExport changes a row and returns it as it is then. It is
	// KindNotFound without such a row, and KindConflict while the export's file
	// is claimed for deletion. When the update completes the export and neither it
	// nor the row has an expiry, the row gets the one that expiry says; nil sets
	// none. One of the row that is over is none: it is of a file that was there before.
	UpdateExport(ctx context.Context, exportID string, u ExportUpdate, expiry ExpiryOf, now Time) (Export, error)
	// Export returns one row, or KindNotFound.
	Export(ctx context.Context, exportID string) (Export, error)
	// Exports returns a page and the cursor of the next one, "" at the end.
	Exports(ctx context.Context, f ExportFilter) (page []Export, next string, err error)
	// ImportExports adds rows to the export logs as they are, in one transaction,
	// and answers for each in order. A row that is there already is neither new nor
	// an error, also when its file has expired since; an export_id that stands for
	// another export is KindConflict. Rows must be valid; one without an id gets
	// one. What finished rows say of their exports is frozen at once, so that
	// history is counted however old it is.
	ImportExports(ctx context.Context, batch []Export, now Time) ([]Receipt, error)
}

func checkFormat(f Format) error { return checkOneOf("format", f, Formats) }

func checkOneOf[T ~string](field string, v T, all []T) error {
	names := make([]string, len(all))
	for i, a := range all {
		if a == v {
			return nil
		}
		names[i] = string(a)
	}
	return Invalid(field, "%s is not one of %s", quoteShort(string(v)), strings.Join(names, ", "))
}

func checkCount(field string, n *int64, most int64) error {
	if n == nil {
		return nil
	}
	if *n < 0 {
		return Invalid(field, "%d is negative", *n)
	}
	if *n > most {
		return Invalid(field, "%d is more than %d", *n, most)
	}
	return nil
}

// checkText refuses what some databases cannot hold and what floods a log.
func checkText(field string, s *string, most int) error {
	switch {
	case s == nil:
		return nil
	case len(*s) > most:
		return Invalid(field, "%d bytes is more than %d", len(*s), most)
	case !utf8.ValidString(*s):
		return Invalid(field, "%s is not valid UTF-8", quoteShort(*s))
	case strings.ContainsRune(*s, 0):
		return Invalid(field, "%s holds a NUL byte", quoteShort(*s))
	}
	return nil
}

func checkConfig(c json.RawMessage) error {
	switch {
	case len(c) == 0:
		return Invalid("config", "missing; want a JSON object")
	case len(c) > MaxConfigBytes:
		return Invalid("config", "%d bytes is more than %d", len(c), MaxConfigBytes)
	case !json.Valid(c) || !utf8.Valid(c) || c[0] != '{':
		return Invalid("config", "%s is not a JSON object", quoteShort(string(c)))
	case strings.Contains(string(c), `\u0000`):
		return Invalid("config", "it holds a NUL character")
	}
	return nil
}
