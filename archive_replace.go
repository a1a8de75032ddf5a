package exportops

import (
	"context"
	"errors"
	"fmt"
)

// ErrEpoch says that a user was erased since rows were read: they may be among them,
// and are to be read again.
var ErrEpoch = errors.New("a user was erased since the rows were read")

// ArchivedOf is what an archive holds of a user.
type ArchivedOf struct {
	Rows    int64
	Exports []string // their ids
}

// Replacement takes the place of an archive that is done.
type Replacement struct {
	ID     int64    // of the archive
	By     int64    // of the one that was written from it and proven; 0 where no row is left
	UserID string   // who is not in it any more
	Gone   []string // the user's exports that were in the archive
}

// ArchiveReplacer keeps archives whose rows are not all to stay. Erasure and whatever
// carries rows between the export logs and the archives do not see each other's
// work in storage; the epoch makes them follow each other: who turns it knows that
// what was read before will not be recorded.
type ArchiveReplacer interface {
	// ArchiveEpoch returns the number of times that the epoch was turned.
	ArchiveEpoch(ctx context.Context) (int64, error)
	// TurnArchiveEpoch turns the epoch. Archives that had begun are recorded then.
	TurnArchiveEpoch(ctx context.Context, c Checkpoint) error
	// ReplaceArchive puts one archive, which is written, into the place of another,
	// which is done, in one transaction. KindConflict says that it is done no more:
	// somebody else was faster. KindRefused, that an active hold covers the user, one
	// of the exports that are gone, or everything.
	ReplaceArchive(ctx context.Context, c Checkpoint, r Replacement) error
	// ArchiveRemoved records that the object of an archive is gone, and its manifest.
	// The archive must be abandoned or replaced, whichever run did that, or removed.
	ArchiveRemoved(ctx context.Context, c Checkpoint, id int64) error
}

// MayBeReplaced reports why an archive cannot take the place of another, nil when it
// can. Without one that takes the place, by is nil.
func (a Archive) MayBeReplaced(by *Archive, c Checkpoint) error {
	switch {
	case a.State != ArchiveDone:
		return ArchiveConflict("archive %d is %s, and was to be replaced", a.ID, a.State)
	case by == nil:
		return nil
	case by.Replaces != a.ID || by.Month != a.Month || by.Rows < 1 || by.Rows >= a.Rows:
		return ArchiveConflict("archive %d was not written from archive %d", by.ID, a.ID)
	}
	return by.Check(c, ArchiveWritten)
}

// Discarded reports whether the object of an archive is to go.
func (s ArchiveState) Discarded() bool { return s == ArchiveAbandoned || s == ArchiveReplaced }

// MayBeRemoved reports why an archive cannot be without its object.
func (a Archive) MayBeRemoved() error {
	if a.State.Discarded() || a.State == ArchiveRemoved {
		return nil
	}
	return ArchiveConflict("archive %d is %s, and its object has to stay", a.ID, a.State)
}

// Lost is the archive without its object: lost where rows may have been deleted because
// of it, else removed.
func (a Archive) Lost(why string, now Time) Archive {
	to := ArchiveRemoved
	if a.State.Trusted() {
		to = ArchiveLost
	}
	a.State, a.RemovedAt, a.Error = to, &now, why
	return a
}

// HeldInArchive refuses to take rows out of an archive that a hold covers.
func HeldInArchive(hold int64) error {
	return &Error{
		Kind:    KindRefused,
		Message: fmt.Sprintf("the hold %d covers the user, or an export of the user's that is archived: it stays", hold),
		Hint:    fmt.Sprintf("exportops hold release %d, once it need not hold any longer", hold),
	}
}
