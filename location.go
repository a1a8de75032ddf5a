package exportops

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Location is where a file lives.
type Location struct {
	Bucket string
	Key    string // decoded, clean, relative to the bucket, "/" between parts
}

// Resolution is what a file_url means under a Locator's rules.
type Resolution struct {
	Location
	// NoFile is set where there is nothing to delete: no file_url, or a file
	// that is generated on demand.
	NoFile bool
	// Refused says, in one sentence, why the location is not ours to touch;
	// "" when it is.
	Refused string
	// Literal is the key taken without decoding, where that differs: a file
	// that exists under this name makes the location ambiguous, and it is
	// refused. "" otherwise.
	Literal string
}

// DefaultBucket is the bucket of a Locator that names none.
const DefaultBucket = "exports"

// Locator says which files are ours. A file_url is data that users may edit:
// everything outside the rules is refused.
type Locator struct {
	// Bucket that holds the files; "" means DefaultBucket. Where the store is a
	// folder, the folder is the bucket.
	Bucket string
	// Prefix is the part of the bucket that is ours: "" for all of it, else it
	// ends in "/".
	Prefix string
	// KeyPrefix is what must follow Prefix in the key of a row, such as
	// "{user_id}/", where {user_id} stands for the row's user id; "" for
	// anything.
	KeyPrefix string
	// Hosts are the hosts of https URLs that are ours: "host", "host:port" or
	// "host/base/path", and with "http://" before it where the endpoint is not
	// encrypted.
	Hosts []string
	// Root is the absolute folder, "/" between its parts, that file:/// URLs
	// must lie in; "" where the store is no folder.
	Root string
}

// Resolve says what fileURL means in a row of userID. The key is
// percent-decoded exactly once. A refusal quotes what is at fault, cut short
// and without control characters, and never a URL's query.
func (l Locator) Resolve(fileURL *string, userID string) Resolution {
	if fileURL == nil || *fileURL == "" {
		return Resolution{NoFile: true}
	}
	r, err := l.read(*fileURL)
	if err != nil {
		return Resolution{Refused: err.Error()}
	}
	if r.noFile {
		return Resolution{NoFile: true}
	}
	key, err := r.decodedKey()
	if err == nil && r.bucket != l.bucket() {
		err = fmt.Errorf("the bucket %s is not the configured bucket %s", quoteShort(r.bucket), quoteShort(l.bucket()))
	}
	if err == nil {
		err = l.owns(key, userID)
	}
	if err != nil {
		return Resolution{Refused: err.Error()}
	}
	res := Resolution{Location: Location{Bucket: r.bucket, Key: key}}
	if r.mayBeLiteral && r.key != key {
		res.Literal = r.key
	}
	return res
}

func (l Locator) bucket() string {
	if l.Bucket == "" {
		return DefaultBucket
	}
	return l.Bucket
}

// reading is a file_url taken apart.
type reading struct {
	bucket       string
	key          string // as written, percent escapes and all
	mayBeLiteral bool   // the writer may not have escaped the key at all
	noFile       bool
	// vague says that the URL is of a host of ours and in a form that is not known to
	// name an object, so that its bucket, where that is not ours, says little.
	vague bool
}

func (r reading) decodedKey() (string, error) {
	key, err := url.PathUnescape(r.key)
	if err != nil {
		return "", fmt.Errorf("the key %s holds a %% that begins no escape such as %%20", quoteShort(r.key))
	}
	if why := keyFault(key); why != "" {
		return "", errors.New(why)
	}
	return key, nil
}

// owns refuses a key that is outside the prefixes.
func (l Locator) owns(key, userID string) error {
	prefix := l.Prefix
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/" // "a" must not own "ab/x"
	}
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return fmt.Errorf("the key %s is outside the configured prefix %s", quoteShort(key), quoteShort(prefix))
	}
	const placeholder = "{user_id}"
	if !strings.Contains(l.KeyPrefix, placeholder) {
		return mustBegin(rest, l.KeyPrefix, l.KeyPrefix)
	}
	// Only a well-formed id is put in: "" or "../" would widen the prefix.
	id, err := ParseID("user_id", userID)
	if err != nil {
		return fmt.Errorf("the key must begin with the user's id, and %s is not a UUID", quoteShort(userID))
	}
	// The row's own spelling counts as well, for writers that use capitals.
	own := strings.ReplaceAll(l.KeyPrefix, placeholder, id)
	if asWritten := strings.ReplaceAll(l.KeyPrefix, placeholder, userID); strings.HasPrefix(rest, asWritten) {
		own = asWritten
	}
	return mustBegin(rest, own, l.KeyPrefix)
}

func mustBegin(key, prefix, shown string) error {
	if !strings.HasPrefix(key, prefix) {
		return fmt.Errorf("the key %s does not begin with %s of its row", quoteShort(key), quoteShort(shown))
	}
	return nil
}
