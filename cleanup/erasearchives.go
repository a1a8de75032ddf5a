package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/exportops/exportops"
)

// Eraser takes users out of archives.
type Eraser interface {
	// Rewrite writes an archive anew without the rows of a user, and proves it. The
	// archive that it returns has the id 0 where there is nothing to write.
	Rewrite(ctx context.Context, next func() (exportops.Checkpoint, error), a exportops.Archive, userID string) (
		exportops.Archive, exportops.ArchivedOf, error)
	// Remove deletes the object of an archive that nothing relies on, and fails where
	// it is not seen to be gone.
	Remove(ctx context.Context, a exportops.Archive) error
	// Sweep removes what dead runs left of archives that they were writing, and names what
	// is being written.
	Sweep(ctx context.Context) (writing []string, err error)
	// Unrecorded returns the keys of archives that no record knows.
	Unrecorded(ctx context.Context) ([]string, error)
}

// archiveErasure takes one user out of all archives.
type archiveErasure struct {
	*Cleaner
	work   Work
	finish LogWork // how log cleanups judge, for what dead ones of them have begun
	userID string
	res    *exportops.ErasureResult
	// clean are archives without the user: what was written from one of them is, too.
	clean map[int64]bool
}

// eraseArchives takes a user, whose rows are deleted, out of the archives, and reports
// whether it came to the end. Each archive that holds the user is replaced by a new one
// before it is removed. The order matters: what a log cleanup read before the rows were
// deleted is either recorded by now, or will not be in this epoch.
func (c *Cleaner) eraseArchives(ctx context.Context, w Work, finish LogWork, userID string, res *exportops.ErasureResult) (bool, error) {
	e := &archiveErasure{Cleaner: c, work: w, finish: finish, userID: userID, res: res, clean: map[int64]bool{}}
	cp, err := e.next()
	if err != nil {
		return false, err
	}
	if err := c.Store.TurnArchiveEpoch(ctx, cp); err != nil {
		return false, err
	}
	if c.Archives == nil {
		err := RefuseArchives(ctx, c.Store)
		return err == nil, err
	}
	known, err := e.list(ctx)
	if err != nil {
		return false, err
	}
	last := int64(0)
	for _, a := range known {
		last = max(last, a.ID)
	}
	if done, err := e.finishEarlier(ctx); err != nil || !done {
		return false, err
	}
	if err := e.refuseUnknown(ctx); err != nil {
		return false, err
	}
	writing, err := c.Archives.Sweep(ctx)
	if err != nil {
		return false, err
	}
	for {
		done, again, err := e.pass(ctx, last)
		if err != nil || !done {
			return false, err
		}
		if !again {
			return true, e.written(ctx, writing)
		}
	}
}

// written is KindConflict where any of what was being written still is: a run that was
// given up for dead may be at it, and be killed yet.
func (e *archiveErasure) written(ctx context.Context, was []string) error {
	if len(was) == 0 {
		return nil
	}
	now, err := e.Archives.Sweep(ctx)
	if err != nil {
		return err
	}
	for _, file := range now {
		if slices.Contains(was, file) {
			return &exportops.Error{
				Kind: exportops.KindConflict, Field: "archive", Message: fmt.Sprintf("an archive, which may hold the user, is being written to %s", file),
				Hint: "erase the user again in a moment; what is erased stays erased",
			}
		}
	}
	return nil
}

// refuseUnknown refuses to go on where archives lie that no record knows: they may hold
// the user.
func (e *archiveErasure) refuseUnknown(ctx context.Context) error {
	unknown, err := e.Archives.Unrecorded(ctx)
	if err != nil || len(unknown) == 0 {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindRefused, Field: "archive",
		Message: fmt.Sprintf("%d archives that no record knows may hold the user, the first of them %s", len(unknown), unknown[0]),
		Hint: "exportops archive register, then erase the user again; what is erased stays erased. " +
			"What that cannot register has to be deleted, or made whole, first",
	}
}

func (e *archiveErasure) next() (exportops.Checkpoint, error) { return e.checkpoint(e.work, *e.res) }

// finishEarlier finishes what dead log cleanups have begun, or gives it up. What that
// deletes is of others, and no part of the erasure's result.
func (e *archiveErasure) finishEarlier(ctx context.Context) (bool, error) {
	work := e.work
	work.as = func(any) any { return *e.res }
	work.Progress = nil
	r := &archiveRun{logRun: &logRun{
		Cleaner: e.Cleaner, work: work, sel: e.finish, res: &exportops.LogCleanupResult{}, pace: e.logPace(),
	}}
	return r.finishEarlier(ctx)
}

// list reads the records of all archives that may have an object, oldest first.
func (e *archiveErasure) list(ctx context.Context) (all []exportops.Archive, err error) {
	err = EachArchive(ctx, e.Store, func(a exportops.Archive) bool {
		if !a.State.Gone() {
			all = append(all, a)
		}
		return true
	})
	slices.Reverse(all)
	return all, err
}

// ArchiveLister reads the records of archives.
type ArchiveLister interface {
	Archives(ctx context.Context, f exportops.ArchiveFilter) ([]exportops.Archive, error)
}

// RefuseArchives refuses to erase anybody where no archive can be looked into, as long
// as there is one that may have an object.
func RefuseArchives(ctx context.Context, s ArchiveLister) error {
	some := false
	err := EachArchive(ctx, s, func(a exportops.Archive) bool {
		some = !a.State.Gone()
		return !some
	})
	if err != nil || !some {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindRefused, Field: "EXPORT_ARCHIVE_URL",
		Message: "archives may hold rows of the user, and no storage for archives is configured",
		Hint:    "name the storage that holds them in EXPORT_ARCHIVE_URL, or its bucket in EXPORT_ARCHIVE_BUCKET",
	}
}

// EachArchive calls fn for archives, newest first, until it says false.
func EachArchive(ctx context.Context, s ArchiveLister, fn func(exportops.Archive) bool) error {
	f := exportops.ArchiveFilter{Limit: exportops.MaxPage}
	for {
		page, err := s.Archives(ctx, f)
		if err != nil {
			return err
		}
		for _, a := range page {
			if !fn(a) {
				return nil
			}
			f.Before = a.ID
		}
		if len(page) < f.Limit {
			return nil
		}
	}
}

// pass looks once at every archive that is not known to be without the user. It reports
// whether it came to the end, and whether another pass has to look at what came meanwhile.
// Archives of log rows with a greater id than last began after the epoch was turned.
func (e *archiveErasure) pass(ctx context.Context, last int64) (done, again bool, err error) {
	all, err := e.list(ctx)
	if err != nil {
		return false, false, err
	}
	for _, a := range all {
		if e.clean[a.ID] || e.clean[a.Replaces] || e.begunSince(a, last) {
			if e.clean[a.ID] = true; a.State.Discarded() {
				err = e.remove(ctx, a)
			}
			if err != nil {
				return false, false, err
			}
			continue
		}
		if e.ended(ctx, e.work) {
			return false, false, nil
		}
		changed, err := e.look(ctx, a)
		if err != nil {
			return false, false, err
		}
		again = again || changed
	}
	return true, again, nil
}

// begunSince reports whether a log cleanup began an archive after the epoch was turned.
// What was registered may be of any time.
func (e *archiveErasure) begunSince(a exportops.Archive, last int64) bool {
	return a.Replaces == 0 && a.ID > last && !a.Registered()
}

// look takes the user out of one archive. It reports whether the archives are to be
// looked at again.
func (e *archiveErasure) look(ctx context.Context, a exportops.Archive) (again bool, err error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	switch {
	case a.State.Discarded():
		return false, e.remove(ctx, a)
	case a.State != exportops.ArchiveDone:
		return false, &exportops.Error{
			Kind: exportops.KindConflict, Field: "archive",
			Message: fmt.Sprintf("run %s is at work on archive %s, which may hold the user", a.RunID, a.Key),
			Hint:    "erase the user again once that run has ended; what is erased stays erased",
		}
	}
	by, gone, err := e.Archives.Rewrite(ctx, e.next, a, e.userID)
	if err != nil {
		return e.moved(ctx, a, by, err)
	}
	if gone.Rows == 0 {
		e.clean[a.ID] = true
		return false, nil
	}
	if err := e.replace(ctx, a, by, gone); err != nil {
		return e.moved(ctx, a, by, err)
	}
	e.clean[by.ID] = by.ID != 0
	return true, e.remove(ctx, a)
}

// replace records that an archive is replaced, together with what that erased.
func (e *archiveErasure) replace(ctx context.Context, a, by exportops.Archive, gone exportops.ArchivedOf) error {
	counted := *e.res
	counted.CountReplaced(a, by.SHA256, gone.Rows)
	cp, err := e.checkpoint(e.work, counted)
	if err != nil {
		return err
	}
	err = e.Store.ReplaceArchive(ctx, cp, exportops.Replacement{ID: a.ID, By: by.ID, UserID: e.userID, Gone: gone.Exports})
	if err != nil && !e.heardNothing(ctx, a.ID, by.ID) {
		return fmt.Errorf("replace archive %s: %w", a.Key, err)
	}
	*e.res = counted
	e.work.report(*e.res)
	return nil
}

// heardNothing reports whether an archive was replaced though no answer said so.
func (e *archiveErasure) heardNothing(ctx context.Context, id, by int64) bool {
	a, err := e.Store.Archive(ctx, id)
	return err == nil && a.State != exportops.ArchiveDone && a.ReplacedBy == by
}

// moved decides what an archive that could not be rewritten or replaced means: nothing,
// where another erasure replaced it meanwhile. What was written for it is given up.
func (e *archiveErasure) moved(ctx context.Context, a, by exportops.Archive, failed error) (again bool, err error) {
	if errors.Is(failed, exportops.ErrFenced) {
		return false, failed // whoever has the run now sees to it
	}
	if by.ID != 0 {
		if err := e.giveUp(ctx, by.ID, failed); err != nil {
			return false, errors.Join(failed, err)
		}
	}
	now, err := e.Store.Archive(ctx, a.ID)
	if err != nil || now.State == exportops.ArchiveDone {
		return false, errors.Join(failed, err)
	}
	return true, nil
}

// giveUp abandons an archive that nothing relies on, and removes it. One that is done, since
// its replacement was recorded and only the answer was lost, stays.
func (e *archiveErasure) giveUp(ctx context.Context, id int64, why error) error {
	a, err := e.Store.Archive(ctx, id)
	if err != nil || a.State.Trusted() {
		return err
	}
	if !a.State.Discarded() {
		cp, err := e.next()
		if err != nil {
			return err
		}
		if a, err = e.Store.MoveArchive(ctx, cp, id, exportops.ArchiveAbandoned, why.Error()); err != nil {
			return err
		}
	}
	return e.remove(ctx, a)
}

// remove deletes what nothing relies on, and records that it is gone.
func (e *archiveErasure) remove(ctx context.Context, a exportops.Archive) error {
	if a.State.Gone() {
		return nil
	}
	if err := e.Archives.Remove(ctx, a); err != nil {
		return err
	}
	cp, err := e.next()
	if err != nil {
		return err
	}
	return e.Store.ArchiveRemoved(ctx, cp, a.ID)
}

// EraseUser counts what an erasure would delete, archived rows included.
func (d DryRun) EraseUser(ctx context.Context, sel LogWork, now exportops.Time) (res exportops.ErasureResult, err error) {
	archives := d.Archives
	d.Archives = nil // what is erased is kept nowhere
	if res.LogCleanupResult, err = d.CleanLogs(ctx, sel, now); err != nil || archives == nil {
		return res, err
	}
	// Nobody waits while archives are read: they are listed before.
	var in []exportops.Archive
	err = EachArchive(ctx, d.Store, func(a exportops.Archive) bool {
		if a.State == exportops.ArchiveDone {
			in = append(in, a)
		}
		return true
	})
	for _, a := range in {
		if err != nil {
			break
		}
		if d.ended() {
			res.Complete = false
			break
		}
		var n int64
		if n, err = archives.Holding(ctx, a, sel.UserID); n > 0 {
			res.Archives++
			res.Archived += n
		}
	}
	return res, err
}
