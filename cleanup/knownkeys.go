package cleanup

import (
	"context"
	"hash/maphash"
	"iter"
	"path"
	"slices"

	"github.com/exportops/exportops"
)

// NamedFilesReader yields the rows that name a file.
type NamedFilesReader interface {
	NamedFiles(ctx context.Context, since exportops.Time) iter.Seq2[exportops.KeyRow, error]
}

// knownKeys knows which keys a row of any status names, and which of those a walk
// has met. It holds hashes of 44 bits in 32 each: five million keys take some
// 25 MB. A key that shares its hash with another, one in ten million among a
// million rows, is taken for known; the next run hashes otherwise.
type knownKeys struct {
	seed    maphash.Seed // random, so that nobody can write rows that collide
	locator exportops.Locator
	named   [4096][]uint32 // by the highest bits, sorted
	met     [4096][]uint64 // a bit for each of named
	fresh   map[uint64]struct{}
	since   exportops.Time
	// lastParts are of files that rows mean in a way that cannot be read.
	lastParts  map[uint64]struct{}
	unreadable int64
}

// readKnownKeys reads all rows, and takes in the keys of claims that are open: a
// file that is being deleted is not unknown when its row is gone.
func readKnownKeys(ctx context.Context, r NamedFilesReader, l exportops.Locator, claimed map[string]bool, now exportops.Time) (
	*knownKeys, error,
) {
	k := &knownKeys{
		seed: maphash.MakeSeed(), locator: l, fresh: map[uint64]struct{}{}, lastParts: map[uint64]struct{}{},
		since: exportops.At(now.Add(-freshMargin)),
	}
	add := func(key string) {
		h := k.hash(key)
		k.named[h>>52] = append(k.named[h>>52], uint32(h)) // the low half
	}
	for row, err := range r.NamedFiles(ctx, exportops.Time{}) {
		if err != nil {
			return nil, err
		}
		k.each(row, add)
	}
	for key := range claimed {
		add(key)
	}
	for i, p := range k.named {
		slices.Sort(p)
		k.named[i] = slices.Clone(slices.Compact(p)) // lets go of what was too long
		k.met[i] = make([]uint64, (len(k.named[i])+63)/64)
	}
	return k, nil
}

// each calls add for every key that a row may mean.
func (k *knownKeys) each(row exportops.KeyRow, add func(key string)) {
	keys, lastParts := k.locator.Names(row.FileURL)
	for _, key := range keys {
		add(key)
	}
	if lastParts != nil {
		k.unreadable++
	}
	for _, part := range lastParts {
		k.lastParts[k.hash(part)] = struct{}{}
	}
}

// topUp takes in the rows that came since the last look.
func (k *knownKeys) topUp(ctx context.Context, r NamedFilesReader, now exportops.Time) error {
	unreadable := k.unreadable
	for row, err := range r.NamedFiles(ctx, k.since) {
		if err != nil {
			return err
		}
		k.each(row, func(key string) { k.fresh[k.hash(key)] = struct{}{} })
	}
	k.unreadable = unreadable // each was counted, or will be in the next run
	k.since = exportops.At(now.Add(-freshMargin))
	return nil
}

func (k *knownKeys) hash(key string) uint64 { return maphash.String(k.seed, key) }

func (k *knownKeys) find(key string) (part uint64, at int, ok bool) {
	h := k.hash(key)
	at, ok = slices.BinarySearch(k.named[h>>52], uint32(h))
	return h >> 52, at, ok
}

// meet notes that the key is in storage, and reports whether a row names it.
func (k *knownKeys) meet(key string) bool {
	part, at, ok := k.find(key)
	if ok {
		k.met[part][at/64] |= 1 << (at % 64)
	}
	return ok || k.has(key)
}

// has reports whether a row names the key.
func (k *knownKeys) has(key string) bool {
	_, ok := k.fresh[k.hash(key)]
	if !ok {
		_, _, ok = k.find(key)
	}
	return ok
}

// unmet reports whether a row named the key when the run began, and the walk did
// not come across it.
func (k *knownKeys) unmet(key string) bool {
	part, at, ok := k.find(key)
	return ok && k.met[part][at/64]&(1<<(at%64)) == 0
}

// unclear reports whether a row that cannot be read may mean the key.
func (k *knownKeys) unclear(key string) bool {
	_, ok := k.lastParts[k.hash(path.Base(key))]
	return ok
}
