package filetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

func (s story) deletesAndSaysWhatWasAbsent() {
	s.put("a.json", "u/b.json", "u/kept.json")
	results := s.delete("gone.json", "a.json", "u/gone.json", "u/b.json", "no/such/folder/x")
	s.expect(results, exportops.Absent, exportops.Removed, exportops.Absent, exportops.Removed, exportops.Absent)
	for i, want := range []int64{0, int64(len("content of a.json")), 0, int64(len("content of u/b.json")), 0} {
		// Some stores do not know what they freed: zero, never something else.
		if results[i].Bytes != want && results[i].Bytes != 0 {
			s.Errorf("file %d freed %d bytes, want %d", i, results[i].Bytes, want)
		}
	}
	s.expectKeys("u/kept.json")
}

func (s story) deletesAFileOnce() {
	s.put("a")
	s.expect(s.delete("a"), exportops.Removed)
	s.expect(s.delete("a"), exportops.Absent)
	s.put("a")
	s.expect(s.delete("a"), exportops.Removed)
}

func (s story) takesAKeyTwice() {
	s.put("u/a", "u/b")
	results := s.delete("u/a", "u/b", "u/a")
	s.expect(results[:2], exportops.Removed, exportops.Removed)
	if r := results[2]; r.Removal != exportops.Absent && r.Removal != exportops.Removed {
		s.Errorf("the same key again = %s, %v, want deleted or absent", r.Removal, r.Err)
	}
	s.expectKeys()
}

func (s story) takesAnEmptyBatch() {
	s.put("a")
	if results := s.delete(); len(results) != 0 {
		s.Errorf("Delete of nothing answered %+v", results)
	}
	s.expectKeys("a")
}

// deletesAFullBatch mixes what is there and what is not, over several folders,
// so that an answer out of order shows.
func (s story) deletesAFullBatch() {
	var keys []string
	var want []exportops.Removal
	for i := range s.Store.MaxBatch() {
		key := fmt.Sprintf("user-%d/export-%d.json", i*7%13, i)
		keys = append(keys, key)
		if i%3 == 0 {
			want = append(want, exportops.Absent)
			continue
		}
		s.write(key, "")
		want = append(want, exportops.Removed)
	}
	s.put("kept")
	s.expect(s.delete(keys...), want...)
	s.expectKeys("kept")
}

func (s story) refusesATooLargeBatch() {
	s.put("a")
	keys := make([]string, s.Store.MaxBatch()+1)
	refs := make([]exportops.FileRef, len(keys))
	for i := range keys {
		keys[i], refs[i].Key = "a", "a"
	}
	if _, err := s.Store.Delete(s.Context(), refs); !exportops.IsKind(err, exportops.KindTooLarge) {
		s.Errorf("Delete of %d files: %v, want it to be too large", len(refs), err)
	}
	if _, err := s.Store.Stat(s.Context(), keys); !exportops.IsKind(err, exportops.KindTooLarge) {
		s.Errorf("Stat of %d files: %v, want it to be too large", len(keys), err)
	}
	s.expectKeys("a")
}

// stopsWhenTheContextEnds takes an error of the whole call, or of each file.
func (s story) stopsWhenTheContextEnds() {
	s.put("a", "b")
	results, err := s.Store.Delete(s.cancelled(), []exportops.FileRef{{Key: "a"}, {Key: "b"}, {Key: "gone"}})
	if err != nil && !errors.Is(err, context.Canceled) {
		s.Errorf("Delete: %v, want the context's error", err)
	}
	if err == nil {
		s.expect(results, exportops.Unproven, exportops.Unproven, exportops.Unproven)
	}
	for i, r := range results {
		if !errors.Is(r.Err, context.Canceled) {
			s.Errorf("file %d: %v, want the context's error", i, r.Err)
		}
	}
	s.expectKeys("a", "b")
	for name, call := range map[string]func(context.Context) error{
		"Stat":  func(ctx context.Context) error { _, err := s.Store.Stat(ctx, []string{"gone"}); return err },
		"Check": func(ctx context.Context) error { _, err := s.Store.Check(ctx); return err },
		"Probe": s.Store.Probe,
	} {
		if err := call(s.cancelled()); !errors.Is(err, context.Canceled) {
			s.Errorf("%s: %v, want the context's error", name, err)
		}
	}
	s.expectKeys("a", "b")
}
