// Package filetest is the conformance suite that every file store passes.
package filetest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// Fixture is a store that holds nothing, and hooks that reach behind it.
type Fixture struct {
	Store exportops.FileStore
	// Put writes a file, and the folders it needs.
	Put func(key string, content []byte) error
	// Keys lists the keys of every file there is, in any order.
	Keys func() ([]string, error)
	// RemoveRoot takes the root away while the store is open; nil where that
	// cannot be done.
	RemoveRoot func() error
	// Mark makes the root count as not empty without an export; nil where
	// there is no such thing.
	Mark func() error
	// TakesAbsentForDeleted says that the store cannot tell a file that it deleted
	// from one that was not there, unless it looks first, as a guard makes it do.
	TakesAbsentForDeleted bool
	// FoldsNames says that the store takes differently composed Unicode for one
	// name, as some file systems do.
	FoldsNames bool
	// Holds says which clean names the store can hold; nil for all of them. One
	// that it cannot hold is absent.
	Holds func(key string) bool
}

// Run runs the suite; open returns a fresh fixture each time.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Helper()
	for _, about := range []struct {
		name string
		tell func(story)
	}{
		{"deletes_and_says_what_was_absent", story.deletesAndSaysWhatWasAbsent},
		{"deletes_a_file_once", story.deletesAFileOnce},
		{"takes_a_key_twice_in_a_batch", story.takesAKeyTwice},
		{"takes_an_empty_batch", story.takesAnEmptyBatch},
		{"deletes_a_full_batch_in_order", story.deletesAFullBatch},
		{"refuses_a_batch_that_is_too_large", story.refusesATooLargeBatch},
		{"takes_any_clean_name", story.takesAnyCleanName},
		{"tells_similar_names_apart", story.tellsSimilarNamesApart},
		{"does_not_delete_by_prefix", story.doesNotDeleteByPrefix},
		{"survives_very_long_names", story.survivesVeryLongNames},
		{"refuses_hostile_keys", story.refusesHostileKeys},
		{"one_bad_key_does_not_stop_the_others", story.oneBadKeyDoesNotStopTheOthers},
		{"guards_by_size", story.guardsBySize},
		{"guards_by_time", story.guardsByTime},
		{"guards_by_version", story.guardsByVersion},
		{"a_guard_takes_an_absent_file_as_absent", story.guardsAbsentFile},
		{"stops_when_the_context_ends", story.stopsWhenTheContextEnds},
		{"describes_files", story.describesFiles},
		{"walks_in_the_order_of_keys", story.walksInOrder},
		{"walks_through_many", story.walksThroughMany},
		{"a_walk_tells_size_and_time", story.walksTellSizeAndTime},
		{"a_walk_may_end_early", story.walksEndEarly},
		{"a_walk_passes_over_marks", story.walksPassOverMarks},
		{"a_walk_needs_a_root", story.walksNeedARoot},
		{"is_empty_until_something_is_there", story.isEmptyUntilSomethingIsThere},
		{"counts_a_mark_as_something", story.countsAMark},
		{"notices_a_missing_root", story.noticesAMissingRoot},
		{"probes_without_leaving_anything", story.probesWithoutLeavingAnything},
		{"has_a_stable_name", story.hasAStableName},
	} {
		t.Run(about.name, func(t *testing.T) { about.tell(story{t, open(t)}) })
	}
}

// story is one test and its fixture.
type story struct {
	*testing.T
	Fixture
}

func (s story) put(keys ...string) {
	s.Helper()
	for _, key := range keys {
		s.write(key, "content of "+key)
	}
}

func (s story) write(key, content string) {
	s.Helper()
	s.must(s.Put(key, []byte(content)))
}

// keys lists what is there, sorted.
func (s story) keys() []string {
	s.Helper()
	keys, err := s.Keys()
	s.must(err)
	slices.Sort(keys)
	return keys
}

// must stops the test when the fixture itself fails.
func (s story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// expectKeys fails unless exactly these files are left.
func (s story) expectKeys(want ...string) {
	s.Helper()
	got := s.keys()
	slices.Sort(want)
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		s.Errorf("files left (-want +got):\n%s", diff)
	}
}

// delete deletes keys without a guard and returns what became of each. It fails
// the test when the store as a whole does, or forgets a reason.
func (s story) delete(keys ...string) []exportops.FileResult {
	s.Helper()
	refs := make([]exportops.FileRef, len(keys))
	for i, key := range keys {
		refs[i].Key = key
	}
	return s.deleteRefs(refs)
}

func (s story) deleteRefs(refs []exportops.FileRef) []exportops.FileResult {
	s.Helper()
	results, err := s.Store.Delete(s.Context(), refs)
	if err != nil {
		s.Fatalf("Delete: %v", err)
	}
	if len(results) != len(refs) {
		s.Fatalf("Delete of %d files answered for %d", len(refs), len(results))
	}
	for i, r := range results {
		if (r.Err != nil) != (r.Removal == exportops.Unproven || r.Removal == exportops.Replaced) {
			s.Errorf("Delete of %.60q: %s with error %v", refs[i].Key, r.Removal, r.Err)
		}
	}
	return results
}

// expect compares what became of files. A store that cannot tell may say that it
// deleted what was absent.
func (s story) expect(got []exportops.FileResult, want ...exportops.Removal) {
	s.Helper()
	if s.TakesAbsentForDeleted && len(got) == len(want) {
		want = slices.Clone(want)
		for i := range want {
			if want[i] == exportops.Absent && got[i].Removal == exportops.Removed {
				want[i] = exportops.Removed
			}
		}
	}
	s.expectExactly(got, want...)
}

func (s story) expectExactly(got []exportops.FileResult, want ...exportops.Removal) {
	s.Helper()
	removals := make([]exportops.Removal, len(got))
	for i, r := range got {
		removals[i] = r.Removal
	}
	if diff := cmp.Diff(want, removals); diff != "" {
		s.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func (s story) stat(key string) exportops.FileInfo {
	s.Helper()
	infos, err := s.Store.Stat(s.Context(), []string{key})
	if err != nil || len(infos) != 1 {
		s.Fatalf("Stat(%q) = %+v, %v", key, infos, err)
	}
	return infos[0]
}

func (s story) cancelled() context.Context {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	return ctx
}
