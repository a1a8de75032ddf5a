package exportops

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Hash is what two readings of the same row have in common, and of nothing else:
// it tells any two different rows apart, also those with bytes that are no UTF-8,
// which JSON would make alike. Archives and the database keep it, so it never
// changes.
func (r *ArchivedRow) Hash() [sha256.Size]byte {
	return sha256.Sum256(r.AppendBinary(make([]byte, 0, 1024)))
}

// AppendBinary appends the row as ReadBinary reads it. Every text has its length
// in front, and what may be missing a mark that says whether it is, so that no two
// different rows come out alike.
func (r *ArchivedRow) AppendBinary(b []byte) []byte {
	b = append(b, rowFormat)
	for _, f := range r.fields() {
		b = f.append(b)
	}
	if r.Metric == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, f := range r.Metric.fields() {
		b = f.append(b)
	}
	return b
}

// ReadBinary reads a row that AppendBinary wrote, and refuses everything else.
func (r *ArchivedRow) ReadBinary(b []byte) error {
	if len(b) == 0 || b[0] != rowFormat {
		return errNotARow
	}
	var row ArchivedRow
	ok := true
	b = b[1:]
	for _, f := range row.fields() {
		b, ok = f.read(b, ok)
	}
	if !ok || len(b) == 0 {
		return errNotARow
	}
	has, b := b[0], b[1:]
	if has == 1 {
		row.Metric = &ArchivedMetric{}
		for _, f := range row.Metric.fields() {
			b, ok = f.read(b, ok)
		}
	}
	if !ok || has > 1 || len(b) > 0 {
		return errNotARow
	}
	*r = row
	return nil
}

// Size is about how many bytes a row takes in memory.
func (r *ArchivedRow) Size() int {
	n := 500
	count := func(f rowField) {
		if f.text != nil {
			n += len(*f.text)
		} else if f.mayText != nil && *f.mayText != nil {
			n += len(**f.mayText)
		}
	}
	for _, f := range r.fields() {
		count(f)
	}
	if r.Metric != nil {
		for _, f := range r.Metric.fields() {
			count(f)
		}
	}
	return n
}

// rowFormat is the first byte of a row's binary form: another form has another.
const rowFormat = 1

var errNotARow = errors.New("it is not the binary form of an archived row")

// rowField is one of these, in the order in which the binary form has them.
type rowField struct {
	text     *string
	number   *int64
	mayText  **string
	mayCount **int64
}

func (r *ArchivedRow) fields() [15]rowField {
	return [...]rowField{
		{text: &r.ID},
		{text: &r.ExportID},
		{text: &r.UserID},
		{text: &r.Timestamp},
		{text: &r.Format},
		{text: &r.Config},
		{number: &r.ConversationCount},
		{mayCount: &r.FileSize},
		{text: &r.Status},
		{mayText: &r.FileURL},
		{mayText: &r.ExpiresAt},
		{mayText: &r.ErrorMessage},
		{text: &r.CreatedAt},
		{text: &r.UpdatedAt},
		{mayCount: &r.DownloadedCount},
	}
}

func (m *ArchivedMetric) fields() [11]rowField {
	return [...]rowField{
		{text: &m.Status},
		{text: &m.Source},
		{number: &m.Attempt},
		{text: &m.Format},
		{number: &m.ConversationCount},
		{mayCount: &m.DurationMS},
		{mayCount: &m.FileSizeBytes},
		{mayText: &m.ErrorType},
		{mayText: &m.ErrorMessage},
		{text: &m.Timestamp},
		{mayText: &m.CountedHour},
	}
}

func (f rowField) append(b []byte) []byte {
	text, number := f.text, f.number
	if f.mayText != nil || f.mayCount != nil {
		if f.mayText != nil {
			text = *f.mayText
		} else {
			number = *f.mayCount
		}
		if text == nil && number == nil {
			return append(b, 0)
		}
		b = append(b, 1)
	}
	if number != nil {
		return binary.BigEndian.AppendUint64(b, uint64(*number))
	}
	return append(binary.BigEndian.AppendUint64(b, uint64(len(*text))), *text...)
}

// read reads one field, where what came before it was in order.
func (f rowField) read(b []byte, ok bool) (rest []byte, _ bool) {
	may := f.mayText != nil || f.mayCount != nil
	if !ok || may && (len(b) == 0 || b[0] > 1) {
		return nil, false
	}
	if may {
		has := b[0]
		if b = b[1:]; has == 0 {
			return b, true
		}
	}
	if len(b) < 8 {
		return nil, false
	}
	n, b := binary.BigEndian.Uint64(b), b[8:]
	if f.number != nil || f.mayCount != nil {
		number := int64(n)
		if f.mayCount != nil {
			*f.mayCount = &number
		} else {
			*f.number = number
		}
		return b, true
	}
	if n > uint64(len(b)) {
		return nil, false
	}
	text := string(b[:n])
	if f.mayText != nil {
		*f.mayText = &text
	} else {
		*f.text = text
	}
	return b[n:], true
}
