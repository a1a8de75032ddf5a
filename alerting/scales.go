package alerting

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// scale is how figures of a kind are written in the settings. What write makes of a
// figure that was read, read makes that figure of again.
type scale struct {
	read  func(string) (float64, bool)
	write func(float64) string
	such  string // what is accepted
}

var (
	shares         = scale{readShare, func(v float64) string { return trimmed(100*v, 6) + "%" }, "a share such as 10%"}
	factors        = scale{readFactor, func(v float64) string { return trimmed(v, 3) }, "a number such as 14.4"}
	counts         = scale{readCount, func(v float64) string { return trimmed(v, 0) }, "a whole number"}
	sizes          = scale{readSize, writeSize, "a size such as 10GB or 500MiB"}
	inMilliseconds = lengths(time.Millisecond, "a duration such as 5s or 500ms")
	inMinutes      = lengths(time.Minute, "a duration such as 90m")
	inHours        = lengths(time.Hour, "a duration such as 26h or 2d")
)

var decimal = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,6})?$`)

func number(s string) (float64, bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

func readShare(s string) (float64, bool) {
	digits, ok := strings.CutSuffix(s, "%")
	v, isNumber := number(strings.TrimSpace(digits))
	return v / 100, ok && isNumber
}

func readFactor(s string) (float64, bool) {
	v, ok := number(strings.TrimSuffix(s, "x"))
	return math.Round(1000*v) / 1000, ok
}

func readCount(s string) (float64, bool) {
	v, ok := number(s)
	return v, ok && v == math.Trunc(v)
}

// byteUnits are those of sizes, the largest decimal ones first.
var byteUnits = []struct {
	name  string
	bytes float64
}{
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"KB", 1e3},
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"B", 1},
}

func readSize(s string) (float64, bool) {
	for _, u := range byteUnits {
		if digits, ok := strings.CutSuffix(s, u.name); ok {
			v, isNumber := number(strings.TrimSpace(digits))
			return math.Round(v * u.bytes), isNumber
		}
	}
	return readCount(s)
}

func writeSize(v float64) string {
	for _, u := range byteUnits {
		if v >= u.bytes && math.Mod(v, u.bytes) == 0 {
			return trimmed(v/u.bytes, 0) + u.name
		}
	}
	return trimmed(v, 0) + "B"
}

// lengths is the scale of figures that are durations in some unit, whole
// milliseconds long.
func lengths(unit time.Duration, such string) scale {
	return scale{
		read: func(s string) (float64, bool) {
			d, ok := length(s)
			return float64(d) / float64(unit), ok
		},
		write: func(v float64) string {
			ms := math.Round(v * float64(unit/time.Millisecond))
			return exportops.ShowDuration(time.Duration(ms * float64(time.Millisecond)))
		},
		such: such,
	}
}

// longest is more than any rule needs.
const longest = 3660 * day

// length reads a duration of whole milliseconds: a Go one, before which days may
// stand.
func length(s string) (time.Duration, bool) {
	var d time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || time.Duration(n)*day > longest {
			return 0, false
		}
		d, rest = time.Duration(n)*day, after
	}
	if rest != "" || rest == s {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 || more > longest {
			return 0, false
		}
		d += more
	}
	return d, d%time.Millisecond == 0
}
