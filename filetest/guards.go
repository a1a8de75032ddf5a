package filetest

import (
	"time"

	"github.com/exportops/exportops"
)

func guarded(key string, g exportops.FileGuard) []exportops.FileRef {
	return []exportops.FileRef{{Key: key, Guard: &g}}
}

func (s story) guardsBySize() {
	s.write("a", "four")
	other, same := int64(5), int64(4)
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{Size: &other})), exportops.Replaced)
	s.expectKeys("a")
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{Size: &same})), exportops.Removed)
	s.write("empty", "")
	none := int64(0)
	s.write("full", "x")
	s.expect(s.deleteRefs(guarded("full", exportops.FileGuard{Size: &none})), exportops.Replaced)
	s.expect(s.deleteRefs(guarded("empty", exportops.FileGuard{Size: &none})), exportops.Removed)
}

// guardsByTime uses the time the store itself reports: its clock may not be
// ours.
func (s story) guardsByTime() {
	s.put("a")
	written := s.stat("a").Modified
	if written.IsZero() {
		s.Fatal("Stat reports no time")
	}
	before := exportops.At(written.Add(-time.Millisecond))
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{NotAfter: before})), exportops.Replaced)
	s.expectKeys("a")
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{NotAfter: written})), exportops.Removed)
}

func (s story) guardsByVersion() {
	s.put("a")
	version := s.stat("a").Version
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{Version: "another"})), exportops.Replaced)
	s.expectKeys("a")
	s.expect(s.deleteRefs(guarded("a", exportops.FileGuard{Version: version})), exportops.Removed)
}

func (s story) guardsAbsentFile() {
	size := int64(1)
	s.expectExactly(s.deleteRefs(guarded("gone", exportops.FileGuard{Size: &size})), exportops.Absent)
}
