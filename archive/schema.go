package archive

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/exportops/exportops"
)

// formatVersion is what the files and the manifests of this version say of
// themselves. Readers of later versions still take those of earlier ones.
const formatVersion = 1

// record is a row as the file has it. Texts are stored plainly or by dictionary, the
// two ways that every reader knows. Columns are never renamed or retyped: that
// would be another version of the format.
type record struct {
	ID                string  `parquet:"id,plain"`
	ExportID          string  `parquet:"export_id,plain"`
	UserID            string  `parquet:"user_id,dict"`
	Timestamp         string  `parquet:"timestamp,plain"`
	TimestampUTC      *int64  `parquet:"timestamp_utc,timestamp(microsecond),optional"`
	Format            string  `parquet:"format,dict"`
	Config            string  `parquet:"config,plain"`
	ConversationCount int64   `parquet:"conversation_count"`
	FileSize          *int64  `parquet:"file_size,optional"`
	Status            string  `parquet:"status,dict"`
	FileURL           *string `parquet:"file_url,optional,plain"`
	ExpiresAt         *string `parquet:"expires_at,optional,plain"`
	ErrorMessage      *string `parquet:"error_message,optional,dict"`
	CreatedAt         string  `parquet:"created_at,plain"`
	UpdatedAt         string  `parquet:"updated_at,plain"`
	DownloadedCount   *int64  `parquet:"downloaded_count,optional"`
	Metric            *metric `parquet:"metric,optional"`
	Exact             []byte  `parquet:"exact,optional,plain"`
}

type metric struct {
	Status            string  `parquet:"status,dict"`
	Source            string  `parquet:"source,dict"`
	Attempt           int64   `parquet:"attempt"`
	Format            string  `parquet:"format,dict"`
	ConversationCount int64   `parquet:"conversation_count"`
	DurationMS        *int64  `parquet:"duration_ms,optional"`
	FileSizeBytes     *int64  `parquet:"file_size_bytes,optional"`
	ErrorType         *string `parquet:"error_type,optional,dict"`
	ErrorMessage      *string `parquet:"error_message,optional,dict"`
	Timestamp         string  `parquet:"timestamp,plain"`
	CountedHour       *string `parquet:"counted_hour,optional,dict"`
}

var schema = parquet.NewSchema("export_logs", parquet.SchemaOf(record{}))

// Column is one column of a file: the name as queries use it, and its type.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// columns lists the columns of this version's files, those of the metric by their
// path.
func columns() []Column {
	all := make([]Column, 0, len(schema.Columns()))
	for _, path := range schema.Columns() {
		leaf, _ := schema.Lookup(path...)
		kind := leaf.Node.Type().String()
		if leaf.Node.Optional() || path[0] == "metric" {
			kind += ", optional"
		}
		all = append(all, Column{Name: strings.Join(path, "."), Type: kind})
	}
	return all
}

// toRecord puts a row into the form of the file.
func toRecord(row *exportops.ArchivedRow) record {
	r := asRecord(row)
	if r.isUTF8() {
		return r
	}
	exact := row.AppendBinary(nil)
	var readable exportops.ArchivedRow
	if err := readable.ReadBinary(exact); err != nil { // a copy, as row is the caller's
		panic(err)
	}
	r = asRecord(&readable)
	r.Exact = exact
	for s := range r.texts {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	return r
}

func asRecord(row *exportops.ArchivedRow) record {
	r := record{
		ID: row.ID, ExportID: row.ExportID, UserID: row.UserID, Timestamp: row.Timestamp, Format: row.Format,
		Config: row.Config, ConversationCount: row.ConversationCount, FileSize: row.FileSize, Status: row.Status,
		FileURL: row.FileURL, ExpiresAt: row.ExpiresAt, ErrorMessage: row.ErrorMessage, CreatedAt: row.CreatedAt,
		UpdatedAt: row.UpdatedAt, DownloadedCount: row.DownloadedCount,
	}
	if t, ok := instant(row.Timestamp); ok {
		micros := t.UnixMicro()
		r.TimestampUTC = &micros
	}
	if m := row.Metric; m != nil {
		r.Metric = &metric{
			Status: m.Status, Source: m.Source, Attempt: m.Attempt, Format: m.Format,
			ConversationCount: m.ConversationCount, DurationMS: m.DurationMS, FileSizeBytes: m.FileSizeBytes,
			ErrorType: m.ErrorType, ErrorMessage: m.ErrorMessage, Timestamp: m.Timestamp, CountedHour: m.CountedHour,
		}
	}
	return r
}

// row is the way back. It says false when the record is none that toRecord makes.
func (r *record) row() (*exportops.ArchivedRow, bool) {
	if len(r.Exact) > 0 { // the decoder makes an empty slice of null, after one that is none
		row := &exportops.ArchivedRow{}
		return row, row.ReadBinary(r.Exact) == nil && r.hasInstantOf(row)
	}
	row := &exportops.ArchivedRow{
		ID: r.ID, ExportID: r.ExportID, UserID: r.UserID, Timestamp: r.Timestamp, Format: r.Format, Config: r.Config,
		ConversationCount: r.ConversationCount, FileSize: r.FileSize, Status: r.Status, FileURL: r.FileURL,
		ExpiresAt: r.ExpiresAt, ErrorMessage: r.ErrorMessage, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		DownloadedCount: r.DownloadedCount,
	}
	if m := r.Metric; m != nil {
		row.Metric = &exportops.ArchivedMetric{
			Status: m.Status, Source: m.Source, Attempt: m.Attempt, Format: m.Format,
			ConversationCount: m.ConversationCount, DurationMS: m.DurationMS, FileSizeBytes: m.FileSizeBytes,
			ErrorType: m.ErrorType, ErrorMessage: m.ErrorMessage, Timestamp: m.Timestamp, CountedHour: m.CountedHour,
		}
	}
	return row, r.hasInstantOf(row)
}

// hasInstantOf reports whether what others filter by is what the row says.
func (r *record) hasInstantOf(row *exportops.ArchivedRow) bool {
	t, ok := instant(row.Timestamp)
	return ok == (r.TimestampUTC != nil) && (!ok || t.UnixMicro() == *r.TimestampUTC)
}

func (r *record) isUTF8() bool {
	for s := range r.texts {
		if !utf8.ValidString(*s) {
			return false
		}
	}
	return true
}

// texts yields the texts that are there.
func (r *record) texts(yield func(*string) bool) {
	all := [...]*string{
		&r.ID, &r.ExportID, &r.UserID, &r.Timestamp, &r.Format, &r.Config, &r.Status, r.FileURL, r.ExpiresAt,
		r.ErrorMessage, &r.CreatedAt, &r.UpdatedAt,
	}
	for _, s := range all {
		if s != nil && !yield(s) {
			return
		}
	}
	m := r.Metric
	if m == nil {
		return
	}
	for _, s := range [...]*string{&m.Status, &m.Source, &m.Format, m.ErrorType, m.ErrorMessage, &m.Timestamp, m.CountedHour} {
		if s != nil && !yield(s) {
			return
		}
	}
}

// instant reads a time that a filter can use. What Parquet calls a timestamp
// begins, for some readers, with the year 1.
func instant(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
}
