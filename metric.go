package exportops

import (
	"context"
	"errors"
	"fmt"
)

// CountRange groups exports by how many conversations they hold.
type CountRange string

// The count ranges, by number of conversations.
const (
	Small  CountRange = "small"  // below 100
	Medium CountRange = "medium" // 100 to 499
	Large  CountRange = "large"  // 500 to 999
	XLarge CountRange = "xlarge" // 1000 and more
)

// CountRanges lists every count range, smallest first.
var CountRanges = []CountRange{Small, Medium, Large, XLarge}

// CountRangeOf returns the range that n conversations fall in.
func CountRangeOf(n int64) CountRange {
	switch {
	case n < 100:
		return Small
	case n < 500:
		return Medium
	case n < 1000:
		return Large
	default:
		return XLarge
	}
}

// Source says how a metric came to be.
type Source string

// The sources of a metric.
const (
	Measured Source = "measured" // the application reported it
	Observed Source = "observed" // derived from the row when it was first seen finished
)

// Metric is what one attempt of an export measured.
type Metric struct {
	ExportID          string  `json:"export_id"`
	UserID            string  `json:"user_id"`
	Format            Format  `json:"format"`
	Status            Status  `json:"status"` // any but expired
	ConversationCount int64   `json:"conversation_count"`
	DurationMS        *int64  `json:"duration_ms"`     // null only when Observed and unknown
	FileSizeBytes     *int64  `json:"file_size_bytes"` // null if failed
	ErrorType         *string `json:"error_type,omitempty"`
	ErrorMessage      *string `json:"error_message,omitempty"`
	Attempt           int64   `json:"attempt,omitempty"`  // from 1; 0 means 1
	Timestamp         Time    `json:"timestamp,omitzero"` // set on receipt where missing
}

// MetricStatuses lists the statuses a metric can report.
var MetricStatuses = []Status{Completed, Failed, Processing, Queued}

// UnknownError is the error type of a failure that names none.
const UnknownError = "Unknown"

// Normalize fills what a caller may leave out and brings ids to lower case.
// It does nothing to invalid values: call Validate first or after.
func (m *Metric) Normalize(now Time) {
	if m.Attempt == 0 {
		m.Attempt = 1
	}
	if m.Timestamp.IsZero() {
		m.Timestamp = now
	}
	if id, err := ParseID("", m.ExportID); err == nil {
		m.ExportID = id
	}
	if id, err := ParseID("", m.UserID); err == nil {
		m.UserID = id
	}
}

// Validate reports everything that is wrong with m, each error naming its
// field. It allocates nothing when m is valid.
func (m *Metric) Validate() error {
	if m.valid() {
		return nil
	}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	_, err := ParseID("export_id", m.ExportID)
	add(err)
	_, err = ParseID("user_id", m.UserID)
	add(err)
	add(checkFormat(m.Format))
	add(checkOneOf("status", m.Status, MetricStatuses))
	add(checkCount("conversation_count", &m.ConversationCount, MaxCount-1))
	if m.DurationMS == nil {
		add(Invalid("duration_ms", "missing"))
	}
	add(checkCount("duration_ms", m.DurationMS, 1<<53))
	add(checkCount("file_size_bytes", m.FileSizeBytes, 1<<53))
	add(checkCount("attempt", &m.Attempt, 1<<31-1))
	add(checkText("error_type", m.ErrorType, MaxErrorTypeBytes))
	add(checkText("error_message", m.ErrorMessage, MaxTextBytes))
	return errors.Join(errs...)
}

// valid is Validate for the path that must not allocate.
func (m *Metric) valid() bool {
	within := func(n *int64, most int64) bool { return n == nil || (*n >= 0 && *n <= most) }
	return validID(m.ExportID) && validID(m.UserID) &&
		(m.Format == JSON || m.Format == JSONL || m.Format == CSV || m.Format == Markdown) &&
		(m.Status.InProgress() || m.Status == Completed || m.Status == Failed) &&
		within(&m.ConversationCount, MaxCount-1) && m.DurationMS != nil && within(m.DurationMS, 1<<53) &&
		within(m.FileSizeBytes, 1<<53) && within(&m.Attempt, 1<<31-1) &&
		checkText("", m.ErrorType, MaxErrorTypeBytes) == nil && checkText("", m.ErrorMessage, MaxTextBytes) == nil
}

// Conflict compares a metric with the one that is stored under its key: KindConflict
// about the first field in which they disagree, nil where there is none. The time
// may differ: it is set on receipt where a client sends none.
func (m *Metric) Conflict(stored *Metric) error {
	var field string
	switch {
	case m.UserID != stored.UserID:
		field = "user_id"
	case m.Format != stored.Format:
		field = "format"
	case m.ConversationCount != stored.ConversationCount:
		field = "conversation_count"
	case !equal(m.DurationMS, stored.DurationMS):
		field = "duration_ms"
	case !equal(m.FileSizeBytes, stored.FileSizeBytes):
		field = "file_size_bytes"
	case !equal(m.ErrorType, stored.ErrorType):
		field = "error_type"
	case !equal(m.ErrorMessage, stored.ErrorMessage):
		field = "error_message"
	default:
		return nil
	}
	return &Error{
		Kind: KindConflict, Field: field,
		Message: fmt.Sprintf("attempt %d of export %s was already reported as %s with another value", m.Attempt, m.ExportID, m.Status),
		Hint:    "report another attempt under the next number",
	}
}

func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// Receipt says what became of one metric of a batch.
type Receipt struct {
	New bool  // first seen: its event is to be emitted
	Err error // why it was refused, KindInvalid or KindConflict; nil otherwise
}

// MetricStore keeps export_metrics.
type MetricStore interface {
	// RecordMetrics stores a batch in one durable transaction and answers for
	// each metric in order. A metric is known by (export_id, status, attempt):
	// the same again is neither new nor an error, the same key with other
	// client fields is KindConflict, and a measured one replaces an observed
	// one. Metrics must be normalized and valid.
	RecordMetrics(ctx context.Context, batch []Metric) ([]Receipt, error)
}
