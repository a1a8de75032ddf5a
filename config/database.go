package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Postgres is a database server. The zero value means that there is none, and
// everything is kept in SQLite.
type Postgres struct {
	URL      Secret // it may hold a password
	PoolSize int    // connections of this process
	// LockTimeout is how long a statement waits for a lock, StatementTimeout how
	// long it may take.
	LockTimeout, StatementTimeout time.Duration
}

// database reads sqlite:///absolute, sqlite://relative and postgres://.
func (s Settings) database() (path string, pg Postgres, errs []error) {
	const name, hint = "DATABASE_URL", "use sqlite:///absolute/file.db, sqlite://relative.db or postgres://user:password@host:5432/database" //nolint:gosec // an example
	scheme, rest, ok := strings.Cut(s.DatabaseURL, "://")
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	// These are read whatever the database is, so that a mistake shows at once.
	pg.PoolSize, err = count("EXPORTOPS_DB_POOL_SIZE", s.DBPoolSize, 2, 1000)
	keep(err)
	pg.LockTimeout, err = timeout("EXPORTOPS_DB_LOCK_TIMEOUT", s.DBLockTimeout)
	keep(err)
	pg.StatementTimeout, err = timeout("EXPORTOPS_DB_STATEMENT_TIMEOUT", s.DBStatementTimeout)
	keep(err)
	switch {
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		// The URL may hold a password: neither it nor the error of reading it is
		// repeated.
		u, err := url.Parse(s.DatabaseURL)
		if err != nil || u.Host == "" && u.Query().Get("host") == "" || strings.Trim(u.Path, "/") == "" {
			keep(invalid(name, "the URL names no host and database, or cannot be read",
				hint+"; write special characters of the password as %21 and so on"))
		}
		pg.URL = Secret(s.DatabaseURL)
		return "", pg, errs
	case !ok || scheme != "sqlite":
		keep(invalid(name, "the URL begins neither with sqlite:// nor with postgres://", hint))
	default:
		path, err = localPath(name, s.DatabaseURL, rest, hint)
		keep(err)
	}
	return path, Postgres{}, errs
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	qualified  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_$]*\.)?[A-Za-z_][A-Za-z0-9_$]*$`)
)

// tableName reads the name of the table of export logs, on Postgres with its
// schema.
func tableName(s string, postgres bool) (string, error) {
	const name = "EXPORT_LOGS_TABLE"
	wrong := fmt.Sprintf("%q is not the name of a table of yours", s)
	if postgres {
		if !qualified.MatchString(s) || strings.HasPrefix(s, "exportops.") {
			return "", invalid(name, wrong, "use table or schema.table, in letters, digits and _; the schema exportops is ours")
		}
		if !strings.Contains(s, ".") {
			s = "public." + s
		}
		return s, nil
	}
	if !identifier.MatchString(s) || strings.HasPrefix(s, "exportops_") {
		return "", invalid(name, wrong, "use letters, digits and _; names that begin with exportops_ are ours")
	}
	return s, nil
}

func count(name, s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, invalid(name, fmt.Sprintf("%q is not a whole number from %d to %d", s, least, most), "use something like 10")
	}
	return n, nil
}

func timeout(name, s string) (time.Duration, error) {
	const least, most = 100 * time.Millisecond, time.Hour
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		return 0, invalid(name, fmt.Sprintf("%q is not a duration from %s to %s", s, least, most), "use something like 5s or 2m")
	}
	return d, nil
}

// ShowURL returns a setting, or a part of one, that may be a URL: without its
// password, and those of URLs in its query.
func ShowURL(s string) string {
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return scheme + "://…"
	}
	q, changed := u.Query(), false
	for name, values := range q {
		for i, v := range values {
			shown := ShowURL(v)
			if name == "password" {
				shown = "xxxxx"
			}
			values[i], changed = shown, changed || shown != v
		}
	}
	if changed {
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
