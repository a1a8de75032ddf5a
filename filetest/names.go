package filetest

import (
	"errors"
	"strings"

	"github.com/exportops/exportops"
)

// hostileKeys are never acceptable, whatever resolved them.
var hostileKeys = []string{
	"", ".", "..", "/", "../x", "a/../x", "a/..", "./x", "a/./x", "a//x", "/x", "/etc/passwd", "x/",
	`a\x`, `..\x`, "a\x00", "\x00", "x\n", "x\x7f", "x\xff",
}

func (s story) takesAnyCleanName() {
	keys := []string{
		"plain.json", "with space.csv", " leading", "trailing ", "100%.md", "100%25.md", "%2e%2e", "a+b", "a&b=c",
		"what?.md", "c#1.md", "quote'\".md", "semi;colon", "a:b", "*", "[x]", "{y}", "$HOME", "~", "-rf", "...", "..a", ".hidden",
		"ü/数据/🙂.jsonl", "a/b/c/d/e/f/g/h.json", strings.Repeat("n", 255),
	}
	keys = s.holdable(keys)
	s.put(keys...)
	s.expectKeys(keys...)
	for i, r := range s.delete(keys...) {
		if r.Removal != exportops.Removed {
			s.Errorf("Delete(%q) = %s, %v", keys[i], r.Removal, r.Err)
		}
	}
	s.expectKeys()
}

func (s story) tellsSimilarNamesApart() {
	if s.FoldsNames {
		s.Skip("not applicable: the store folds names")
	}
	const composed, decomposed = "caf\u00e9.json", "cafe\u0301.json"
	s.put(s.holdable([]string{composed, decomposed, "A.json", "a.json", "a b", "a%20b", "a+b"})...)
	var want []exportops.Removal
	deleted := []string{decomposed, "A.json", "a%20b"}
	for _, key := range deleted {
		if s.holds(key) {
			want = append(want, exportops.Removed)
		} else {
			want = append(want, exportops.Absent)
		}
	}
	s.expect(s.delete(deleted...), want...)
	s.expectKeys(s.holdable([]string{composed, "a.json", "a b", "a+b"})...)
}

func (s story) holds(key string) bool { return s.Holds == nil || s.Holds(key) }

// holdable returns those keys that the store can hold, and makes sure that the
// others are absent.
func (s story) holdable(keys []string) (held []string) {
	s.Helper()
	for _, key := range keys {
		if s.holds(key) {
			held = append(held, key)
		} else {
			s.expect(s.delete(key), exportops.Absent)
		}
	}
	return held
}

func (s story) doesNotDeleteByPrefix() {
	s.put("u/a", "u/ab", "u/a.json", "ua")
	s.expect(s.delete("u/a"), exportops.Removed)
	s.expect(s.delete("u/a/b"), exportops.Absent)
	s.expectKeys("u/ab", "u/a.json", "ua")
}

func (s story) survivesVeryLongNames() {
	s.put("kept")
	long := []string{strings.Repeat("n", 4000), strings.Repeat("d/", 2000) + "n", strings.Repeat("n", 256) + "/n"}
	for i, r := range s.delete(append(long, "kept")...) {
		if i < len(long) && r.Removal != exportops.Absent && r.Removal != exportops.Unproven &&
			(r.Removal != exportops.Removed || !s.TakesAbsentForDeleted) {
			s.Errorf("Delete of a name of %d bytes = %s", len(long[i]), r.Removal)
		}
		if i == len(long) && r.Removal != exportops.Removed {
			s.Errorf("Delete beside very long names = %s, %v", r.Removal, r.Err)
		}
	}
	for _, key := range long {
		if info := s.stat(key); info.Exists && info.Err == nil {
			s.Errorf("a name of %d bytes exists", len(key))
		}
	}
}

func (s story) refusesHostileKeys() {
	s.put("x", "a/x")
	for i, r := range s.delete(hostileKeys...) {
		if r.Removal != exportops.Unproven || !errors.Is(r.Err, exportops.ErrBadKey) {
			s.Errorf("Delete(%q) = %s, %v, want ErrBadKey", hostileKeys[i], r.Removal, r.Err)
		}
	}
	s.expectKeys("x", "a/x")
	for _, key := range hostileKeys {
		if info := s.stat(key); !info.Exists || !errors.Is(info.Err, exportops.ErrBadKey) {
			s.Errorf("Stat(%q) = %+v, want ErrBadKey", key, info)
		}
	}
}

func (s story) oneBadKeyDoesNotStopTheOthers() {
	s.put("a", "b", "sub/c")
	s.expect(s.delete("a", "../b", "b", "", "sub/c", "gone"),
		exportops.Removed, exportops.Unproven, exportops.Removed, exportops.Unproven, exportops.Removed, exportops.Absent)
	s.expectKeys()
}
