package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
)

// fields is one record of an import: values by name, as JSON. It gathers what
// is wrong with them.
type fields struct {
	values map[string]json.RawMessage
	errs   []error
}

// jsonFields reads a JSON object.
func jsonFields(text string) (*fields, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &given); err != nil || given == nil {
		return nil, &lineError{errors.New("it is not a JSON object")}
	}
	f := &fields{values: make(map[string]json.RawMessage, len(given))}
	for name, v := range given {
		f.set(name, v)
	}
	return f, nil
}

// csvFields gives the cells of a record their names. An empty cell is null.
func csvFields(header, cells []string) (*fields, error) {
	if len(cells) != len(header) {
		return nil, &lineError{fmt.Errorf("it has %d fields, and the header %d", len(cells), len(header))}
	}
	f := &fields{values: make(map[string]json.RawMessage, len(header))}
	for i, name := range header {
		if cells[i] == "" || cells[i] == `\N` { // the latter is how COPY writes null
			continue
		}
		quoted, err := json.Marshal(cells[i])
		if err != nil {
			return nil, &lineError{err}
		}
		f.set(name, quoted)
	}
	return f, nil
}

func (f *fields) set(name string, v json.RawMessage) {
	if string(v) != "null" {
		f.values[snake(name)] = v
	}
}

// snake writes exportId, ExportID and export_id alike.
func snake(name string) string {
	var b strings.Builder
	low := false // the letter before was a small one or a digit
	for _, r := range strings.TrimSpace(name) {
		if unicode.IsUpper(r) && low {
			b.WriteByte('_')
		}
		low = unicode.IsLower(r) || unicode.IsDigit(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// has reports whether a value is given.
func (f *fields) has(name string) bool { return f.values[name] != nil }

// first returns the name that a value is given under, or the first.
func (f *fields) first(names ...string) string {
	for _, n := range names {
		if f.has(n) {
			return n
		}
	}
	return names[0]
}

func (f *fields) wrong(name, format string, args ...any) {
	f.errs = append(f.errs, exportops.Invalid(name, format, args...))
}

// text returns a value as text; nil where it is not given.
func (f *fields) text(name string) *string {
	v := f.values[name]
	if v == nil {
		return nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		f.wrong(name, "%s is not text", shorten(string(v), 40))
		return nil
	}
	return &s
}

func (f *fields) needText(name string) string {
	if s := f.text(name); s != nil {
		return *s
	}
	if !f.has(name) {
		f.wrong(name, "missing")
	}
	return ""
}

// integer reads a whole number, also one written as text; nil where it is not
// given.
func (f *fields) integer(name string) *int64 {
	v := f.values[name]
	if v == nil {
		return nil
	}
	digits := strings.Trim(string(v), `"`)
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, ".0"), 10, 64)
	if err != nil {
		f.wrong(name, "%s is not a whole number", shorten(string(v), 40))
		return nil
	}
	return &n
}

func (f *fields) needInteger(name string) int64 {
	if n := f.integer(name); n != nil {
		return *n
	}
	if !f.has(name) {
		f.wrong(name, "missing")
	}
	return 0
}

// timeLayouts are RFC 3339 and what psql writes.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07",
	"2006-01-02 15:04:05.999999999 UTC",
}

// instant reads a time that says its zone, and that can be stored; nil where it is not
// given.
func (f *fields) instant(name string) *exportops.Time {
	s := f.text(name)
	if s == nil {
		return nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, *s); err == nil && exportops.At(t).Writable() {
			at := exportops.At(t)
			return &at
		}
	}
	f.wrong(name, "%q is not a time with its zone, such as 2026-01-31T12:00:00.000Z", shorten(*s, 40))
	return nil
}

func (f *fields) needInstant(name string) exportops.Time {
	if t := f.instant(name); t != nil {
		return *t
	}
	if !f.has(name) {
		f.wrong(name, "missing")
	}
	return exportops.Time{}
}

// object reads a JSON object, also one written as text.
func (f *fields) object(name string) json.RawMessage {
	v := f.values[name]
	var s string
	if json.Unmarshal(v, &s) == nil {
		v = json.RawMessage(s)
	}
	return v
}
