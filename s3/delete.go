package s3

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// target is one object that is to be deleted, for all the files of a batch that
// name it.
type target struct {
	key    string
	at     []int // those files; none once it is settled
	looked bool
	seen   seen // by the look before
	object *object
}

// batch is one call of Delete.
type batch struct {
	refs    []exportops.FileRef
	results []exportops.FileResult
	targets []*target
	giveUp  time.Time
}

// Delete deletes objects and answers for each in order. What the service was too
// busy for is tried again for a minute, with fewer requests. When ctx ends, the
// files that were not confirmed by then are Unproven.
func (s *Store) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	if err := checkBatch(len(refs)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := s.newBatch(refs)
	act := s.deleteCurrent
	if s.opts.DeleteVersions {
		act = s.deleteVersions
	}
	if err := act(ctx, b); err != nil {
		return nil, err
	}
	return b.results, nil
}

func (s *Store) newBatch(refs []exportops.FileRef) *batch {
	b := &batch{refs: refs, results: make([]exportops.FileResult, len(refs)), giveUp: time.Now().Add(patience)}
	byKey := make(map[string]*target, len(refs))
	for i, ref := range refs {
		if err := s.checkKey(ref.Key); err != nil {
			b.results[i] = unproven(err)
			continue
		}
		t := byKey[ref.Key]
		if t == nil {
			t = &target{key: ref.Key}
			byKey[ref.Key] = t
			b.targets = append(b.targets, t)
		}
		t.at = append(t.at, i)
	}
	return b
}

// open returns the targets that are not settled and that pick picks.
func (b *batch) open(pick func(*target) bool) []*target {
	var some []*target
	for _, t := range b.targets {
		if len(t.at) > 0 && pick(t) {
			some = append(some, t)
		}
	}
	return some
}

// settle notes what became of a target. Of several files that name it, one was
// deleted, and the others were not there any more.
func (b *batch) settle(t *target, r exportops.FileResult) {
	for _, i := range t.at {
		b.results[i] = r
		if r.Removal == exportops.Removed {
			r.Bytes = 0
			if t.looked {
				r.Removal = exportops.Absent
			}
		}
	}
	t.at = nil
}

func (b *batch) guarded(t *target) bool {
	for _, i := range t.at {
		if b.refs[i].Guard != nil {
			return true
		}
	}
	return false
}

// judge settles what a look has decided: files that are not there, that cannot
// be looked at, or that are not what was claimed.
func (b *batch) judge(t *target, f seen) {
	t.looked, t.seen = true, f
	switch {
	case f.err != nil:
		b.settle(t, unproven(f.err))
	case f.marked: // the versions decide
	case !f.exists:
		b.settle(t, exportops.FileResult{Removal: exportops.Absent})
	default:
		var same []int
		for _, i := range t.at {
			if err := f.unlike(b.refs[i].Guard); err != nil {
				b.results[i] = exportops.FileResult{Removal: exportops.Replaced, Err: err}
				continue
			}
			same = append(same, i)
		}
		t.at = same
	}
}

// deleteCurrent deletes objects by their keys alone.
func (s *Store) deleteCurrent(ctx context.Context, b *batch) error {
	if err := s.lookBefore(ctx, b); err != nil {
		return err
	}
	live := b.open(func(t *target) bool { return !t.seen.marked })
	objects := make([]*object, len(live))
	for i, t := range live {
		t.object = &object{key: t.key}
		if b.guarded(t) {
			t.object.etag = t.seen.etag
		}
		objects[i] = t.object
	}
	if err := s.bulk(ctx, b.giveUp, objects); err != nil {
		return err
	}
	for _, t := range live {
		if t.seen.marked = t.object.marker; !t.object.gone {
			b.settle(t, t.object.result())
		}
	}
	s.judgeMarked(ctx, b)
	return s.lookAfter(ctx, b)
}

// lookBefore looks at the files that have a guard, and at all where that is
// asked for.
func (s *Store) lookBefore(ctx context.Context, b *batch) error {
	some := b.open(func(t *target) bool { return s.opts.VerifyFull || b.guarded(t) })
	found, err := s.look(ctx, b.giveUp, keysOf(some))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found, seen.isAbsent) {
		keeps, err := s.keepsVersions(ctx, b.giveUp)
		if err != nil {
			return err
		}
		for i, f := range found { // not every service tells of a delete marker
			found[i].marked = f.isAbsent() && (f.marked || keeps)
		}
	}
	for i, t := range some {
		b.judge(t, found[i])
	}
	return nil
}

// lookAfter makes sure that what was confirmed is gone, where that is asked for,
// and settles what is left.
func (s *Store) lookAfter(ctx context.Context, b *batch) error {
	confirmed := b.open(func(*target) bool { return true })
	if !s.opts.VerifyFull {
		for _, t := range confirmed {
			b.settle(t, t.removed())
		}
		return nil
	}
	found, err := s.look(ctx, b.giveUp, keysOf(confirmed))
	if err != nil {
		return err
	}
	for i, t := range confirmed {
		switch f := found[i]; {
		case f.err != nil:
			b.settle(t, unproven(f.err))
		case f.exists:
			b.settle(t, unproven(errors.New("it is there after its deletion was confirmed: it was written again, or storage keeps it")))
		default:
			b.settle(t, t.removed())
		}
	}
	return nil
}

// removed says what was freed, where a look told.
func (t *target) removed() exportops.FileResult {
	return exportops.FileResult{Removal: exportops.Removed, Bytes: t.seen.size}
}

func keysOf(targets []*target) []string {
	keys := make([]string, len(targets))
	for i, t := range targets {
		keys[i] = t.key
	}
	return keys
}
