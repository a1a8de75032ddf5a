package postgres

import (
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// Times leave the database as text, by a cast in the SQL: a row that says
// infinity, or a year before the first, must not stop the others, and what is
// written back must be the very same to the microsecond.

// canonical writes a time as Postgres prints it in UTC in the form that the
// domain reads: milliseconds, or microseconds where there are any. Anything else
// (infinity, a year of another length) stays as it is, which no one takes for a
// time, and which Postgres reads back.
func canonical(text string) string {
	const layout = "2006-01-02 15:04:05"
	rest, utc := strings.CutSuffix(text, "+00")
	if !utc || len(rest) < len(layout) || rest[4] != '-' || rest[10] != ' ' {
		return text
	}
	fraction := strings.TrimPrefix(rest[len(layout):], ".")
	if len(fraction) > 6 {
		return text
	}
	fraction += "000000"[len(fraction):]
	fraction = strings.TrimSuffix(fraction, "000")
	if fraction == "" {
		fraction = "000"
	}
	return rest[:10] + "T" + rest[11:len(layout)] + "." + fraction + "Z"
}

// canonicalPtr is canonical for what may be null.
func canonicalPtr(text *string) *string {
	if text == nil {
		return nil
	}
	s := canonical(*text)
	return &s
}

// toMillis cuts a canonical time to milliseconds, in which the domain compares.
func toMillis(text string) string {
	const exact = len("2006-01-02T15:04:05.000000Z")
	if len(text) == exact && text[10] == 'T' {
		return text[:exact-4] + "Z"
	}
	return text
}

// known keeps what is an id: no row has any other, and Postgres refuses a list
// that holds one.
func known(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if id, err := exportops.ParseID("id", id); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// timePtr turns a time of the driver into one of the domain.
func timePtr(t *time.Time) *exportops.Time {
	if t == nil {
		return nil
	}
	at := exportops.At(*t)
	return &at
}

// nullText is null for an empty text.
func nullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
