package cleanup

import (
	"context"
	"hash/maphash"
	"iter"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// KeyReader yields the rows that may keep a file alive.
type KeyReader interface {
	KeyRows(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error]
}

// sharedKeys knows which keys more than one row names. It holds 32-bit hashes:
// a collision costs an exact look and nothing else, and five million rows take
// some 20 MB while the set is built and next to nothing after.
type sharedKeys struct {
	seed    maphash.Seed // random, so that nobody can write rows that collide
	locator exportops.Locator
	named   []uint32            // sorted: named by two rows when the run began
	fresh   map[uint32]struct{} // named by a row that may have come since
	since   exportops.Time
}

// freshMargin is how much older than the last look a row's timestamp may be
// and still be new: the application's clock is not ours.
const freshMargin = 5 * time.Minute

func readSharedKeys(ctx context.Context, r KeyReader, l exportops.Locator, now exportops.Time) (*sharedKeys, error) {
	s := &sharedKeys{
		seed: maphash.MakeSeed(), locator: l, fresh: map[uint32]struct{}{},
		since: exportops.At(now.Add(-freshMargin)),
	}
	// Parts by the highest byte grow and are sorted one by one, so that no
	// second copy of the whole is needed.
	var parts [256][]uint32
	for row, err := range r.KeyRows(ctx, exportops.Time{}) {
		if err != nil {
			return nil, err
		}
		for key := range s.keys(row) {
			h := s.hash(key)
			parts[h>>24] = append(parts[h>>24], h)
		}
	}
	for i, p := range parts {
		slices.Sort(p)
		for j := 1; j < len(p); j++ {
			if p[j] == p[j-1] && (len(s.named) == 0 || s.named[len(s.named)-1] != p[j]) {
				s.named = append(s.named, p[j])
			}
		}
		parts[i] = nil
	}
	return s, nil
}

// topUp takes in the rows that came since the last look.
func (s *sharedKeys) topUp(ctx context.Context, r KeyReader, now exportops.Time) error {
	for row, err := range r.KeyRows(ctx, s.since) {
		if err != nil {
			return err
		}
		for key := range s.keys(row) {
			s.fresh[s.hash(key)] = struct{}{}
		}
	}
	s.since = exportops.At(now.Add(-freshMargin))
	return nil
}

// has reports whether another row may name the key.
func (s *sharedKeys) has(key string) bool {
	h := s.hash(key)
	if _, ok := s.fresh[h]; ok {
		return true
	}
	_, ok := slices.BinarySearch(s.named, h)
	return ok
}

func (s *sharedKeys) hash(key string) uint32 { return uint32(maphash.String(s.seed, key) >> 32) }

// keys yields the keys that a row names, in both readings where there are two.
func (s *sharedKeys) keys(row exportops.KeyRow) iter.Seq[string] { return keysOf(s.locator, row) }

func keysOf(l exportops.Locator, row exportops.KeyRow) iter.Seq[string] {
	return func(yield func(string) bool) {
		at := l.Resolve(&row.FileURL, row.UserID)
		if at.NoFile || at.Refused != "" {
			return
		}
		if yield(at.Key) && at.Literal != "" {
			yield(at.Literal)
		}
	}
}
