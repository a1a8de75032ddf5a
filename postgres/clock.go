package postgres

import (
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// readable says of a time that the domain can read it: infinities and years of
// another length than four digits mean never, or nothing.
func readable(column string) string {
	return `(` + column + ` >= ` + readableFrom + ` AND ` + column + ` < '10000-01-01 00:00:00+00')`
}

// millisOf reads a time as Postgres prints it in UTC, as milliseconds since 1970.
// It is several times as fast as the standard library, which matters when a
// million rows are read.
func millisOf(text []byte) (int64, bool) {
	const seconds, zone = len("2006-01-02 15:04:05"), "+00"
	end := len(text) - len(zone)
	if end < seconds || string(text[end:]) != zone || text[4] != '-' || text[7] != '-' || text[10] != ' ' ||
		text[13] != ':' || text[16] != ':' {
		return 0, false
	}
	bad := false
	digits := func(from, to int) (n int) {
		for _, c := range text[from:to] {
			bad = bad || c < '0' || c > '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	ms := 0
	if end > seconds {
		if text[seconds] != '.' || end == seconds+1 || end > seconds+7 {
			return 0, false
		}
		for i := 1; i <= 3; i++ {
			ms *= 10
			if seconds+i < end {
				ms += digits(seconds+i, seconds+i+1)
			}
		}
	}
	t := time.Date(digits(0, 4), time.Month(digits(5, 7)), digits(8, 10), digits(11, 13), digits(14, 16), digits(17, 19), 0, time.UTC)
	return t.UnixMilli() + int64(ms), !bad
}

// storedTime reads a time as Postgres prints it in UTC.
func storedTime(text string) (exportops.Time, bool) {
	ms, ok := millisOf([]byte(text))
	if !ok {
		return exportops.Time{}, false
	}
	return exportops.Time{Time: time.UnixMilli(ms).UTC()}, true
}

// timeOf is storedTime for what our own tables hold.
func timeOf(text string) (exportops.Time, error) {
	t, ok := storedTime(text)
	if !ok {
		return t, fmt.Errorf("%q is no time that a rollup can have", text)
	}
	return t, nil
}

// timeTexts writes times as an array of Postgres takes them.
func timeTexts(times []exportops.Time) []string {
	out := make([]string, len(times))
	for i, t := range times {
		out[i] = t.String()
	}
	return out
}

// timeText writes a time, or null.
func timeText(t *exportops.Time) *string {
	if t == nil {
		return nil
	}
	s := t.String()
	return &s
}
