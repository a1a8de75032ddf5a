package exportops

import (
	"encoding/json"
	"fmt"
	"time"
)

// TimeLayout is the one way instants are written: RFC 3339, UTC, milliseconds.
// Text sorts as time does, which the SQLite store relies on.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Time is an instant in UTC with millisecond precision. It reads any RFC 3339
// text and writes TimeLayout.
type Time struct{ time.Time }

// At returns t in UTC, cut to milliseconds.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// ParseTime reads RFC 3339 text of any zone. An instant that is not Writable in UTC
// is refused.
func ParseTime(s string) (Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || !At(t).Writable() {
		return Time{}, fmt.Errorf("%q is not an RFC 3339 time such as 2026-01-31T12:00:00.000Z", s)
	}
	return At(t), nil
}

// Writable reports whether the instant is of the years 1 to 9999, which is what
// ParseStoredTime reads again.
func (t Time) Writable() bool {
	year := t.UTC().Year()
	return year > 0 && year <= 9999
}

// ParseStoredTime reads text that is exactly TimeLayout, of the years 1 to 9999, where
// every database has its times. Anything else is unreadable, and an unreadable expiry
// means never.
func ParseStoredTime(s string) (Time, bool) {
	if len(s) != len(TimeLayout) {
		return Time{}, false
	}
	t, err := time.Parse(TimeLayout, s)
	// The standard library takes a comma for the point.
	return Time{t}, err == nil && s[19] == '.' && t.Year() > 0
}

// ParseExactTime reads what ParseStoredTime reads, and the same with
// microseconds: databases that have them compare what was read to the last digit.
func ParseExactTime(s string) (Time, bool) {
	const exact = "2006-01-02T15:04:05.000000Z"
	if len(s) != len(exact) {
		return ParseStoredTime(s)
	}
	t, err := time.Parse(exact, s)
	return Time{t}, err == nil && s[19] == '.' && t.Year() > 0
}

// String returns the instant in TimeLayout.
func (t Time) String() string { return t.UTC().Format(TimeLayout) }

// MarshalText writes TimeLayout.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads RFC 3339 text of any zone.
func (t *Time) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTime(string(b))
	return err
}

// MarshalJSON writes TimeLayout in quotes.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON reads a string of RFC 3339 text.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a time: want a string of RFC 3339", b)
	}
	return t.UnmarshalText([]byte(s))
}

// Hour returns the start of the UTC hour that holds t.
func (t Time) Hour() Time { return Time{t.UTC().Truncate(time.Hour)} }

// Day returns the start of the UTC day that holds t.
func (t Time) Day() Time { return Time{t.UTC().Truncate(24 * time.Hour)} }
