package sqlite

import (
	"time"

	"github.com/exportops/exportops"
)

// millis reads a stored time as milliseconds since 1970. It takes exactly what
// the database reads back as it was written, and is several times as fast as
// the standard library, which matters when a million rows are read.
func millis(s string) (int64, bool) {
	if len(s) != len(exportops.TimeLayout) || s[4] != '-' || s[7] != '-' || s[10] != 'T' ||
		s[13] != ':' || s[16] != ':' || s[19] != '.' || s[23] != 'Z' {
		return 0, false
	}
	bad := false
	digits := func(from, to int) (n int64) {
		for _, c := range []byte(s[from:to]) {
			bad = bad || c < '0' || c > '9'
			n = n*10 + int64(c-'0')
		}
		return n
	}
	year, month, day := digits(0, 4), digits(5, 7), digits(8, 10)
	hour, minute, second, ms := digits(11, 13), digits(14, 16), digits(17, 19), digits(20, 23)
	if bad || year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	days := daysBefore(year, month) + day - 1
	return ((days*24+hour)*60+minute)*60_000 + second*1000 + ms, true
}

// storedTime reads a stored time, as exportops.ParseStoredTime does.
func storedTime(s string) (exportops.Time, bool) {
	ms, ok := millis(s)
	if !ok {
		return exportops.Time{}, false
	}
	return exportops.Time{Time: time.UnixMilli(ms).UTC()}, true
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysBefore counts the days from 1970 to the first of a month, in a calendar
// whose years begin in March so that leap days come last.
func daysBefore(year, month int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	const from1970 = 719468 // days from 1 March of year 0
	era := year
	if era < 0 {
		era -= 399
	}
	era /= 400
	ofEra := year - era*400
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + (153*(month-3)+2)/5 - from1970
}
