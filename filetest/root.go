package filetest

import (
	"errors"

	"github.com/exportops/exportops"
)

func (s story) describesFiles() {
	s.write("u/a", "four")
	s.write("b", "")
	infos, err := s.Store.Stat(s.Context(), []string{"u/gone", "u/a", "gone/x", "b", "u", "u/a"})
	if err != nil || len(infos) != 6 {
		s.Fatalf("Stat = %+v, %v", infos, err)
	}
	for _, i := range []int{0, 2} {
		if infos[i] != (exportops.FileInfo{}) {
			s.Errorf("a file that is not there: %+v", infos[i])
		}
	}
	for i, size := range map[int]int64{1: 4, 3: 0, 5: 4} {
		if got := infos[i]; !got.Exists || got.Size != size || got.Modified.IsZero() || got.Err != nil {
			s.Errorf("a file of %d bytes: %+v", size, got)
		}
	}
	// A folder is nothing where there are none, and no file where there are.
	if got := infos[4]; got.Exists && !errors.Is(got.Err, exportops.ErrBadKey) {
		s.Errorf("a folder: %+v", got)
	}
}

func (s story) expectEmpty(want bool) {
	s.Helper()
	if got, err := s.Store.Check(s.Context()); got != want || err != nil {
		s.Errorf("Check = %v, %v, want %v", got, err, want)
	}
}

func (s story) isEmptyUntilSomethingIsThere() {
	s.expectEmpty(true)
	s.put("a")
	s.expectEmpty(false)
	s.delete("a")
	s.expectEmpty(true)
	s.put("u/v/a")
	s.expectEmpty(false)
}

func (s story) countsAMark() {
	if s.Mark == nil {
		s.Skip("not applicable: the store has no mark")
	}
	s.expectEmpty(true)
	s.must(s.Mark())
	s.expectEmpty(false)
	marks := s.keys()
	for _, r := range s.delete(marks...) {
		if r.Removal != exportops.Unproven || !errors.Is(r.Err, exportops.ErrBadKey) {
			s.Errorf("Delete of the mark %q = %s, %v, want ErrBadKey", marks, r.Removal, r.Err)
		}
	}
	s.expectEmpty(false)
}

func (s story) noticesAMissingRoot() {
	if s.RemoveRoot == nil {
		s.Skip("not applicable: the root cannot be taken away")
	}
	s.put("a")
	s.must(s.RemoveRoot())
	_, deleteErr := s.Store.Delete(s.Context(), []exportops.FileRef{{Key: "a"}, {Key: "gone"}})
	_, statErr := s.Store.Stat(s.Context(), []string{"a"})
	_, checkErr := s.Store.Check(s.Context())
	for name, err := range map[string]error{
		"Delete": deleteErr, "Stat": statErr, "Check": checkErr, "Probe": s.Store.Probe(s.Context()),
	} {
		if !errors.Is(err, exportops.ErrRootMissing) || !exportops.IsKind(err, exportops.KindUnavailable) {
			s.Errorf("%s without its root: %v, want ErrRootMissing", name, err)
		}
	}
}

func (s story) probesWithoutLeavingAnything() {
	for range 2 {
		if err := s.Store.Probe(s.Context()); err != nil {
			s.Fatalf("Probe: %v", err)
		}
		s.expectKeys()
		s.expectEmpty(true)
	}
	s.put("a")
	if err := s.Store.Probe(s.Context()); err != nil {
		s.Fatalf("Probe: %v", err)
	}
	s.expectKeys("a")
}

func (s story) hasAStableName() {
	id := s.Store.ID()
	s.put("a")
	s.delete("a")
	if id == "" || s.Store.ID() != id {
		s.Errorf("ID = %q, then %q", id, s.Store.ID())
	}
	if s.Store.MaxBatch() < 1 {
		s.Errorf("MaxBatch = %d", s.Store.MaxBatch())
	}
}
