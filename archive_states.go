package exportops

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// ArchiveState is how far an archive has come.
type ArchiveState string

// The states of an archive, in their order. What is abandoned was never relied
// upon: no row was deleted because of it.
const (
	ArchiveIntended  ArchiveState = "intended"  // recorded with its rows; its object may be there or not
	ArchiveWritten   ArchiveState = "written"   // storage acknowledged the object
	ArchiveVerified  ArchiveState = "verified"  // it was read back, and is what was to be written
	ArchiveDeleting  ArchiveState = "deleting"  // its rows are being deleted
	ArchiveDone      ArchiveState = "done"      // its rows are gone, or were edited since and stayed
	ArchiveAbandoned ArchiveState = "abandoned" // its rows are archived again, elsewhere
	ArchiveReplaced  ArchiveState = "replaced"  // its rows are in another archive, or erased; its object is to go
	ArchiveRemoved   ArchiveState = "removed"   // it was abandoned or replaced, and its object is gone
	ArchiveLost      ArchiveState = "lost"      // its object is gone, and nobody meant that; Error says who took note
)

// ArchiveStates lists every state, in the order an archive passes through them.
var ArchiveStates = []ArchiveState{
	ArchiveIntended, ArchiveWritten, ArchiveVerified, ArchiveDeleting, ArchiveDone, ArchiveAbandoned,
	ArchiveReplaced, ArchiveRemoved, ArchiveLost,
}

// archiveMoves says where MoveArchive may take an archive from each state. What is
// done is replaced by ReplaceArchive alone.
var archiveMoves = map[ArchiveState][]ArchiveState{
	ArchiveIntended: {ArchiveWritten, ArchiveAbandoned},
	ArchiveWritten:  {ArchiveVerified, ArchiveAbandoned},
	ArchiveVerified: {ArchiveDeleting, ArchiveAbandoned},
	ArchiveDeleting: {ArchiveDone},
}

// MayBecome reports whether an archive in this state may go to another. To stay
// is no move and always allowed: who did not hear of a success says it again.
func (s ArchiveState) MayBecome(to ArchiveState) bool {
	return s == to || slices.Contains(archiveMoves[s], to)
}

// Finished reports whether nothing is left to do with the archive's rows.
func (s ArchiveState) Finished() bool {
	return s == ArchiveDone || s.Discarded() || s.Gone()
}

// Gone reports whether there is no object any more. One that lies there all the same is
// unknown.
func (s ArchiveState) Gone() bool { return s == ArchiveRemoved || s == ArchiveLost }

// Trusted reports whether the object was seen to be what it should be, so that
// rows may have been deleted because of it.
func (s ArchiveState) Trusted() bool {
	return s == ArchiveVerified || s == ArchiveDeleting || s == ArchiveDone
}

// Registered reports whether somebody else wrote the archive, and when is not known: it
// may hold anybody.
func (a Archive) Registered() bool { return a.State.Trusted() && a.WrittenAt == nil }

// Archive is the record of one archive of log rows.
type Archive struct {
	ID         int64        `json:"id"`
	State      ArchiveState `json:"state"`
	Store      string       `json:"store"` // the ID of the ObjectStore
	Key        string       `json:"key"`   // of the object in it
	Month      Time         `json:"month"` // its first instant
	Sequence   int64        `json:"sequence"`
	Rows       int64        `json:"rows"`
	Deleted    int64        `json:"deleted"` // of the rows, from the export logs
	Oldest     *Time        `json:"oldest"`  // by timestamp; null where none can be read
	Newest     *Time        `json:"newest"`
	Bytes      int64        `json:"bytes"`
	SHA256     string       `json:"sha256"` // of the object, in hexadecimal digits
	RunID      string       `json:"run_id"` // that began it, or took it over
	CreatedAt  Time         `json:"created_at"`
	WrittenAt  *Time        `json:"written_at"` // null also where it was registered
	VerifiedAt *Time        `json:"verified_at"`
	FinishedAt *Time        `json:"finished_at"`
	Replaces   int64        `json:"replaces,omitempty"`    // the archive that it was written from, without the rows of an erased user
	ReplacedBy int64        `json:"replaced_by,omitempty"` // the archive that has the rows it had; 0 also where none were left
	RemovedAt  *Time        `json:"removed_at,omitempty"`  // when its object was seen to be gone, or said to be
	Error      string       `json:"error,omitempty"`       // what went wrong last
}

// Moved is the archive after a move, which must be one that MayBecome allows.
func (a Archive) Moved(to ArchiveState, why string, now Time) Archive {
	if a.State != to {
		switch to {
		case ArchiveWritten:
			a.WrittenAt = &now
		case ArchiveVerified:
			a.VerifiedAt = &now
		case ArchiveDone, ArchiveAbandoned:
			a.FinishedAt = &now
		case ArchiveIntended, ArchiveDeleting:
		}
	}
	a.State, a.Error = to, why
	return a
}

// ArchiveMember is one row of an archive that is not finished.
type ArchiveMember struct {
	Position int64 // in the archive, from 0
	RowID    string
	Hash     [sha256.Size]byte // of the row, see ArchivedRow.Hash
}

// ArchiveFilter selects archives. Zero fields do not filter.
type ArchiveFilter struct {
	State  ArchiveState
	Before int64 // archives with a smaller id, for paging
	Limit  int   // 1 to MaxPage, 0 means DefaultPage
}

// ArchivedAtOnce is how many bytes of rows, see ArchivedRow.Size, are read at once.
const ArchivedAtOnce = 4 << 20

// ArchivedDeletion says what became of rows that were archived.
type ArchivedDeletion struct {
	Deleted int64
	Kept    int64         // they are no longer what was archived, or must not go now
	Missing int64         // somebody else deleted them
	Took    time.Duration // how long other writers were kept waiting
}

// ArchiveMeasure adds up what an archive of rows would take.
type ArchiveMeasure interface {
	// Add reads rows by their ids, and returns those that cannot be archived.
	Add(ctx context.Context, ids []string) (left []string, err error)
	// Bytes ends the measurement.
	Bytes() (int64, error)
}

// ArchiveStore keeps the archives. Every change is of a run: ErrFenced where that is
// no longer held, or another run has taken the archive over.
type ArchiveStore interface {
	// ArchivedRows reads rows by their ids, with everything that an archive keeps.
	// Those that are not there, or hold values that an archive cannot give back, are
	// left out; the others come in the order of the ids. Where rows are large it comes to
	// the first of the ids alone, and says to how many: at least to one, and to no more
	// once the rows take ArchivedAtOnce.
	ArchivedRows(ctx context.Context, ids []string) (rows []ArchivedRow, read int, err error)
	// BeginArchive records an archive as intended, with the next number of its
	// month, for which name gives the key; a key that is recorded is passed over. Store, Month, Rows, Oldest, Newest, Bytes,
	// SHA256 and Replaces are the caller's. The epoch is what ArchiveEpoch said before
	// the rows were read from the export logs: ErrEpoch where that has changed.
	BeginArchive(ctx context.Context, c Checkpoint, a Archive, epoch int64, name func(sequence int64) string) (Archive, error)
	// RegisterArchive records, in one transaction, an archive that was found and read:
	// as deleting, with all of its rows, under its own Key. It keeps its own Sequence
	// unless another archive of the month has that. The record of the same archive that
	// was lost, or lies in another storage, is what it becomes again; see Register.
	// ErrEpoch is that of BeginArchive. KindConflict says that the key is recorded, that
	// another archive which is not finished has a row of it, or that a user is being
	// erased: what comes meanwhile would not be looked at.
	RegisterArchive(ctx context.Context, c Checkpoint, a Archive, epoch int64, members []ArchiveMember) (Archive, error)
	// AddArchiveMembers records neighbouring rows of an archive that is intended. A row
	// that is a member of another one, which is not finished, is KindConflict.
	AddArchiveMembers(ctx context.Context, c Checkpoint, id int64, members []ArchiveMember) error
	// MoveArchive moves an archive to a state, with what went wrong, if anything. To
	// the state it is in is no error; what MayBecome forbids is KindConflict, and so
	// is written without all members, and done with any left. What is abandoned
	// loses its members.
	MoveArchive(ctx context.Context, c Checkpoint, id int64, to ArchiveState, why string) (Archive, error)
	// MarkArchive keeps what a verification found of an archive that is trusted: its
	// fault, or "" where it is what was written. Of any other it keeps nothing.
	MarkArchive(ctx context.Context, id int64, fault string) error
	// LoseArchive records that the object of an archive is gone, see Archive.Lost, and
	// forgets its members. Of one that is known to be gone nothing changes.
	LoseArchive(ctx context.Context, id int64, why string, now Time) (Archive, error)
	// ArchiveMembers returns members of an archive from a position on, in their order.
	// Where some are dealt with there may be fewer than the limit; there are none only
	// after the last.
	ArchiveMembers(ctx context.Context, id, from int64, limit int) ([]ArchiveMember, error)
	// DeleteArchived deletes, in one transaction, the rows of neighbouring members of
	// an archive that is deleting, as DeleteLogRows does: those that still are what
	// was archived to the last byte, still are counted, and for which goes says so.
	// The others stay. All of the members are forgotten. It asks progress last in the
	// transaction for the run's result that counts what went.
	DeleteArchived(ctx context.Context, c Checkpoint, id int64, members []ArchiveMember, goes func(LogRow) bool,
		progress func(ArchivedDeletion) (json.RawMessage, error)) (ArchivedDeletion, error)
	// AdoptArchives takes over the archives that dead runs did not finish, and returns
	// all that this run has to finish, oldest first.
	AdoptArchives(ctx context.Context, c Checkpoint) ([]Archive, error)
	// Archive returns one archive, or KindNotFound.
	Archive(ctx context.Context, id int64) (Archive, error)
	// Archives returns a page, newest first.
	Archives(ctx context.Context, f ArchiveFilter) ([]Archive, error)
	// RestoreRows adds rows of archives to the export logs, under their own ids, in
	// one transaction, and says of each in order whether it is new. A row whose id or
	// export is there already stays as it is. The metric comes with its row where the
	// export has none; a sealed hour, which counts it still, does not count it again.
	// The epoch is what ArchiveEpoch said before the archives were looked for:
	// ErrEpoch where that has changed.
	RestoreRows(ctx context.Context, rows []ArchivedRow, epoch int64, now Time) ([]bool, error)
	BesideStore
	ArchiveReplacer
}

// Check reports why an archive may not be worked on: ErrFenced where it is another
// run's, KindConflict where it is in none of the states, if any are given.
func (a Archive) Check(c Checkpoint, states ...ArchiveState) error {
	switch {
	case a.RunID != c.RunID:
		return ErrFenced
	case len(states) > 0 && !slices.Contains(states, a.State):
		return ArchiveConflict("archive %d is %s", a.ID, a.State)
	}
	return nil
}

// ArchiveConflict says what another run has done, or is doing, with an archive.
func ArchiveConflict(format string, args ...any) error {
	return &Error{
		Kind: KindConflict, Field: "archive", Message: fmt.Sprintf(format, args...), Hint: "try again once the other run has ended",
	}
}

// NotWhileErasing refuses to register archives while a run erases a user.
func NotWhileErasing(run string) error {
	return &Error{
		Kind: KindConflict, Field: "archive", Message: fmt.Sprintf("run %s erases a user, who may be in archives that are unknown", run),
		Hint: "register archives once it has ended; where it died, erase the user again",
	}
}

// NoArchive is the answer about an archive that there is none of.
func NoArchive(id int64) error {
	return &Error{Kind: KindNotFound, Field: "archive", Message: fmt.Sprintf("there is no archive %d", id)}
}
