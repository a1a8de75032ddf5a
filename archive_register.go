package exportops

import "slices"

// RegisterArchives is the job that records archives which lie in their storage and
// are unknown to the database; on request only.
const RegisterArchives Job = "archive-register"

// RegisterResult is what a registration of archives found and did.
type RegisterResult struct {
	Found       int64 `json:"found"`        // archives in storage that no record knows
	Registered  int64 `json:"registered"`   // of them, with all that is known of others
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

// Register makes of an archive that was read what is recorded of it.
func (a *Archive) Register(month []Archive, c Checkpoint) error {
	if a.recordedIn(month) {
		return ArchiveConflict("the archive %s is recorded", a.Key)
	}
	if slices.ContainsFunc(month, func(o Archive) bool { return o.Sequence == a.Sequence }) {
		a.Sequence = month[len(month)-1].Sequence + 1
	}
	a.State, a.RunID, a.CreatedAt, a.VerifiedAt = ArchiveVerified, c.RunID, c.Now, &c.Now
	return nil
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
	*r = RegisterResult{Found: r.Registered, Registered: r.Registered, Rows: r.Rows, RowsPresent: r.RowsPresent}
}
