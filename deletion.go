package exportops

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// DeletionState is the state of an entry of the ledger.
type DeletionState string

// The states: claimed first, then one of the others. A failed entry is claimed
// again by a later run.
const (
	DeletionClaimed     DeletionState = "claimed"
	DeletionDone        DeletionState = "deleted"
	DeletionAbsent      DeletionState = "absent"
	DeletionFailed      DeletionState = "failed"
	DeletionQuarantined DeletionState = "quarantined"
	DeletionChanged     DeletionState = "changed" // the row no longer is what was claimed
)

// Confirmed reports whether storage said that the file is gone.
func (s DeletionState) Confirmed() bool { return s == DeletionDone || s == DeletionAbsent }

// QuarantineAfter is the number of failed runs in a row after which an entry
// is set aside.
const QuarantineAfter = 5

// AloneAfter is the number of interrupted attempts after which a key is tried
// in a batch of its own, because it may be what kills the process.
const AloneAfter = 3

// Deletion is one entry of the ledger: one file that was to be deleted, with
// what the claim saw.
type Deletion struct {
	ID         int64         `json:"id"`
	ExportID   string        `json:"export_id"`
	UserID     string        `json:"user_id"`
	Mode       Mode          `json:"mode"`
	State      DeletionState `json:"state"`
	Store      string        `json:"store"`
	Bucket     string        `json:"bucket"`
	Key        string        `json:"key"` // "" where the location was refused
	FileURL    *string       `json:"file_url"`
	ExpiresAt  *string       `json:"expires_at"`
	FileSize   *int64        `json:"file_size"`
	RowStatus  Status        `json:"row_status"`
	RunID      string        `json:"run_id"`
	Attempts   int           `json:"attempts"` // claims
	Failures   int           `json:"failures"` // failed runs in a row
	Bytes      int64         `json:"bytes"`
	Evidence   string        `json:"evidence,omitempty"`
	Error      string        `json:"error,omitempty"`
	ClaimedAt  Time          `json:"claimed_at"`
	FinishedAt *Time         `json:"finished_at"`
	RetriedAt  *Time         `json:"retried_at,omitempty"` // when somebody had it tried again
	RetriedBy  string        `json:"retried_by,omitempty"`
}

// Interrupted returns how many attempts ended without an outcome.
func (d Deletion) Interrupted() int { return d.Attempts - d.Failures }

// FailedIn reports whether the entry's last outcome is a failure of this run. A
// nil entry has none.
func (d *Deletion) FailedIn(runID string) bool {
	return d != nil && d.RunID == runID && (d.State == DeletionFailed || d.State == DeletionQuarantined)
}

// Fail turns the entry into a failed one, or a quarantined one after too many
// failed runs in a row.
func (d *Deletion) Fail(reason string, now Time) {
	d.State, d.Error, d.FinishedAt = DeletionFailed, reason, &now
	if d.Failures++; d.Failures >= QuarantineAfter {
		d.State = DeletionQuarantined
	}
}

// Verdict is what a cleanup does about one candidate.
type Verdict string

// The verdicts. Only Claim and Refuse touch the ledger.
const (
	Claim    Verdict = "claim"
	Expire   Verdict = "no_file"  // nothing is stored: the row may expire at once
	Refuse   Verdict = "refused"  // its location is not ours: a failure with a reason
	Postpone Verdict = "postpone" // the key needs an exact look, at the end of the run
	PassOver Verdict = "pass_over"
)

// Decision is a verdict about the candidate at the same position.
type Decision struct {
	Verdict  Verdict
	Location Location // for Claim
	Reason   string   // for Refuse a sentence, for PassOver and Postpone a word
}

// ClaimRequest asks for one page of claims.
type ClaimRequest struct {
	Selection Selection
	Store     string // FileStore.ID
	After     Cursor
	Limit     int
	// ExportIDs, where set, takes these rows instead of a page.
	ExportIDs []string
	// SkipBusy passes over rows that are named and that somebody else has locked, as
	// those of a page ever are. Without it they are waited for.
	SkipBusy bool
	// Watch names rows that are read in the same transaction and handed to
	// Decide as others.
	Watch []string
	// HoldsSeen is the last hold whose rows Decide knows of. Rows that later holds
	// cover are handed to it as others, too.
	HoldsSeen int64
	// Decide is pure and quick: it runs inside the transaction and may run more
	// than once.
	Decide func(page, others []Candidate) []Decision
}

// Entry is what the ledger gets for a row that is to be claimed, or refused. One
// that failed before is claimed again; what was confirmed or changed before stays
// as it is, beside the new.
func (r ClaimRequest) Entry(c Checkpoint, row Candidate, d Decision) Deletion {
	e := Deletion{
		ExportID: row.ExportID, UserID: row.UserID, Mode: r.Selection.Mode, State: DeletionClaimed,
		Store: r.Store, Bucket: d.Location.Bucket, Key: d.Location.Key,
		FileURL: row.FileURL, ExpiresAt: row.ExpiresAt, FileSize: row.FileSize, RowStatus: row.Status,
		RunID: c.RunID, Attempts: 1, ClaimedAt: c.Now,
	}
	if p := row.Prior; p != nil && (p.State == DeletionFailed || p.State == DeletionQuarantined) {
		e.ID, e.Attempts, e.Failures = p.ID, p.Attempts+1, p.Failures
	}
	if d.Verdict == Refuse {
		e.Fail(d.Reason, c.Now)
	}
	return e
}

// ClaimPage is what a ClaimRequest saw and did.
type ClaimPage struct {
	Candidates []Candidate
	Decisions  []Decision
	// Claims holds, for the candidate at the same position, its claim; nil where
	// there is none. A candidate that was to be claimed and has none lost the
	// key to a claim that is still open.
	Claims []*Deletion
	// Busy are the exports of rows that somebody else had locked: nothing was decided
	// about them. Whoever it was may have claimed them, or left them as they were.
	Busy []string
	// Unseen is set where more than MostHeldAtOnce rows came under a hold that
	// the request has not seen: nothing was read or claimed, and the request is to
	// be made again by somebody who knows them.
	Unseen bool
	Next   Cursor        // where to go on; "" after the last page
	Took   time.Duration // how long other writers were kept waiting
}

// Unsent tells the claims of a page apart, none of which was sent to storage, by what
// taking them back means: fresh are the numbers of entries that go, and failed are
// entries that say again what they said before.
func (p ClaimPage) Unsent() (fresh []int64, failed []*Deletion) {
	for i, c := range p.Claims {
		if c == nil || c.State != DeletionClaimed {
			continue
		}
		prior := p.Candidates[i].Prior
		if prior == nil || prior.ID != c.ID {
			fresh = append(fresh, c.ID)
			continue
		}
		d := *c
		d.State, d.RunID, d.Attempts, d.Error = prior.State, prior.RunID, prior.Attempts, prior.Error
		d.ClaimedAt, d.FinishedAt = prior.ClaimedAt, prior.FinishedAt
		failed = append(failed, &d)
	}
	return fresh, failed
}

// Settlement is the outcome of one claim, or of a row without a file.
type Settlement struct {
	Claim    *Deletion  // nil for a row without a file
	Row      *Candidate // the row as it was read, when Claim is nil
	State    DeletionState
	Bytes    int64
	Evidence string
	Error    string
}

// Gone reports whether storage confirmed that there is no file any more, or
// there never was one.
func (s Settlement) Gone() bool { return s.Claim == nil || s.State.Confirmed() }

// Expires reports whether the settlement is to turn its row to expired.
func (s Settlement) Expires() bool {
	if s.Claim != nil {
		return s.Gone() && s.Claim.RowStatus == Completed
	}
	return s.Row.Status == Completed
}

// Apply gives a claim its outcome; unlike says that the row no longer was what had
// been claimed.
func (s Settlement) Apply(d Deletion, unlike bool, now Time) Deletion {
	d.State, d.Bytes, d.Evidence, d.Error = s.State, s.Bytes, s.Evidence, s.Error
	switch {
	case s.State == DeletionFailed:
		d.Fail(s.Error, now)
	case unlike:
		d.State, d.Evidence = DeletionChanged, string(s.State)
		d.Error = "the row was changed while its file was being deleted"
	}
	return d
}

// Settled says what a settlement led to.
type Settled struct {
	RowExpired bool          // this settlement turned the row's status to expired
	State      DeletionState // as recorded: changed, or quarantined, where that came of it
	RowUnlike  bool          // the row no longer was what was claimed
}

// OpenClaim is a claim that a dead run left behind, with the row as it is now.
type OpenClaim struct {
	Deletion
	Row *Candidate // nil when the row is gone
}

// KeyRow is a row that may keep a file alive.
type KeyRow struct {
	ExportID string
	UserID   string
	Status   Status
	FileURL  string
}

// DeletionStore keeps the ledger and claims files for deletion.
type DeletionStore interface {
	ChainStore
	// LockFor is how long a transaction that claims, records or deletes should take:
	// batches shrink and grow towards it.
	LockFor() time.Duration
	// Candidates reads a page without claiming anything, with the cursor of the
	// next page, "" after the last.
	Candidates(ctx context.Context, s Selection, after Cursor, limit int) ([]Candidate, Cursor, error)
	// CandidatesByID reads rows by their export ids, in no order; those that do
	// not exist are left out.
	CandidatesByID(ctx context.Context, exportIDs []string) ([]Candidate, error)
	// CountCandidates counts the rows after a cursor.
	CountCandidates(ctx context.Context, s Selection, after Cursor) (int64, error)
	// ClaimFiles locks a page of rows, asks what to do with each, and records a
	// claim or a refusal for those it is told to, in one transaction. At most
	// one open claim exists for a (store, bucket, key).
	ClaimFiles(ctx context.Context, c Checkpoint, r ClaimRequest) (ClaimPage, error)
	// Unclaim takes back the claims of a page that this run made and did not send to
	// storage, in one transaction. The page's refusals stay.
	Unclaim(ctx context.Context, c Checkpoint, p ClaimPage) error
	// Settle records outcomes, and turns each row whose file is confirmed gone
	// to expired while it still is what was claimed, in one transaction. What
	// is known of the exports' metrics is frozen before.
	Settle(ctx context.Context, c Checkpoint, batch []Settlement) ([]Settled, error)
	// Reclaim takes over claims that other, dead runs left open: those for which
	// resume answers true are claimed by this run, the others end as changed.
	// An empty answer means that none are left, or that a hold covers everything.
	// Where exports are named, it is about their claims alone.
	Reclaim(ctx context.Context, c Checkpoint, limit int, resume func(OpenClaim) bool, exportIDs ...string) (
		[]OpenClaim, []bool, error)
	// KeyRows yields rows that are completed or in progress and name a file;
	// with since set, only those whose timestamp is not before it.
	KeyRows(ctx context.Context, since Time) iter.Seq2[KeyRow, error]
	// ForgetDeletions deletes entries that ended before the given time and whose log
	// row is gone: whole days of the chain, from its beginning, up to the first that
	// has another entry, and never the last. It deletes at most limit entries and
	// returns how many; more says that it is to be called again.
	ForgetDeletions(ctx context.Context, c Checkpoint, before Time, limit int) (n int64, more bool, err error)
	// RetryDeletions makes those of the entries that failed or are quarantined
	// eligible again, with no failure counted, and returns which.
	RetryDeletions(ctx context.Context, ids []int64, by string, now Time) ([]int64, error)
	// DeletionsOf returns the entries of some exports, oldest first.
	DeletionsOf(ctx context.Context, exportIDs []string) ([]Deletion, error)
	// Deletions returns ledger entries, newest first.
	Deletions(ctx context.Context, f DeletionFilter) ([]Deletion, error)
}

// DeletionFilter selects ledger entries. Zero fields do not filter.
type DeletionFilter struct {
	ID       int64
	ExportID string
	RunID    string
	State    DeletionState
	From, To Time  // claimed at or after From, and before To
	Before   int64 // entries with a smaller id, for paging
	Limit    int
}

// LogSelection selects log rows that may be deleted.
type LogSelection struct {
	Cut    Time   // timestamp before; the zero time with UserID takes every age
	UserID string // only this user's; "" for all
}

// LogDeletion is what became of log rows that were to be deleted.
type LogDeletion struct {
	Gone []bool        // of each row, in order
	Took time.Duration // how long other writers were kept waiting
}

// LogStatistics says what a log cleanup would find.
type LogStatistics struct {
	EligibleForCleanup  int64   `json:"eligible_for_cleanup"`
	TotalSizeEstimateMB float64 `json:"total_size_estimate_mb"`
	OldestLogDate       *Time   `json:"oldest_log_date"`
	CutoffDate          Time    `json:"cutoff_date"`
}

// LogStore deletes old rows of export_logs.
type LogStore interface {
	// LogRows reads a page without changing anything.
	LogRows(ctx context.Context, s LogSelection, after Cursor, limit int) ([]LogRow, Cursor, error)
	// LogRowsByID reads rows by their ids, in no order; those that do not exist are
	// left out.
	LogRowsByID(ctx context.Context, ids []string) ([]LogRow, error)
	// CountLogRows counts the rows after a cursor.
	CountLogRows(ctx context.Context, s LogSelection, after Cursor) (int64, error)
	// DeleteLogRows deletes rows that LogRows read, with their metrics, in one
	// transaction: those that still are what was read, and still are counted. The
	// others stay. The hours that lose a row are sealed. It asks progress last in
	// the transaction for the run's result that counts what went.
	DeleteLogRows(ctx context.Context, c Checkpoint, rows []LogRow,
		progress func(LogDeletion) (json.RawMessage, error)) (LogDeletion, error)
	// DeleteLoneMetrics deletes metrics of exports that have no row, finished,
	// and are held by a rollup: of a page in an order of its own, after the cursor.
	// The hours that counted them are sealed. It returns how many exports it was
	// about, and the cursor of the next page, "" after the last.
	// It asks progress, where there is one, last in the transaction for the run's
	// result that counts what went.
	DeleteLoneMetrics(ctx context.Context, c Checkpoint, s LogSelection, after Cursor, limit int, progress TraceProgress) (
		int64, Cursor, error)
	// LogStatistics counts the finished exports with a timestamp before cut,
	// those aside that say completed and name a file.
	LogStatistics(ctx context.Context, cut Time) (LogStatistics, error)
}
