package exportops

import (
	"context"
	"encoding/json"
	"time"
)

// RetentionApply is the job that gives exports which exist the expiry that the
// retention policy says, as a plan lists them; on request only.
const RetentionApply Job = "retention-apply"

// CompletedWithin is how long after its creation an export may have been completed
// and its expiry still be taken for what the policy gave it then: a row does not
// say when it was completed.
const CompletedWithin = 15 * time.Minute

// ExpiryKind says what a change of an expiry does.
type ExpiryKind string

// The kinds.
const (
	ExpiryEarlier ExpiryKind = "earlier"
	ExpiryLater   ExpiryKind = "later"
	ExpirySet     ExpiryKind = "set"     // there was none
	ExpiryRemoved ExpiryKind = "removed" // never, from now on
)

// ExpiryKept says why a row keeps the expiry that it has.
type ExpiryKept string

// The reasons. The first two are no news: nothing is listed of them.
const (
	ExpiryNotLive    ExpiryKept = "not_live"   // the export is not completed
	ExpirySame       ExpiryKept = "same"       // it is what the policy says
	ExpiryUnreadable ExpiryKept = "unreadable" // a time of the row, or where its file is, cannot be read; or its expiry could not be
	ExpiryHeld       ExpiryKept = "held"
	ExpiryClaimed    ExpiryKept = "claimed" // its file is being deleted
	ExpiryChanged    ExpiryKept = "changed" // the row is not what was listed
)

// ExpiryChange is a change of when the file of one export expires, with what the
// row was.
type ExpiryChange struct {
	ExportID string
	Kind     ExpiryKind
	Rule     string
	FileURL  *string
	From     *string // as stored
	To       *Time   // nil for never
}

// Past reports whether the file is due at once.
func (x ExpiryChange) Past(now Time) bool { return x.To != nil && !x.To.After(now.Time) }

// ChangeExpiry says what the policy makes of a row's expiry, counted from its
// creation; or why it stays.
func (p *Policy) ChangeExpiry(c Candidate, now Time) (x ExpiryChange, kept ExpiryKept) {
	choice := p.Choose(c, now)
	x = ExpiryChange{ExportID: c.ExportID, Rule: choice.Rule, FileURL: c.FileURL, From: c.ExpiresAt}
	if c.Status != Completed {
		return x, ExpiryNotLive
	}
	created, readable := ParseStoredTime(c.CreatedAt)
	var from Time
	if readable && c.ExpiresAt != nil {
		from, readable = ParseExactTime(*c.ExpiresAt)
	}
	to, ever := choice.Files.After(created)
	if !readable || to.Year() > 9999 || c.FileURL != nil && len(*c.FileURL) > MaxTextBytes {
		return x, ExpiryUnreadable
	}
	if ever {
		x.To = &to
	}
	switch {
	case x.To == nil && c.ExpiresAt == nil:
		return x, ExpirySame
	case x.To == nil:
		x.Kind = ExpiryRemoved
	case c.ExpiresAt == nil:
		x.Kind = ExpirySet
	case from.Before(x.To.Time):
		x.Kind = ExpiryLater
	case from.Sub(x.To.Time) < CompletedWithin:
		return x, ExpirySame
	default:
		x.Kind = ExpiryEarlier
	}
	switch {
	case c.Held:
		return x, ExpiryHeld
	case c.Prior != nil && c.Prior.State == DeletionClaimed:
		return x, ExpiryClaimed
	}
	return x, ""
}

// Judge says why a row that was read again may not be changed, or "".
func (x ExpiryChange) Judge(c Candidate) ExpiryKept {
	same := func(a, b *string) bool { return a == b || (a != nil && b != nil && *a == *b) }
	switch {
	case c.ExportID != x.ExportID || c.Status != Completed || !same(c.FileURL, x.FileURL):
		return ExpiryChanged
	case x.done(c):
		return ExpirySame
	case !same(c.ExpiresAt, x.From):
		return ExpiryChanged
	case c.Held:
		return ExpiryHeld
	case c.Prior != nil && c.Prior.State == DeletionClaimed:
		return ExpiryClaimed
	}
	return ""
}

// done reports whether the row has its new expiry already.
func (x ExpiryChange) done(c Candidate) bool {
	if x.To == nil || c.ExpiresAt == nil {
		return x.To == nil && c.ExpiresAt == nil
	}
	at, ok := ParseExactTime(*c.ExpiresAt)
	return ok && at.Equal(x.To.Time)
}

// ExpiryStore changes when the files of exports expire.
type ExpiryStore interface {
	// ChangeExpiry sets expires_at, and nothing else, of those rows that still are
	// what was read and that neither a hold nor a claim forbids, in one transaction;
	// see ExpiryChange.Judge. What is known of their metrics is frozen before. It
	// says of each why it stayed, "" where it was changed, and asks progress last in
	// the transaction for the run's result that counts what was.
	ChangeExpiry(ctx context.Context, c Checkpoint, changes []ExpiryChange,
		progress func([]ExpiryKept) (json.RawMessage, error)) ([]ExpiryKept, error)
}

// ExpiryResult is what an application of the policy to existing exports did.
// TotalFound is the sum of all outcomes and Remaining.
type ExpiryResult struct {
	TotalFound     int64 `json:"total_found"`
	ChangedCount   int64 `json:"changed_count"`
	WouldChange    int64 `json:"would_change,omitempty"` // by a dry run
	MovedOn        int64 `json:"moved_on"`               // the row is not what was listed; left alone
	KeptHeld       int64 `json:"kept_held"`
	KeptClaimed    int64 `json:"kept_claimed"`    // the file is being deleted
	KeptUnreadable int64 `json:"kept_unreadable"` // a time of the row, or where its file is, cannot be read
	Remaining      int64 `json:"remaining"`

	// Of what was changed, or would be:
	Earlier   int64 `json:"earlier"`
	Later     int64 `json:"later"`
	Set       int64 `json:"set"`         // there was no expiry
	Removed   int64 `json:"removed"`     // never, from now on
	DueAtOnce int64 `json:"due_at_once"` // the next file cleanup deletes the file

	Unchanged  int64  `json:"unchanged,omitempty"` // a dry run found them as the policy says
	Complete   bool   `json:"complete"`
	DryRun     bool   `json:"dry_run,omitempty"`
	Plan       string `json:"plan,omitempty"` // SHA-256 of the plan that was written, or applied
	Policy     string `json:"policy"`         // its hash
	RunID      string `json:"run_id,omitempty"`
	DurationMS int64  `json:"duration_ms"`
	Timestamp  Time   `json:"timestamp"`
}

// Count counts what became of a change; now says what is due at once.
func (r *ExpiryResult) Count(x ExpiryChange, kept ExpiryKept, now Time) {
	switch kept {
	case "":
	case ExpirySame, ExpiryNotLive:
		return
	case ExpiryHeld:
		r.KeptHeld++
		return
	case ExpiryClaimed:
		r.KeptClaimed++
		return
	case ExpiryUnreadable:
		r.KeptUnreadable++
		return
	default:
		r.MovedOn++
		return
	}
	if r.DryRun {
		r.WouldChange++
	} else {
		r.ChangedCount++
	}
	switch x.Kind {
	case ExpiryEarlier:
		r.Earlier++
	case ExpiryLater:
		r.Later++
	case ExpirySet:
		r.Set++
	case ExpiryRemoved:
		r.Removed++
	}
	if x.Past(now) {
		r.DueAtOnce++
	}
}

// SumUp makes TotalFound what it says it is.
func (r *ExpiryResult) SumUp() {
	r.TotalFound = r.ChangedCount + r.WouldChange + r.MovedOn + r.KeptHeld + r.KeptClaimed + r.KeptUnreadable + r.Remaining
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *ExpiryResult) Resume() {
	*r = ExpiryResult{
		ChangedCount: r.ChangedCount, Earlier: r.Earlier, Later: r.Later, Set: r.Set, Removed: r.Removed, DueAtOnce: r.DueAtOnce,
		Plan: r.Plan, Policy: r.Policy,
	}
}
