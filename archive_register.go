package exportops

import (
	"fmt"
	"slices"
)

// RegisterArchives is the job that records archives which lie in their storage and
// are unknown to the database; on request only.
const RegisterArchives Job = "archive-register"

// RegisterResult is what a registration of archives found and did.
type RegisterResult struct {
	Found       int64 `json:"found"`        // archives in storage that no record knows
	Registered  int64 `json:"registered"`   // of them, with all that is known of others
	Moved       int64 `json:"moved"`        // of these, recorded before as lying in another storage
	Rows        int64 `json:"rows"`         // in those that were registered, or would be
	RowsPresent int64 `json:"rows_present"` // of them, in the export logs again
	LeftTotal   int64 `json:"left_total"`
	// Left are those that cannot be registered, or that are and hold rows of users who were
	// erased since; the first 100 of them.
	Left []LeftArchive `json:"left"`

	Complete   bool   `json:"complete"`
	DryRun     bool   `json:"dry_run,omitempty"`
	RunID      string `json:"run_id,omitempty"`
	DurationMS int64  `json:"duration_ms"`
	Timestamp  Time   `json:"timestamp"`
}

// LeftArchive is an object that somebody has to see to.
type LeftArchive struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// Number gives an archive the next number of its month, whose other archives are in
// the order of their numbers, and the key that name has for it.
func (a *Archive) Number(month []Archive, name func(sequence int64) string) error {
	a.Sequence = 1
	if len(month) > 0 {
		a.Sequence = month[len(month)-1].Sequence + 1
	}
	for a.Key = name(a.Sequence); a.recordedIn(month); a.Key = name(a.Sequence) {
		// It was registered, and another archive had its number.
		if a.Sequence++; name(a.Sequence) == a.Key {
			return ArchiveConflict("the archive %s is recorded", a.Key)
		}
	}
	return nil
}

// Register makes of an archive that was read what is recorded of it, among all of its
// month. Where its id is set, that record is to become it: the same archive was lost, or
// lies in another storage, as one does that was copied here. It reports whether all of
// its rows become members: what it was archived for is found out anew. As rows may be gone
// because of it, it is deleting: such an archive is never given up.
func (a *Archive) Register(month []Archive, c Checkpoint) (all bool, err error) {
	for _, o := range month {
		if o.Key != a.Key {
			continue
		}
		if err := o.MayBecomeAgain(*a); err != nil {
			return false, err
		}
		o.Store = a.Store
		if *a = o; o.State != ArchiveLost {
			return false, nil
		}
		a.State, a.RunID, a.VerifiedAt, a.FinishedAt, a.RemovedAt, a.Error = ArchiveDeleting, c.RunID, &c.Now, nil, nil, ""
		return true, nil
	}
	if slices.ContainsFunc(month, func(o Archive) bool { return o.Sequence == a.Sequence }) {
		a.Sequence = month[len(month)-1].Sequence + 1
	}
	a.State, a.RunID, a.CreatedAt, a.VerifiedAt = ArchiveDeleting, c.RunID, c.Now, &c.Now
	return true, nil
}

// MayBecomeAgain reports why a record cannot become that of an archive which was found
// under its key, nil when it can.
func (a Archive) MayBecomeAgain(found Archive) error {
	var why string
	switch {
	case a.State.Discarded() || a.State == ArchiveRemoved:
		why = fmt.Sprintf("archive %d of this name is %s, as its rows are in another one or were erased: delete the object and its manifest", a.ID, a.State)
	case a.SHA256 != found.SHA256:
		why = fmt.Sprintf("archive %d of this name had the SHA-256 %s: put that back, or delete the object and its manifest", a.ID, a.SHA256)
	case a.Store == found.Store && a.State != ArchiveLost:
		why = fmt.Sprintf("the archive %s is recorded", found.Key)
	default:
		return nil
	}
	return &Error{Kind: KindConflict, Field: "archive", Message: why}
}

func (a *Archive) recordedIn(month []Archive) bool {
	return slices.ContainsFunc(month, func(o Archive) bool { return o.Store == a.Store && o.Key == a.Key })
}

// Leave counts an object that somebody has to see to.
func (r *RegisterResult) Leave(key, why string) {
	if r.LeftTotal++; len(r.Left) < MaxErrors {
		r.Left = append(r.Left, LeftArchive{key, why})
	}
}

// Fill puts an empty list in place of none.
func (r *RegisterResult) Fill() {
	if r.Left == nil {
		r.Left = []LeftArchive{}
	}
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *RegisterResult) Resume() {
	*r = RegisterResult{Found: r.Registered, Registered: r.Registered, Moved: r.Moved, Rows: r.Rows, RowsPresent: r.RowsPresent}
}
