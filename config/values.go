package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/exportops/exportops"
)

const (
	day         = 24 * time.Hour
	centuryDays = 36500
	century     = centuryDays * day
)

func invalid(setting, message, hint string) error {
	return &exportops.Error{Kind: exportops.KindInvalid, Field: setting, Message: message, Hint: hint}
}

// localPath reads what follows the scheme, percent-encoded once, and makes it
// absolute.
func localPath(name, given, rest, hint string) (string, error) {
	p, err := url.PathUnescape(rest)
	switch {
	case err != nil:
		return "", invalid(name, fmt.Sprintf("%q holds a %% that encodes nothing", given), hint+`; write a plain % as %25`)
	case p == "" || strings.ContainsAny(p, "\x00?#"):
		return "", invalid(name, fmt.Sprintf("%q names no path", given), hint)
	}
	abs, err := filepath.Abs(filepath.FromSlash(p))
	if err != nil {
		return "", fmt.Errorf("locate %s: %w", name, err)
	}
	return abs, nil
}

func restoredFrom(s string) (exportops.Time, error) {
	if s == "" {
		return exportops.Time{}, nil
	}
	t, err := exportops.ParseTime(s)
	if err != nil {
		return t, invalid("EXPORTOPS_RESTORED_FROM", fmt.Sprintf("%q is no time", s), "use the time of the backup, such as 2026-01-31T12:00:00Z")
	}
	return t, nil
}

func keyPrefix(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if !cleanPrefix(strings.ReplaceAll(s, "{user_id}", "u")) || !strings.HasSuffix(s, "/") {
		return "", invalid("EXPORT_KEY_PREFIX", fmt.Sprintf("%q is not a prefix of keys", s),
			"use something like {user_id}/ or exports/{user_id}/, ending in /")
	}
	return s, nil
}

// cleanPrefix reports whether s is a/b or a/b/ without empty, . and .. parts.
func cleanPrefix(s string) bool {
	if strings.ContainsAny(s, "\\{}\x00") {
		return false
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(s, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

var daysThenRest = regexp.MustCompile(`^([0-9]{1,6})d(.*)$`)

// retention reads a duration within bounds.
func retention(name, s string, least time.Duration) (time.Duration, error) {
	hint := "use a duration such as 24h, 30d or 1d12h, from " + ShowDuration(least) + " to " + ShowDuration(century)
	d, ok := length(s)
	switch {
	case !ok:
		return 0, invalid(name, fmt.Sprintf("%q is not a duration", s), hint)
	case d < least || d > century:
		return 0, invalid(name, fmt.Sprintf("%q is out of range", s), hint)
	}
	return d, nil
}

// length reads a Go duration, in front of which days may stand: 24h, 30d,
// 1d12h. One beyond a century is cut somewhere beyond it.
func length(s string) (time.Duration, bool) {
	var d time.Duration
	rest := s
	if m := daysThenRest.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, false
		}
		d, rest = time.Duration(min(n, 2*centuryDays))*day, m[2]
	}
	if rest != "" || d == 0 {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 {
			return 0, false
		}
		d += min(more, 2*century)
	}
	return d, true
}

// ShowDuration writes a duration in days where it is whole days, else as Go
// does.
func ShowDuration(d time.Duration) string { return exportops.ShowDuration(d) }

func oneOf(name, s string, accepted ...string) (string, error) {
	if !slices.Contains(accepted, s) {
		return "", invalid(name, fmt.Sprintf("%q is not accepted", s), "use "+strings.Join(accepted, " or "))
	}
	return s, nil
}

var fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Next returns when the schedule of a job, as Config holds it, comes next after
// an instant, in UTC; the zero time for a schedule that Parse would refuse.
func Next(schedule string, after time.Time) time.Time {
	parsed, err := fiveFields.Parse(schedule)
	if err != nil {
		return time.Time{}
	}
	return parsed.Next(after.UTC())
}

// schedule accepts five fields; a zone or a descriptor such as @daily would
// say less plainly when the job runs.
func schedule(name, s string) (string, error) {
	if strings.Contains(s, "TZ=") || strings.HasPrefix(s, "@") {
		return "", invalid(name, fmt.Sprintf("%q is not a cron expression of five fields", s), "use five fields in UTC, such as 0 2 * * *")
	}
	parsed, err := fiveFields.Parse(s)
	if err != nil {
		return "", invalid(name, fmt.Sprintf("%q is not a cron expression: %v", s, err), "use five fields in UTC, such as 0 2 * * *")
	}
	if parsed.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return "", invalid(name, fmt.Sprintf("%q names a day that never comes", s), "use five fields in UTC, such as 0 2 * * *")
	}
	return strings.Join(strings.Fields(s), " "), nil
}

func address(name, s string) (string, error) {
	const hint = "use host:port, such as 127.0.0.1:8080 or :8080"
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", invalid(name, fmt.Sprintf("%q is not an address", s), hint)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", invalid(name, fmt.Sprintf("%q has no port from 0 to 65535", s), hint)
	}
	if strings.ContainsAny(host, "/ ") {
		return "", invalid(name, fmt.Sprintf("%q is not an address", s), hint)
	}
	return s, nil
}

func alertInterval(s string) (time.Duration, error) {
	const least, most = 10 * time.Second, time.Hour
	if s == "off" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		return 0, invalid("EXPORTOPS_ALERT_INTERVAL", fmt.Sprintf("%q is neither off nor a duration from 10s to 1h", s), "use something like 1m")
	}
	return d, nil
}

func alertReminder(s string) (time.Duration, error) {
	const least, most = 5 * time.Minute, 7 * day
	if s == "off" {
		return 0, nil
	}
	d, ok := length(s)
	if !ok || d < least || d > most {
		return 0, invalid("EXPORTOPS_ALERT_REMINDER", fmt.Sprintf("%q is neither off nor a duration from 5m to 7d", s), "use something like 4h")
	}
	return d, nil
}
