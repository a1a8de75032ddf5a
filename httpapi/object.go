package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/exportops/exportops"
)

// fields decodes a JSON object into a struct, strictly: names match exactly, no
// name comes twice, none is unknown, and what is wrong is said of each value.
type fields []field

type field struct {
	name     string
	index    int
	kind     string // what is wanted, in words
	required bool   // tag required:"true"
	nullable bool   // tag nullable:"true": null is the same as leaving it out
}

// fieldsOf reads the tags of a struct type, which also describe it in OpenAPI.
func fieldsOf[T any]() fields {
	t := reflect.TypeFor[T]()
	all := make(fields, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, field{
			name: name, index: i, kind: wanted(f.Type),
			required: f.Tag.Get("required") == "true", nullable: f.Tag.Get("nullable") == "true",
		})
	}
	return all
}

func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[exportops.Time]():
		return "a time such as 2026-01-31T12:00:00.000Z"
	case t == reflect.TypeFor[json.RawMessage]():
		return "a JSON value"
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int64:
		return "a whole number"
	}
	panic("httpapi: no words for " + t.String())
}

// decode fills the struct that v points to. Text that is not one JSON object is
// unreadable; otherwise each error is KindInvalid and names its field.
func (fs fields) decode(data []byte, v any) error {
	if err := checkJSON(data); err != nil {
		return err
	}
	into := reflect.ValueOf(v).Elem()
	seen := make([]bool, len(fs))
	var errs []error
	for key, value := range members(data) {
		name := decodeKey(key)
		i := fs.find(name)
		if i < 0 {
			errs = append(errs, exportops.Invalid(shortName(name), "there is no such field"))
			continue
		}
		seen[i] = true
		if err := fs[i].set(into.Field(fs[i].index), value); err != nil {
			errs = append(errs, err)
		}
	}
	for i, f := range fs {
		if f.required && !seen[i] {
			errs = append(errs, exportops.Invalid(f.name, "missing"))
		}
	}
	return errors.Join(errs...)
}

func (fs fields) find(name string) int {
	for i := range fs {
		if fs[i].name == name {
			return i
		}
	}
	return -1
}

func (f field) set(into reflect.Value, value []byte) error {
	switch {
	case string(value) == "null" && f.nullable:
		return nil
	case string(value) == "null":
		return exportops.Invalid(f.name, "null; want %s", f.kind)
	case hasLoneSurrogate(value):
		return exportops.Invalid(f.name, "it holds half of a surrogate pair, which is no character")
	}
	if err := json.Unmarshal(value, into.Addr().Interface()); err != nil {
		return exportops.Invalid(f.name, "%s is not %s", shorten(string(value)), f.kind)
	}
	return nil
}

// checkJSON refuses what is not one JSON object with distinct names.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return broken("it is not valid UTF-8")
	}
	if !json.Valid(data) {
		var whole json.RawMessage
		var syntax *json.SyntaxError
		if err := json.Unmarshal(data, &whole); errors.As(err, &syntax) {
			return broken("it is not JSON: %s at byte %d", syntax.Error(), syntax.Offset)
		}
		return broken("it is not JSON")
	}
	if start := skipSpace(data, 0); data[start] != '{' {
		return broken("it is not a JSON object")
	}
	return checkNames(data, 1)
}

// broken is the error about a body, or a line, that cannot be read at all.
func broken(format string, args ...any) error {
	return unreadable(&exportops.Error{Kind: exportops.KindInvalid, Message: fmt.Sprintf(format, args...)})
}

// maxShown is how much of a value an answer repeats, in bytes.
const maxShown = 64

// shorten cuts text of unknown length and origin for a message.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

// shortName is shorten for names that stand where only ASCII is expected.
func shortName(s string) string {
	quoted := strconv.QuoteToASCII(shorten(s))
	return quoted[1 : len(quoted)-1]
}
