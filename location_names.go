package exportops

import (
	"iter"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
)

// Names returns every key of the bucket that a file_url may mean, whosever row it
// is in: what must not be taken for a file that nobody knows. Where that cannot
// be told, as of a URL of a host that is not configured, it returns instead what
// the last part of such a key may be.
func (l Locator) Names(fileURL string) (keys, lastParts []string) {
	if fileURL == "" {
		return nil, nil
	}
	r, err := l.read(fileURL)
	switch {
	case err != nil:
		return nil, lastPartsOf(fileURL)
	case r.noFile || l.elsewhere(r, fileURL):
		return nil, nil
	case r.bucket != l.bucket():
		return nil, lastPartsOf(fileURL)
	}
	key, err := r.decodedKey()
	if err != nil {
		return []string{r.key}, lastPartsOf(fileURL)
	}
	if keys = []string{key}; r.mayBeLiteral && r.key != key {
		keys = append(keys, r.key)
	}
	for _, key := range keys {
		if below := l.below(key); below != key {
			keys = append(keys, below)
		}
	}
	return keys, nil
}

// MayName yields the keys because of which a row must keep other rows from having
// a file deleted. Where Resolve reads the file_url they are exact. Where it
// refuses, they are whatever the URL may mean by a key that would be the row's
// own: far too many, and never a reason to delete anything.
func (l Locator) MayName(fileURL, userID string) iter.Seq[string] {
	return func(yield func(string) bool) {
		at := l.Resolve(&fileURL, userID)
		switch {
		case at.NoFile:
			return
		case at.Refused == "":
			_ = yield(at.Key) && at.Literal != "" && yield(at.Literal)
			return
		}
		if r, err := l.read(fileURL); err == nil && l.elsewhere(r, fileURL) {
			return
		}
		begins := l.begins(userID)
		own := func(key string) bool {
			return len(key) <= longestKey && slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(key, b) })
		}
		for text := range textsOf(fileURL) {
			for key := range suffixes(text) {
				if own(key) && !yield(key) {
					return
				}
				if below := l.below(key); below != key && own(below) && !yield(below) {
					return
				}
			}
		}
	}
}

// begins are the ways in which a user's keys may begin, as owns has it.
func (l Locator) begins(userID string) []string {
	if !strings.Contains(l.KeyPrefix, "{user_id}") {
		return []string{l.below("") + l.KeyPrefix}
	}
	id, err := ParseID("user_id", userID)
	if err != nil {
		return nil
	}
	own := func(id string) string { return l.below("") + strings.ReplaceAll(l.KeyPrefix, "{user_id}", id) }
	return []string{own(id), own(userID)}
}

// elsewhere reports whether a file_url plainly names a file of a bucket that is not
// ours, and in no way mentions the one that is.
func (l Locator) elsewhere(r reading, fileURL string) bool {
	if r.bucket == l.bucket() || r.bucket == "" || r.vague {
		return false
	}
	for text := range textsOf(fileURL) {
		for part := range strings.SplitSeq(text, "/") {
			if strings.EqualFold(part, l.bucket()) {
				return false
			}
		}
	}
	return true
}

// below puts a key that is outside the prefix below it, as whoever wrote it may
// have left the prefix out.
func (l Locator) below(key string) string {
	prefix := strings.TrimSuffix(l.Prefix, "/")
	if prefix == "" || strings.HasPrefix(key, prefix+"/") {
		return key
	}
	return prefix + "/" + key
}

// lastPartsOf reads what stands behind the last slash in every way there is.
func lastPartsOf(fileURL string) []string {
	parts := []string{} // there is always something that cannot be read
	for text := range textsOf(fileURL) {
		parts = append(parts, text[strings.LastIndexByte(text, '/')+1:])
	}
	return parts
}

// textsOf yields all that may end in a key: the URL with and without what may be a
// fragment or a query, and the values of that, escaped and not, with what leads up and
// down in it and without. What no key holds, and browsers drop, is no part of it: a
// line's end behind the URL, and space around it.
func textsOf(fileURL string) iter.Seq[string] {
	return func(yield func(string) bool) {
		before, began := "", false
		for text := range partsOf(fileURL) {
			if began && text == before {
				continue
			}
			before, began = text, true
			last := ""
			for _, unescape := range []func(string) (string, error){asWritten, url.PathUnescape, url.QueryUnescape} {
				read, err := unescape(text)
				if err != nil {
					continue
				}
				read = strings.ReplaceAll(strings.Map(dropControl, read), `\`, "/")
				bare := strings.TrimSpace(read)
				read = strings.TrimRight(read, "/")
				for _, s := range []string{read, path.Clean(read), path.Clean(bare)} {
					if s == last || s == "." {
						continue
					}
					if last = s; !yield(s) {
						return
					}
				}
			}
		}
	}
}

// partsOf yields the parts of a URL that textsOf reads. They are nowhere kept: in a row
// that nobody made by accident there are millions.
func partsOf(fileURL string) iter.Seq[string] {
	return func(yield func(string) bool) {
		whole := strings.ReplaceAll(fileURL, `\`, "/")
		if _, rest, ok := cutScheme(whole); ok && strings.HasPrefix(rest, "//") {
			whole = rest[2:]
		}
		noFragment, _, _ := strings.Cut(whole, "#")
		noQuery, query, _ := strings.Cut(noFragment, "?")
		withFragment, _, _ := strings.Cut(whole, "?") // which may be part of a key
		if !yield(whole) || !yield(noFragment) || !yield(noQuery) || !yield(withFragment) {
			return
		}
		for pair := range strings.SplitSeq(query, "&") {
			if _, value, _ := strings.Cut(pair, "="); !yield(value) {
				return
			}
		}
	}
}

func dropControl(c rune) rune {
	if unicode.IsControl(c) {
		return -1
	}
	return c
}

func asWritten(s string) (string, error) { return s, nil }

// suffixes yields what of a path stands behind each of its slashes, and all of it.
func suffixes(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(text) {
			var ok bool
			if _, text, ok = strings.Cut(text, "/"); !ok {
				return
			}
		}
	}
}
