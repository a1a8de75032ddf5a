package eventlog

import (
	"encoding/json"
	"iter"
	"strconv"
	"unicode/utf8"
)

// The functions here walk JSON that json.Marshal made: compact and valid.

// members yields the members of an object: the key with its quotes, and the
// value.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for i := 1; object[i] != '}'; {
			if object[i] == ',' {
				i++
			}
			colon := skipString(object, i)
			end := skipValue(object, colon+1)
			if !yield(object[i:colon], object[colon+1:end]) {
				return
			}
			i = end
		}
	}
}

// elements yields the elements of an array.
func elements(array []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for n, i := 0, 1; array[i] != ']'; n++ {
			if array[i] == ',' {
				i++
			}
			end := skipValue(array, i)
			if !yield(n, array[i:end]) {
				return
			}
			i = end
		}
	}
}

func hasMember(object []byte, name string) bool {
	for key := range members(object) {
		if string(key[1:len(key)-1]) == name {
			return true
		}
	}
	return false
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
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i // the end of what holds a number or a word
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

func decode(quoted []byte) string {
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return "" // not from json.Marshal; nothing of it may be shown
	}
	return s
}

func appendString(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...) // a string always encodes
	}
	return escape(dst, quoted)
}

// escape adds a quoted string, with the control characters that JSON allows
// to stand as they are written as escapes too: DEL and U+0080 to U+009F, which
// hold a line break and the start of terminal sequences.
func escape(dst, quoted []byte) []byte {
	start := 0
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == 0x7f:
			dst = append(append(dst, quoted[start:i]...), `\u007f`...)
			start = i + 1
		case c == 0xc2 && quoted[i+1] < 0xa0:
			r, _ := utf8.DecodeRune(quoted[i:])
			dst = append(append(dst, quoted[start:i]...), `\u00`...)
			dst = strconv.AppendInt(dst, int64(r), 16)
			start = i + 2
			i++
		}
	}
	return append(dst, quoted[start:]...)
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
