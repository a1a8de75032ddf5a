package filetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// walk walks to the end. What is odd, or not described, fails the test.
func (s story) walk(after string) (keys []string) {
	s.Helper()
	for f, err := range s.Store.Walk(s.Context(), after) {
		if err != nil {
			s.Fatalf("Walk: %v", err)
		}
		if f.Odd != "" || f.Modified.IsZero() {
			s.Errorf("Walk: %+v", f)
		}
		keys = append(keys, f.Key)
	}
	return keys
}

func (s story) expectWalk(after string, want ...string) {
	s.Helper()
	if d := cmp.Diff(strings.Join(want, "\n"), strings.Join(s.walk(after), "\n")); d != "" {
		s.Errorf("the walk after %q (-want +got):\n%s", after, d)
	}
}

// walksInOrder has names in folders come between others just as the bytes of
// their keys do.
func (s story) walksInOrder() {
	keys := []string{"A", "a b", "a-b/x", "a/b/c", "a/b-", "a0", "b/1/2/3", "b/1/2/30", "b/1/20", "c%2Fd", "d", "ü/é.csv", "z"}
	keys = s.holdable(keys)
	s.put(keys...)
	slices.Sort(keys)
	s.expectWalk("", keys...)
	for i, key := range keys {
		s.expectWalk(key, keys[i+1:]...)
	}
	for _, after := range []string{"0", "a", "a/", "a/a", "a/b", "a/b/", "a/b/d", "b/1/2", "b/1/2/3/4", "b0", "zz", "~"} {
		i, found := slices.BinarySearch(keys, after)
		if found {
			i++
		}
		s.expectWalk(after, keys[i:]...)
	}
}

func (s story) walksThroughMany() {
	var keys []string
	for i := range 120 {
		keys = append(keys, fmt.Sprintf("many/%d", i))
	}
	for i := range 41 {
		keys = append(keys, fmt.Sprintf("u%d/%d/file", i%7, i))
	}
	s.put(keys...)
	slices.Sort(keys)
	s.expectWalk("", keys...)
	s.expectWalk(keys[70], keys[71:]...)
}

func (s story) walksTellSizeAndTime() {
	s.write("u/a", "four")
	s.write("empty", "")
	for f, err := range s.Store.Walk(s.Context(), "") {
		s.must(err)
		is := s.stat(f.Key)
		// A look may tell the time in whole seconds, and another version.
		if f.Size != is.Size || f.Modified.Unix() != is.Modified.Unix() {
			s.Errorf("Walk: %+v, and Stat: %+v", f, is)
		}
	}
}

func (s story) walksEndEarly() {
	s.expectWalk("")
	s.put("a", "b/c", "b/d")
	for f, err := range s.Store.Walk(s.Context(), "") {
		s.must(err)
		if f.Key == "b/c" {
			break
		}
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	var last error
	for _, err := range s.Store.Walk(ctx, "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		s.Errorf("Walk: %v, want the context's error", last)
	}
}

func (s story) walksPassOverMarks() {
	if s.Mark == nil {
		s.Skip("not applicable: the store has no mark")
	}
	s.must(s.Mark())
	s.put("a")
	s.expectWalk("", "a")
}

func (s story) walksNeedARoot() {
	if s.RemoveRoot == nil {
		s.Skip("not applicable: the root cannot be taken away")
	}
	s.put("a")
	s.must(s.RemoveRoot())
	n := 0
	for _, err := range s.Store.Walk(s.Context(), "") {
		if n++; !errors.Is(err, exportops.ErrRootMissing) || !exportops.IsKind(err, exportops.KindUnavailable) {
			s.Errorf("Walk without its root: %v, want ErrRootMissing", err)
		}
	}
	if n != 1 {
		s.Errorf("Walk without its root yielded %d times", n)
	}
}
