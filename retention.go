package exportops

import (
	"strings"
	"time"
)

// The defaults of retention.
const (
	DefaultFileRetention = 24 * time.Hour
	DefaultLogRetention  = 30 * 24 * time.Hour
)

// Mode says why files are deleted, and so which rows are looked at.
type Mode string

// The modes of deletion.
const (
	// ByExpiry takes completed exports whose expires_at is past.
	ByExpiry Mode = "expiry"
	// ByAge takes completed exports created before the cut, whatever
	// expires_at says.
	ByAge Mode = "age"
	// ByLogCleanup takes old rows that say expired or failed, name a file, and
	// have no confirmation of ours.
	ByLogCleanup Mode = "log_cleanup"
	// ByErasure takes every finished export of one user.
	ByErasure Mode = "erasure"
	// ByPolicy reads every row, to hold it against a retention policy. No file is
	// due by it.
	ByPolicy Mode = "policy"
)

// Selection is what one cleanup is about.
type Selection struct {
	Mode   Mode
	Now    Time   // of the run: what expires later is left for the next one
	Cut    Time   // ByAge: created before; ByLogCleanup: timestamp before
	UserID string // ByErasure
	// Policy, where set, must let a row go before ByLogCleanup takes its file.
	Policy *Policy
}

// Candidate is a row that may name a file to delete, as it was read. Texts are
// as stored: any program may have written them.
type Candidate struct {
	Cursor    Cursor
	ID        string
	ExportID  string
	UserID    string
	Status    Status
	FileURL   *string
	ExpiresAt *string
	CreatedAt string
	Timestamp string
	FileSize  *int64
	Held      bool // an active hold covers it
	Format    Format
	Config    ConfigValues // under the keys that the store was told to read
	Prior     *Deletion    // the ledger's entry for this generation of the row, or nil
}

// Cursor is a position in the order a store pages by; "" is the start. It is
// meaningful to that store and selection alone.
type Cursor string

// Judgement says whether a row's file is due under a selection, and if not why.
type Judgement string

// The judgements.
const (
	Due          Judgement = "due"
	NotDue       Judgement = "not_due"     // no longer, or not yet: someone else changed the row
	Implausible  Judgement = "implausible" // expires before it was created
	NeverExpires Judgement = "never"       // no expiry, or one that cannot be read
	StillRunning Judgement = "in_progress" // no outcome yet
	Confirmed    Judgement = "confirmed"   // the ledger already confirms that the file is gone
)

// Judge decides about one row, from nothing but its arguments.
func (s Selection) Judge(c Candidate) Judgement {
	if c.Status.InProgress() {
		return StillRunning
	}
	switch s.Mode {
	case ByExpiry:
		return s.judgeExpiry(c)
	case ByAge:
		created, ok := ParseStoredTime(c.CreatedAt)
		if c.Status != Completed || !ok || !created.Before(s.Cut.Time) {
			return NotDue
		}
		return Due
	case ByLogCleanup:
		asked, ok := ParseStoredTime(c.Timestamp)
		if (c.Status != Expired && c.Status != Failed) || !ok || !asked.Before(s.Cut.Time) || !s.Policy.LogDue(c, s.Now) {
			return NotDue
		}
		return unlessConfirmed(c)
	case ByErasure:
		if !strings.EqualFold(c.UserID, s.UserID) {
			return NotDue
		}
		return unlessConfirmed(c)
	}
	return NotDue
}

func (s Selection) judgeExpiry(c Candidate) Judgement {
	if c.Status != Completed {
		return NotDue
	}
	if c.ExpiresAt == nil {
		return NeverExpires
	}
	expires, ok := ParseExactTime(*c.ExpiresAt)
	if !ok {
		return NeverExpires
	}
	// A created_at that cannot be read cannot vouch for the expiry either.
	created, ok := ParseStoredTime(c.CreatedAt)
	switch {
	case !ok || expires.Before(created.Time):
		return Implausible
	case expires.After(s.Now.Time):
		return NotDue
	}
	return Due
}

// unlessConfirmed is Due unless the file of this very generation of the row is
// known to be gone. A completed row is due whatever the ledger says: it may
// name a file that was written again.
func unlessConfirmed(c Candidate) Judgement {
	if c.Gone() {
		return Confirmed
	}
	return Due
}

// LogRow is an old row of export_logs with what decides whether it may go.
type LogRow struct {
	Candidate
	Counted bool // its outcome is frozen in a metric, and its hour is rolled up
	// Seen is what the store that read the row compares before it deletes it.
	Seen any
}

// LogVerdict says whether a log row may be deleted, and if not why.
type LogVerdict string

// The verdicts about a log row.
const (
	DeleteRow        LogVerdict = "delete"
	KeepInProgress   LogVerdict = "kept_in_progress"
	KeepFileMayExist LogVerdict = "kept_file_may_exist"
	KeepUncounted    LogVerdict = "kept_uncounted" // its hour must be rolled up first
	KeepHeld         LogVerdict = "kept_held"      // an active hold covers it
	KeepByPolicy     LogVerdict = "kept_by_policy" // the retention policy keeps it for longer
	KeepNotDue       LogVerdict = "not_due"        // not old enough, or its age cannot be read
	KeepChanged      LogVerdict = "changed"        // it is not what a plan saw, or not due any more
)

// JudgeRow decides about one log row. noFile says that the row names no stored
// file. A row is old enough when its timestamp lies before cut; the zero cut
// takes every age, for a user's own cleanup.
func JudgeRow(r LogRow, noFile bool, cut Time) LogVerdict {
	if !cut.IsZero() {
		asked, ok := ParseStoredTime(r.Timestamp)
		if !ok || !asked.Before(cut.Time) {
			return KeepNotDue
		}
	}
	switch {
	case r.Status.InProgress():
		return KeepInProgress
	case r.Held:
		return KeepHeld
	case !noFile && !r.Gone():
		return KeepFileMayExist
	case !r.Counted:
		return KeepUncounted
	}
	return DeleteRow
}

// Gone reports whether the ledger confirms that the row's file is gone. What a
// completed row names may still be served to someone, so it never counts.
func (c Candidate) Gone() bool {
	return c.Status != Completed && c.Prior != nil && c.Prior.State.Confirmed()
}
