package eventlog

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
)

// redactor rewrites the members of events that may hold personal data. It
// knows them by name, at any depth.
type redactor struct {
	users UserIDs
	key   []byte
}

func newRedactor(u UserIDs, key []byte) redactor {
	return redactor{users: u, key: append([]byte(nil), key...)}
}

// appendMembers adds the members of a JSON object, each after a comma, but
// for "type", which the line has.
func (r redactor) appendMembers(dst, object []byte) []byte {
	for key, value := range members(object) {
		if string(key) == `"type"` {
			continue
		}
		if next := r.appendMember(append(dst, ','), key, value); next != nil {
			dst = next
		}
	}
	return dst
}

// appendMember adds one member; nil means that it is left out.
func (r redactor) appendMember(dst, key, value []byte) []byte {
	name := string(key)
	if name == `"user_id"` || name == `"exports_per_user"` {
		if r.users == Omit {
			return nil
		}
	}
	dst = append(escape(dst, key), ':')
	switch name {
	case `"user_id"`:
		if value[0] == '"' && r.users == Hash {
			return appendString(dst, r.user(decode(value)))
		}
	case `"exports_per_user"`:
		if value[0] == '{' && r.users == Hash {
			return appendCounts(dst, value, r.user)
		}
	case `"error_distribution"`:
		if value[0] == '{' {
			return appendCounts(dst, value, r.errorText)
		}
	case `"error"`, `"error_message"`, `"error_type"`:
		if value[0] == '"' {
			return appendString(dst, r.errorText(decode(value)))
		}
	}
	return r.appendValue(dst, value)
}

// appendValue adds a value, with what is inside it rewritten.
func (r redactor) appendValue(dst, value []byte) []byte {
	switch value[0] {
	case '{':
		dst = append(dst, '{')
		start := len(dst)
		for key, inner := range members(value) {
			at := len(dst)
			if at > start {
				dst = append(dst, ',')
			}
			if next := r.appendMember(dst, key, inner); next != nil {
				dst = next
			} else {
				dst = dst[:at]
			}
		}
		return append(dst, '}')
	case '[':
		dst = append(dst, '[')
		for i, inner := range elements(value) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = r.appendValue(dst, inner)
		}
		return append(dst, ']')
	case '"':
		return escape(dst, value)
	default:
		return append(dst, value...)
	}
}

// appendCounts adds an object of counts under rewritten names, sorted; counts
// that end up under one name are added up.
func appendCounts(dst, object []byte, rename func(string) string) []byte {
	counts := map[string]int64{}
	for key, value := range members(object) {
		var n int64
		if json.Unmarshal(value, &n) != nil {
			n = 1 // no count of ours looks like this; the name still matters
		}
		counts[rename(decode(key))] += n
	}
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		dst = appendInt(dst, counts[name])
	}
	return append(dst, '}')
}

// user returns the hashed form of a user id.
func (r redactor) user(id string) string {
	if id == "" {
		return id
	}
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(id))
	return "u_" + hex.EncodeToString(mac.Sum(nil)[:8])
}

var uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// errorText returns an error text as it may be written. File names often begin
// with the user's id, so where ids are not plain no id is left in a text.
func (r redactor) errorText(s string) string {
	if r.users != Plain {
		s = uuid.ReplaceAllLiteralString(s, "[id]")
	}
	return Scrub(s)
}
