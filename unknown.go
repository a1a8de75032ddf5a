package exportops

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// UnknownCleanup is the job that deletes quarantined files which no row names, as
// a plan lists them; on request only.
const UnknownCleanup Job = "unknown-cleanup"

// UnknownKept says why a file that no row named is not deleted.
type UnknownKept string

// The reasons.
const (
	UnknownChanged  UnknownKept = "changed"  // it, or what is recorded of it, is another
	UnknownNamed    UnknownKept = "named"    // a row names it now
	UnknownUnclear  UnknownKept = "unclear"  // a row that cannot be read may mean it
	UnknownHeld     UnknownKept = "held"     // a hold covers everything, or whom its key names
	UnknownClaimed  UnknownKept = "claimed"  // a deletion of it is under way, or was left open
	UnknownArchive  UnknownKept = "archive"  // it is an archive of log rows, or its manifest
	UnknownOutside  UnknownKept = "not_ours" // its key lies outside the prefix, or is none
	UnknownDone     UnknownKept = "gone"     // it is gone already
	UnknownUngraced UnknownKept = "in_grace" // it is not quarantined
)

// May reports whether the record lets the file be deleted, which was recorded
// like this before: it is quarantined, and nothing of the file changed.
func (u UnknownFile) May(as UnknownFile) UnknownKept {
	switch {
	case u.Size != as.Size || u.Version != as.Version || !u.Modified.Equal(as.Modified.Time):
		return UnknownChanged
	case u.State == UnknownGone:
		return UnknownDone
	case u.State == UnknownAdopted:
		return UnknownNamed
	case u.State != UnknownQuarantined:
		return UnknownUngraced
	}
	return ""
}

// UnknownClaim is what became of the claim on one file that no row names: a claim,
// or why there is none.
type UnknownClaim struct {
	Claim *Deletion
	Kept  UnknownKept
}

// Entry is what the ledger gets for the file; prior is the entry of an
// attempt that failed before, or nil.
func (u UnknownFile) Entry(c Checkpoint, bucket string, prior *Deletion) Deletion {
	size := u.Size
	d := Deletion{
		Mode: ByReconcile, State: DeletionClaimed, Store: u.Store, Bucket: bucket, Key: u.Key, FileSize: &size,
		RunID: c.RunID, Attempts: 1, ClaimedAt: c.Now,
	}
	if prior != nil {
		d.ID, d.Attempts, d.Failures = prior.ID, prior.Attempts+1, prior.Failures
	}
	return d
}

// UnknownStore claims files that no row names.
type UnknownStore interface {
	// ClaimUnknown records a claim on each of some files of one store whose record
	// says that it may be deleted, see UnknownFile.May, and that neither a hold on
	// everything or on somebody whom its key names, nor another claim forbids, in one
	// transaction. What Settle confirms to be gone then is recorded as gone.
	ClaimUnknown(ctx context.Context, c Checkpoint, bucket string, files []UnknownFile) ([]UnknownClaim, error)
	// ReclaimUnknown takes over claims that dead runs left open on such files, of any
	// store. An empty answer means that none are left, or that a hold covers
	// everything.
	ReclaimUnknown(ctx context.Context, c Checkpoint, limit int) ([]Deletion, error)
}

var archiveForm = regexp.MustCompile(`(?i)(?:^|/)export_logs/year=[0-9]+/month=[0-9]+/[^/]+\.(?:parquet|json)$`)

// MayBeArchive reports whether the file has the name of an archive of log rows, or
// of its manifest: nothing but a person deletes such.
func (u UnknownFile) MayBeArchive() bool { return archiveForm.MatchString(u.Key) }

// At is the location of a key below the prefix; it refuses any other, and what is
// no clean key.
func (l Locator) At(key string) (Location, error) {
	if err := CheckKey(key); err != nil {
		return Location{}, err
	}
	prefix := strings.TrimSuffix(l.Prefix, "/")
	if prefix != "" && !strings.HasPrefix(key, prefix+"/") {
		return Location{}, fmt.Errorf("%w: the key %s is outside the configured prefix %s", ErrBadKey, quoteShort(key), quoteShort(l.Prefix))
	}
	return Location{Bucket: l.bucket(), Key: key}, nil
}

// UnknownCleanupResult is what a cleanup of unknown files did. TotalFound is the
// sum of all outcomes and Remaining.
type UnknownCleanupResult struct {
	TotalFound    int64 `json:"total_found"`
	DeletedCount  int64 `json:"deleted_count"` // storage confirms: gone because of us
	FailedCount   int64 `json:"failed_count"`
	AlreadyAbsent int64 `json:"already_absent"`
	Changed       int64 `json:"changed"`       // the file, or what is recorded of it, is another
	KeptNamed     int64 `json:"kept_named"`    // a row names it now
	KeptUnclear   int64 `json:"kept_unclear"`  // a row that cannot be read may mean it
	KeptHeld      int64 `json:"kept_held"`     // a hold covers everything, or whom its key names
	KeptClaimed   int64 `json:"kept_claimed"`  // another deletion of it is open
	KeptArchive   int64 `json:"kept_archive"`  // it is an archive, or its manifest
	KeptNotOurs   int64 `json:"kept_not_ours"` // its key lies outside the prefix, or is none
	KeptInGrace   int64 `json:"kept_in_grace"` // it is not quarantined
	WouldDelete   int64 `json:"would_delete,omitempty"`
	Remaining     int64 `json:"remaining"`
	BytesFreed    int64 `json:"bytes_freed"`
	// Closed are claims of dead runs on files that this one does not list, and
	// which came to their outcome by a look; no part of TotalFound.
	Closed int64 `json:"closed,omitempty"`

	Errors      []KeyError `json:"errors"` // the first 100
	ErrorsTotal int64      `json:"errors_total"`
	Complete    bool       `json:"complete"`
	DryRun      bool       `json:"dry_run,omitempty"`
	Guards      *Guards    `json:"guards,omitempty"` // what they said before anything was deleted
	Plan        string     `json:"plan,omitempty"`   // SHA-256 of the plan that was written, or applied
	RunID       string     `json:"run_id,omitempty"`
	DurationMS  int64      `json:"duration_ms"`
	Timestamp   Time       `json:"timestamp"`
}

// KeyError is what went wrong with one file.
type KeyError struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

// Keep counts a file that is not deleted. What is gone already does not count
// again.
func (r *UnknownCleanupResult) Keep(why UnknownKept) {
	switch why {
	case UnknownDone:
	case UnknownNamed:
		r.KeptNamed++
	case UnknownUnclear:
		r.KeptUnclear++
	case UnknownHeld:
		r.KeptHeld++
	case UnknownClaimed:
		r.KeptClaimed++
	case UnknownArchive:
		r.KeptArchive++
	case UnknownOutside:
		r.KeptNotOurs++
	case UnknownUngraced:
		r.KeptInGrace++
	default:
		r.Changed++
	}
}

// Fail counts a file that could not be deleted, and lists it while the list has
// room.
func (r *UnknownCleanupResult) Fail(key, why string) {
	r.FailedCount++
	r.ErrorsTotal++
	if len(r.Errors) < MaxErrors {
		r.Errors = append(r.Errors, KeyError{Key: key, Error: why})
	}
}

// SumUp makes TotalFound what it says it is.
func (r *UnknownCleanupResult) SumUp() {
	if r.Errors == nil {
		r.Errors = []KeyError{}
	}
	r.TotalFound = r.DeletedCount + r.FailedCount + r.AlreadyAbsent + r.Changed + r.KeptNamed + r.KeptUnclear + r.KeptHeld +
		r.KeptClaimed + r.KeptArchive + r.KeptNotOurs + r.KeptInGrace + r.WouldDelete + r.Remaining
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *UnknownCleanupResult) Resume() {
	*r = UnknownCleanupResult{
		DeletedCount: r.DeletedCount, AlreadyAbsent: r.AlreadyAbsent, BytesFreed: r.BytesFreed, Closed: r.Closed,
		Guards: r.Guards, Plan: r.Plan,
	}
}

// UnknownCleanupEvent is what the log says at the end of a cleanup of unknown files:
// no keys, which may hold whom a file belongs to.
type UnknownCleanupEvent struct {
	UnknownCleanupResult
	Errors []KeyError `json:"-"`
	Error  string     `json:"error,omitempty"`
}
