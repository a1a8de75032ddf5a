package exportops

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"time"
)

// Reconcile is the job that compares the files in storage with the rows that
// name them: on request, and by a schedule where one is given.
const Reconcile Job = "reconcile"

// ByReconcile is the mode of a deletion that no row asked for: of a file that
// none names.
const ByReconcile Mode = "unknown"

// UnknownGrace is how long a file must have been known to no row before it is
// quarantined, and so may be deleted by a plan.
const UnknownGrace = 7 * 24 * time.Hour

// DefaultStuckAfter is how long an export may be queued or processing.
const DefaultStuckAfter = 24 * time.Hour

// UnknownState is the state of a file that no row named when it was found.
type UnknownState string

// The states: seen first, then one of the others. What is gone or adopted begins
// anew when it is found unknown again.
const (
	UnknownSeen        UnknownState = "seen"
	UnknownQuarantined UnknownState = "quarantined" // unknown and untouched for UnknownGrace
	UnknownAdopted     UnknownState = "adopted"     // a row names it now
	UnknownGone        UnknownState = "gone"        // it is not there any more
)

// UnknownFile is a file below the export prefix that no row named.
type UnknownFile struct {
	Store     string       `json:"store"`
	Key       string       `json:"key"`
	Size      int64        `json:"size"`
	Modified  Time         `json:"modified"`
	Version   string       `json:"version,omitempty"`
	State     UnknownState `json:"state"`
	FirstSeen Time         `json:"first_seen"` // unknown, and as it is
	LastSeen  Time         `json:"last_seen"`
}

// Found returns the record of a file that no row names, given the one there was,
// whose zero value is none. The grace begins when the file is first found unknown
// and again with every change of it; may says whether the file may be
// quarantined at all.
func (u UnknownFile) Found(store string, f WalkedFile, may bool, now Time) UnknownFile {
	same := u.Size == f.Size && u.Version == f.Version && u.Modified.Equal(f.Modified.Time)
	if !same || (u.State != UnknownSeen && u.State != UnknownQuarantined) {
		u = UnknownFile{FirstSeen: now}
	}
	u.Store, u.Key, u.Size, u.Modified, u.Version = store, f.Key, f.Size, f.Modified, f.Version
	u.State, u.LastSeen = UnknownSeen, now
	old := func(t Time) bool { return !t.IsZero() && !t.After(now.Add(-UnknownGrace)) }
	if may && old(u.FirstSeen) && old(u.Modified) {
		u.State = UnknownQuarantined
	}
	return u
}

// UnknownFilter selects records of unknown files of a store, by key. Zero fields
// do not filter.
type UnknownFilter struct {
	Store      string
	Keys       []string // these alone
	State      UnknownState
	After      string // keys behind this one
	To         string // keys up to this one
	SeenBefore Time   // last seen before
	Limit      int    // 1 to MaxPage, 0 means DefaultPage; not of Keys
}

// MissingFile is an export whose row names a file that storage does not have. The
// row itself stays as it is.
type MissingFile struct {
	ExportID string `json:"export_id"`
	Store    string `json:"store"`
	Key      string `json:"key"`
	// With the expiry what the row was: made again, it is another. It may hold a
	// token, so nobody is shown it.
	FileURL   *string `json:"-"`
	ExpiresAt *string `json:"expires_at"`
	FirstSeen Time    `json:"first_seen"`
	LastSeen  Time    `json:"last_seen"`
}

// Of reports whether the record is about the row as it is now.
func (m MissingFile) Of(c Candidate) bool {
	same := func(a, b *string) bool { return a == b || (a != nil && b != nil && *a == *b) }
	return m.ExportID == c.ExportID && same(m.FileURL, c.FileURL) && same(m.ExpiresAt, c.ExpiresAt)
}

// MissingReader reads records of missing files.
type MissingReader interface {
	MissingFiles(ctx context.Context, f MissingFilter) ([]MissingFile, error)
}

// MarkMissing says of exports, at most MaxPage of them, since when their file is
// missing, as far as it was recorded of the row as it is now.
func MarkMissing(ctx context.Context, r MissingReader, page []Export) error {
	at := map[string]*Export{}
	var ids []string
	for i, e := range page {
		if e.Status == Completed && e.FileURL != nil {
			ids, at[strings.ToLower(e.ExportID)] = append(ids, e.ExportID), &page[i]
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := r.MissingFiles(ctx, MissingFilter{ExportIDs: ids})
	for _, m := range found {
		if e := at[strings.ToLower(m.ExportID)]; e != nil && m.about(*e) {
			e.FileMissingSince = &m.FirstSeen
		}
	}
	return err
}

// about is Of for a row that was read as a whole.
func (m MissingFile) about(e Export) bool {
	if m.FileURL == nil || e.FileURL == nil || *m.FileURL != *e.FileURL {
		return false
	}
	if m.ExpiresAt == nil {
		return e.ExpiresAt == nil
	}
	t, ok := ParseExactTime(*m.ExpiresAt)
	if !ok {
		return e.ExpiresAt == nil // as a text that is no time is read
	}
	return e.ExpiresAt != nil && At(e.ExpiresAt.Time).Equal(At(t.Time).Time)
}

// MissingFilter selects records of missing files, by export id.
type MissingFilter struct {
	ExportIDs  []string // these alone
	After      string   // ids behind this one
	SeenBefore Time     // last seen before
	Limit      int      // 1 to MaxPage, 0 means DefaultPage; not of ExportIDs
}

// StuckExport is a row that is in progress, as it was read.
type StuckExport struct {
	ExportID  string
	UserID    string
	Status    Status
	Timestamp string
	UpdatedAt string
}

// Stuck reports whether the export has been in progress since before the cut. A
// time that cannot be read is no proof.
func (e StuckExport) Stuck(cut Time) bool {
	asked, ok := ParseExactTime(e.Timestamp)
	touched, ok2 := ParseExactTime(e.UpdatedAt)
	return ok && ok2 && e.Status.InProgress() && asked.Before(cut.Time) && touched.Before(cut.Time)
}

// ReconcileReader reads what a reconciliation compares.
type ReconcileReader interface {
	// NamedFiles yields the rows of any status that name a file; with since set,
	// only those whose timestamp is not before it.
	NamedFiles(ctx context.Context, since Time) iter.Seq2[KeyRow, error]
	// UnknownFiles returns a page, by key in the order of bytes.
	UnknownFiles(ctx context.Context, f UnknownFilter) ([]UnknownFile, error)
	// MissingFiles returns a page, by export id.
	MissingFiles(ctx context.Context, f MissingFilter) ([]MissingFile, error)
	// StuckExports returns a page of rows in progress whose timestamp lies before
	// the cut, and the cursor of the next, "" after the last.
	StuckExports(ctx context.Context, cut Time, after Cursor, limit int) ([]StuckExport, Cursor, error)
}

// ReconcileStore keeps what a reconciliation found.
type ReconcileStore interface {
	ReconcileReader
	// RecordUnknown keeps records, each in place of that of the same file.
	RecordUnknown(ctx context.Context, c Checkpoint, files []UnknownFile) error
	// ForgetUnknown deletes records of files that were gone or adopted before the
	// given time, at most limit, and returns how many.
	ForgetUnknown(ctx context.Context, c Checkpoint, before Time, limit int) (int64, error)
	// RecordMissing keeps records, each in place of that of the same export, whose
	// first sight stays where it is of the same row.
	RecordMissing(ctx context.Context, c Checkpoint, files []MissingFile) error
	// ForgetMissing deletes the records of exports.
	ForgetMissing(ctx context.Context, c Checkpoint, exportIDs []string) error
	// FailStuck turns rows to failed that still are what was read, with the reason
	// as their error, and counts them as failures, in one transaction. It says of
	// each whether it did. It asks progress, where there is one, last in the transaction
	// for the run's result that counts them.
	FailStuck(ctx context.Context, c Checkpoint, rows []StuckExport, reason string,
		progress func(failed []bool) (json.RawMessage, error)) ([]bool, error)
	UnknownStore
}

// ReconcileCounts is how much a reconciliation found and did.
type ReconcileCounts struct {
	FilesSeen      int64 `json:"files_seen"`
	FilesKnown     int64 `json:"files_known"`         // a row names them
	FilesRecent    int64 `json:"files_recent"`        // written since the run began, or just before: the next run judges
	UnknownSeen    int64 `json:"unknown_seen"`        // in their grace
	UnknownHeldUp  int64 `json:"unknown_unclear"`     // kept from quarantine: a row that cannot be read may mean them
	Quarantined    int64 `json:"unknown_quarantined"` // may be deleted by a plan
	Adopted        int64 `json:"unknown_adopted"`     // known by now
	Gone           int64 `json:"unknown_gone"`
	OddCount       int64 `json:"odd_count"` // what can be no export's file
	MissingFiles   int64 `json:"missing_files"`
	MissingCleared int64 `json:"missing_cleared"` // were missing: found again, expired or made again
	StuckFailed    int64 `json:"stuck_failed"`
	StuckMovedOn   int64 `json:"stuck_moved_on"` // while we looked
	WouldFailStuck int64 `json:"would_fail_stuck,omitempty"`
	UnreadableRows int64 `json:"unreadable_rows"` // name a file in a way that cannot be read
	FailedCount    int64 `json:"failed_count"`    // files that could not be looked at
}

// ReconcileResult is what a reconciliation found and did.
type ReconcileResult struct {
	ReconcileCounts

	// The first 100 of each kind.
	Unknown []UnknownFile `json:"unknown"`
	Odd     []OddFile     `json:"odd"`
	Missing []MissingFile `json:"missing"`
	Stuck   []string      `json:"stuck"` // export ids
	Errors  []ExportError `json:"errors"`

	// Cursor is the key up to which everything is compared: a run that takes over,
	// or comes after one whose time ended, goes on there.
	Cursor string `json:"cursor,omitempty"`
	// Walked says that all files behind the cursor are compared as well: a run that
	// takes over has what comes after that before it, and counts none of them again.
	Walked bool `json:"walked,omitempty"`
	// After is the cursor that the run began with, and BeganAt when the first of the
	// runs that belong together did.
	After   string `json:"after,omitempty"`
	BeganAt Time   `json:"began_at"`

	Complete   bool    `json:"complete"`
	DryRun     bool    `json:"dry_run,omitempty"`
	Guards     *Guards `json:"guards,omitempty"` // only where that of the clock refused
	RunID      string  `json:"run_id,omitempty"`
	DurationMS int64   `json:"duration_ms"`
	Timestamp  Time    `json:"timestamp"`
}

// OddFile is something below the prefix that can be no export's file.
type OddFile struct {
	Key string `json:"key"`
	Why string `json:"why"`
}

// Fill puts empty lists in place of none.
func (r *ReconcileResult) Fill() {
	if r.Unknown == nil {
		r.Unknown = []UnknownFile{}
	}
	if r.Odd == nil {
		r.Odd = []OddFile{}
	}
	if r.Missing == nil {
		r.Missing = []MissingFile{}
	}
	if r.Stuck == nil {
		r.Stuck = []string{}
	}
	if r.Errors == nil {
		r.Errors = []ExportError{}
	}
}

// Resume keeps where the next holder of the run, or the next run, goes on, and
// what was counted up to there.
func (r *ReconcileResult) Resume() { r.After, r.Complete = r.Cursor, false }

// ReconcileEvent is what the log says at the end of a reconciliation: no keys,
// which may hold whom a file belongs to.
type ReconcileEvent struct {
	ReconcileCounts
	Complete   bool   `json:"complete"`
	RunID      string `json:"run_id"`
	DurationMS int64  `json:"duration_ms"`
	Timestamp  Time   `json:"timestamp"`
	Error      string `json:"error,omitempty"`
}

// MissingFilesEvent is what the log says when files are missing.
type MissingFilesEvent struct {
	RunID        string   `json:"run_id"`
	MissingFiles int64    `json:"missing_files"`
	ExportIDs    []string `json:"export_ids"` // the first 100
	Timestamp    Time     `json:"timestamp"`
}
