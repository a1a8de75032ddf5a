package httpapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
)

// The functions here walk JSON that is known to be valid, without decoding it.

// members yields the members of an object: the key with its quotes, and the
// value.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := skipSpace(object, skipSpace(object, 0)+1)
		for object[i] != '}' {
			keyEnd := skipString(object, i)
			start := skipSpace(object, skipSpace(object, keyEnd)+1) // past the colon
			end := skipValue(object, start)
			if !yield(object[i:keyEnd], object[start:end]) {
				return
			}
			if i = skipSpace(object, end); object[i] == ',' {
				i = skipSpace(object, i+1)
			}
		}
	}
}

// elements yields the elements of an array.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := skipSpace(array, skipSpace(array, 0)+1)
		for array[i] != ']' {
			end := skipValue(array, i)
			if !yield(array[i:end]) {
				return
			}
			if i = skipSpace(array, end); array[i] == ',' {
				i = skipSpace(array, i+1)
			}
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that starts at i.
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index after the value that starts at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for ; ; i++ {
			switch b[i] {
			case '"':
				i = skipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && skipSpace(b, i) == i {
		i++
	}
	return i
}

func decodeKey(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1 : len(key)-1])
	}
	var s string
	if err := json.Unmarshal(key, &s); err != nil {
		panic(err) // the document was found valid
	}
	return s
}

// maxDepth bounds how deep objects and arrays may nest: each level is walked
// again for the one around it.
const maxDepth = 64

// checkNames refuses a name that comes twice in one object, at any depth, and
// what nests deeper than maxDepth.
func checkNames(value []byte, depth int) error {
	value = value[skipSpace(value, 0):]
	if value[0] != '{' && value[0] != '[' {
		return nil
	}
	if depth > maxDepth {
		return broken("it nests deeper than %d levels", maxDepth)
	}
	if value[0] == '[' {
		for inner := range elements(value) {
			if err := checkNames(inner, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	seen := nameSet{}
	for key, inner := range members(value) {
		name := decodeKey(key)
		if !seen.add(name) {
			return broken("the name %s comes twice", strconv.QuoteToASCII(shorten(name)))
		}
		if err := checkNames(inner, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// nameSet is a set that needs no memory of its own while it is small.
type nameSet struct {
	few  [16]string
	n    int
	many map[string]bool
}

// add reports whether the name was not in the set.
func (s *nameSet) add(name string) bool {
	if slices.Contains(s.few[:min(s.n, len(s.few))], name) || s.many[name] {
		return false
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
	} else {
		if s.many == nil {
			s.many = map[string]bool{}
		}
		s.many[name] = true
	}
	s.n++
	return true
}

// hasLoneSurrogate reports whether an escape in value stands for half of a
// character, which decoding would silently replace.
func hasLoneSurrogate(value []byte) bool {
	unit := func(i int) rune {
		if i+6 > len(value) || value[i] != '\\' || value[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(value[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case 0xd800 <= u && u < 0xdc00:
			if low := unit(i + 6); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		case 0xdc00 <= u && u < 0xe000:
			return true
		case u >= 0:
			i += 5
		default:
			i++ // an escape of two characters
		}
	}
	return false
}
