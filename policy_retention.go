package exportops

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Retention is how long something is kept: a length of time, or Never, which
// is a value of its own. The zero Retention says nothing and is refused.
type Retention struct {
	length time.Duration
	never  bool
}

// Never keeps for good.
var Never = Retention{never: true}

// The bounds of a retention that is not Never.
const (
	MinFileRetention = time.Hour
	MinLogRetention  = 24 * time.Hour
	MaxRetention     = 36500 * 24 * time.Hour
)

// KeepFor is a retention of a length.
func KeepFor(d time.Duration) Retention { return Retention{length: d} }

// IsNever reports whether r keeps for good.
func (r Retention) IsNever() bool { return r.never }

// Length returns how long r keeps; it is false for Never.
func (r Retention) Length() (time.Duration, bool) { return r.length, !r.never }

// OrCentury is Length, and a century for Never: beyond what any row is told by.
func (r Retention) OrCentury() time.Duration {
	if r.never {
		return MaxRetention
	}
	return r.length
}

// After returns when what began at t is kept no longer; it is false for Never,
// and for the zero Retention, which must not delete anything.
func (r Retention) After(t Time) (Time, bool) {
	if r.never || r.length <= 0 {
		return Time{}, false
	}
	return At(t.Add(r.length)), true
}

// String writes never, or a duration as settings have it.
func (r Retention) String() string {
	switch {
	case r.never:
		return "never"
	case r.length == 0:
		return ""
	}
	return ShowDuration(r.length)
}

// MarshalText writes what String does.
func (r Retention) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r Retention) check(field string, least time.Duration) error {
	switch {
	case r.never:
		return nil
	case r.length == 0:
		return &Error{
			Kind: KindInvalid, Field: field, Message: "missing",
			Hint: "say how long: a duration such as " + ShowDuration(max(least, MinLogRetention)) + ", or never",
		}
	case r.length < least || r.length > MaxRetention:
		return &Error{
			Kind: KindInvalid, Field: field, Message: r.String() + " is out of range",
			Hint: "use a duration from " + ShowDuration(least) + " to " + ShowDuration(MaxRetention) + ", or never",
		}
	}
	return nil
}

func checkRetentions(at string, files, logs Retention) error {
	return errors.Join(files.check(at+"files", MinFileRetention), logs.check(at+"logs", MinLogRetention))
}

// ShowDuration writes a duration in days where it is whole days, else as Go
// does, without what is zero at the end.
func ShowDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
