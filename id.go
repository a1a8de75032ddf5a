package exportops

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// NewID returns a random UUID (RFC 9562, version 4) in its usual form.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatID(b)
}

func formatID(b [16]byte) string {
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// ParseID reads a UUID in its 36-character form and returns it in lower case.
// The error names field and is of KindInvalid.
func ParseID(field, s string) (string, error) {
	if !validID(s) {
		return "", Invalid(field, "%s is not a UUID such as 7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b", quoteShort(s))
	}
	if !strings.ContainsAny(s, "ABCDEF") {
		return s, nil // the usual case, which costs nothing
	}
	lower := []byte(s)
	for i, c := range lower {
		if 'A' <= c && c <= 'F' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower), nil
}

// IDsIn returns the UUIDs that a key holds, in lower case.
func IDsIn(key string) (ids []string) {
	const length = 36
	for i := 0; i+length <= len(key); i++ {
		if id, err := ParseID("", key[i:i+length]); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// KeysByID returns the UUIDs that keys hold, each once, and the keys by them.
func KeysByID(keys []string) (ids []string, with map[string][]string) {
	with = map[string][]string{}
	for _, key := range keys {
		for _, id := range IDsIn(key) {
			if with[id] == nil {
				ids = append(ids, id)
			}
			with[id] = append(with[id], key)
		}
	}
	return ids, with
}

func validID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}
