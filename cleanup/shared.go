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
	HoldReader
}

// HoldReader yields the rows that a hold keeps, with their files.
type HoldReader interface {
	LastHold(ctx context.Context) (int64, error)
	HeldRows(ctx context.Context, after int64) iter.Seq2[exportops.KeyRow, error]
}

// sharedKeys knows which keys a row other than a candidate may name. It holds
// 32-bit hashes: a collision costs an exact look and nothing else, and five
// million rows take some 20 MB while the set is built.
type sharedKeys struct {
	seed    maphash.Seed // random, so that nobody can write rows that collide
	locator exportops.Locator
	// named are the keys that rows named when the run began, sorted, in parts by
	// the highest byte so that none is ever copied as a whole.
	named [256][]uint32
	fresh map[uint32]struct{} // named by a row that may have come since
	since exportops.Time
	holds int64 // the last hold whose rows are among them
}

// freshMargin is how much older than the last look a row's timestamp may be
// and still be new: the application's clock is not ours.
const freshMargin = 5 * time.Minute

// readSharedKeys reads all rows that may keep a file alive. Where candidates are
// such rows themselves, a key counts as shared when it is named twice.
func readSharedKeys(ctx context.Context, r KeyReader, l exportops.Locator, m exportops.Mode, now exportops.Time) (
	s *sharedKeys, err error,
) {
	s = &sharedKeys{
		seed: maphash.MakeSeed(), locator: l, fresh: map[uint32]struct{}{},
		since: exportops.At(now.Add(-freshMargin)),
	}
	for row, err := range r.KeyRows(ctx, exportops.Time{}) {
		if err != nil {
			return nil, err
		}
		s.name(row)
	}
	if m == exportops.ByExpiry || m == exportops.ByAge {
		for i, p := range s.named {
			slices.Sort(p)
			s.named[i] = repeated(p)
		}
	}
	// A row under a hold keeps its file whatever it says of itself.
	s.holds, err = newlyHeld(ctx, r, 0, s.name)
	if err != nil {
		return nil, err
	}
	for i, p := range s.named {
		slices.Sort(p)
		s.named[i] = slices.Clone(slices.Compact(p)) // lets go of what was too long
	}
	return s, nil
}

// name takes in what a row names when the run begins.
func (s *sharedKeys) name(row exportops.KeyRow) {
	for key := range s.keys(row) {
		h := s.hash(key)
		s.named[h>>24] = append(s.named[h>>24], h)
	}
}

// newlyHeld hands on the rows of holds that were placed after one, and returns
// the last.
func newlyHeld(ctx context.Context, r KeyReader, after int64, take func(exportops.KeyRow)) (int64, error) {
	last, err := r.LastHold(ctx)
	if err != nil || last <= after {
		return after, err
	}
	for row, err := range r.HeldRows(ctx, after) {
		if err != nil {
			return after, err
		}
		take(row)
	}
	return last, nil
}

// repeated keeps what a sorted list holds more than once.
func repeated(sorted []uint32) []uint32 {
	kept := sorted[:0]
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			kept = append(kept, sorted[i])
		}
	}
	return kept
}

// topUp takes in the rows that came, or came under a hold, since the last look.
func (s *sharedKeys) topUp(ctx context.Context, r KeyReader, now exportops.Time) (err error) {
	add := func(row exportops.KeyRow) {
		for key := range s.keys(row) {
			s.fresh[s.hash(key)] = struct{}{}
		}
	}
	for row, err := range r.KeyRows(ctx, s.since) {
		if err != nil {
			return err
		}
		add(row)
	}
	s.since = exportops.At(now.Add(-freshMargin))
	s.holds, err = newlyHeld(ctx, r, s.holds, add)
	return err
}

// has reports whether another row may name the key.
func (s *sharedKeys) has(key string) bool {
	h := s.hash(key)
	if _, ok := s.fresh[h]; ok {
		return true
	}
	_, ok := slices.BinarySearch(s.named[h>>24], h)
	return ok
}

func (s *sharedKeys) hash(key string) uint32 { return uint32(maphash.String(s.seed, key) >> 32) }

// keys yields the keys that a row names or, where its file_url is refused, may name:
// it keeps others from having these deleted, and has none of them deleted itself.
func (s *sharedKeys) keys(row exportops.KeyRow) iter.Seq[string] { return keysOf(s.locator, row) }

func keysOf(l exportops.Locator, row exportops.KeyRow) iter.Seq[string] {
	return l.MayName(row.FileURL, row.UserID)
}
