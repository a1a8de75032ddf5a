package exportops

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckKey refuses a key that is not a clean relative path, with an error that
// wraps ErrBadKey: every store calls it before it acts, whoever resolved the
// key.
func CheckKey(key string) error {
	if why := keyFault(key); why != "" {
		return fmt.Errorf("%w: %s", ErrBadKey, why)
	}
	return nil
}

// longestKey is how many bytes a key may have. Buckets hold half as much, and an index
// of Postgres, by which the ledger knows open claims, takes no more than 2704 with all
// else that is in it: one row with a longer key would stop every cleanup.
const longestKey = 2048

// keyFault says in one sentence what is wrong with a decoded key, or "".
func keyFault(key string) string {
	switch {
	case key == "":
		return "the key is empty"
	case len(key) > longestKey:
		return fmt.Sprintf("the key of %d bytes is longer than %d", len(key), longestKey)
	case !utf8.ValidString(key):
		return fmt.Sprintf("the key %s is not valid UTF-8", quoteShort(key))
	case strings.IndexFunc(key, unicode.IsControl) >= 0:
		return fmt.Sprintf("the key %s holds a control character", quoteShort(key))
	case strings.Contains(key, `\`):
		return fmt.Sprintf("the key %s holds a backslash", quoteShort(key))
	case key[0] == '/':
		return fmt.Sprintf("the key %s is an absolute path", quoteShort(key))
	case strings.HasSuffix(key, "/"):
		return fmt.Sprintf("the key %s ends in a slash", quoteShort(key))
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Sprintf("the key %s holds the path segment %q", quoteShort(key), part)
		}
	}
	return ""
}
