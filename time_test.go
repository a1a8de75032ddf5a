package exportops_test

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestParseExactTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2025-10-31T12:00:00.123Z":         time.Date(2025, 10, 31, 12, 0, 0, 123e6, time.UTC),
		"2025-10-31T12:00:00.123456Z":      time.Date(2025, 10, 31, 12, 0, 0, 123456e3, time.UTC),
		"2025-10-31T12:00:00.1234Z":        {},
		"2025-10-31T12:00:00,123456Z":      {},
		"2025-10-31 12:00:00.123456Z":      {},
		"2025-10-31T12:00:00.123+00:00":    {},
		"2025-02-30T12:00:00.123456Z":      {},
		"infinity":                         {},
		"0001-01-01T00:00:00.001Z":         time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC),
		"0000-12-31T23:59:59.999Z":         {},
		"0000-12-31T23:59:59.999999Z":      {},
		"2025-10-31T12:00:00.123456+00:00": {},
	} {
		got, ok := exportops.ParseExactTime(text)
		if ok == want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q is read as %s, %v", text, got, ok)
		}
	}
}

// TestWhatIsReadCanBeReadAgain: a time that a client sends is stored, and read from there.
func TestWhatIsReadCanBeReadAgain(t *testing.T) {
	for text, want := range map[string]bool{
		"0000-12-31T23:59:59Z": false, "0000-12-31T23:59:59-00:01": true, "0001-01-01T00:00:00+00:01": false,
		"0001-01-01T00:00:00Z": true, "9999-12-31T23:59:59.999Z": true, "9999-12-31T23:59:59-00:01": false,
	} {
		at, err := exportops.ParseTime(text)
		if _, again := exportops.ParseStoredTime(at.String()); (err == nil) != want || want && !again {
			t.Errorf("%q is read as %s, %v, and again: %v", text, at, err, again)
		}
	}
}

func TestAnExpiryIsJudgedToTheMicrosecond(t *testing.T) {
	sel := exportops.Selection{Mode: exportops.ByExpiry, Now: exportops.Time{Time: time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC)}}
	for expires, want := range map[string]exportops.Judgement{
		"2025-10-31T12:00:00.000000Z": exportops.Due, "2025-10-31T12:00:00.000001Z": exportops.NotDue,
		"2025-10-31T11:59:59.999999Z": exportops.Due, "2025-10-31T11:00:00.000Z": exportops.Due,
		"2025-10-31T10:59:59.999999Z": exportops.Implausible, "infinity": exportops.NeverExpires,
	} {
		c := exportops.Candidate{Status: exportops.Completed, CreatedAt: "2025-10-31T11:00:00.000Z", ExpiresAt: &expires}
		if got := sel.Judge(c); got != want {
			t.Errorf("%s is %s, want %s", expires, got, want)
		}
	}
}
