package exportops

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Erasure is the proof that a user was erased: counts and hashes, and nothing
// about the person.
type Erasure struct {
	ID         string `json:"id"`
	UserHash   string `json:"user_hash"` // keyed: only whoever holds the database and the id can match them
	RunID      string `json:"run_id"`
	FinishedAt Time   `json:"finished_at"`
	Files      int64  `json:"files"`    // deleted, or found absent
	Rows       int64  `json:"rows"`     // of the export logs, with their metrics
	Metrics    int64  `json:"metrics"`  // exports that had metrics and no row
	Counters   int64  `json:"counters"` // hours that counted the user by name
	Entries    int64  `json:"entries"`  // of the ledger, which stay without what names the user
	Records    int64  `json:"records"`  // others that named the user: results of runs, what reconciliations found, released holds
	// What follows is missing where no archive held the user, or no table beside the
	// export logs, and in receipts of versions that erased nobody who was in any: their
	// digests stay as they are.
	Archives       int64  `json:"archives,omitempty"`        // that held the user, and are gone
	ArchivedRows   int64  `json:"archived_rows,omitempty"`   // of the user, in them
	ArchivesSHA256 string `json:"archives_sha256,omitempty"` // see ErasureResult
	RestoredRows   int64  `json:"restored_rows,omitempty"`   // in tables beside the export logs
	Digest         string `json:"digest"`                    // SHA-256 of all the above
}

// Seal sets the digest.
func (e *Erasure) Seal() { e.Digest = e.digest() }

// Intact reports whether the digest fits the rest.
func (e *Erasure) Intact() bool { return e.Digest == e.digest() }

func (e *Erasure) digest() string {
	plain := *e
	plain.Digest = ""
	b, err := json.Marshal(plain)
	if err != nil {
		panic(err) // texts, numbers and a time cannot fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// HashUser is the keyed hash of a user: HMAC-SHA-256 in hex.
func HashUser(key []byte, userID string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(userID))
	return hex.EncodeToString(h.Sum(nil))
}

// HashUsers returns the users that each hash stands for: the same user may be there
// in small letters and in capitals.
func HashUsers(key []byte, userIDs []string) map[string][]string {
	of := make(map[string][]string, len(userIDs))
	for _, user := range userIDs {
		hash := HashUser(key, strings.ToLower(user))
		if !slices.Contains(of[hash], user) {
			of[hash] = append(of[hash], user)
		}
	}
	return of
}

// ErasedBy reports whether an archived row is of those that an erasure of its user was
// about, which ended at a time. The same id may be used again: what was both asked for and
// created after that is not. What cannot be read is taken for older.
func (r *ArchivedRow) ErasedBy(at Time) bool {
	for _, text := range []string{r.Timestamp, r.CreatedAt} {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || !t.After(at.Time) {
			return true
		}
	}
	return false
}

// HeldUser refuses to erase a user whom a hold covers, or to say that nothing is left.
func HeldUser(hold int64) error {
	return &Error{
		Kind:    KindRefused,
		Message: fmt.Sprintf("the hold %d covers the user: nothing is erased", hold),
		Hint:    fmt.Sprintf("exportops hold release %d, once it need not hold any longer", hold),
	}
}

// Erased stands where a user's id was in a text that stays.
const Erased = "(erased)"

// TraceKind says where a user is named beside the export logs and the metrics.
type TraceKind string

// The kinds of traces.
const (
	TraceCounter TraceKind = "counter" // an hour's count of the user's exports
	TraceMetric  TraceKind = "metric"  // of an export that never had a row, nor an end
	TraceTold    TraceKind = "told"    // a metric that says the user of another's export
	TraceEntry   TraceKind = "entry"   // of the ledger
	TraceRun     TraceKind = "run"     // the result or the error of one
	TraceWorker  TraceKind = "worker"  // of a run
	TraceExport  TraceKind = "export"  // one of the user's exports in the result of a run
	TraceHelped  TraceKind = "helped"  // likewise, in that of a worker
	TraceFile    TraceKind = "file"    // a file that a reconciliation found, and no row names
	TraceMissing TraceKind = "missing" // an export whose file a reconciliation missed
	TraceHold    TraceKind = "hold"    // a hold that was released
	TraceText    TraceKind = "text"    // an error that clients reported of others' exports
	TraceError   TraceKind = "error"   // an hour's count of such errors
	TraceSilence TraceKind = "silence" // a text of one, or who placed or ended it
	TraceHeld    TraceKind = "held"    // the reason of a hold that stays, or who placed or released it
	TraceRetried TraceKind = "retried" // who had an entry of the ledger tried again

	TraceIncident TraceKind = "incident" // of an alert, which stays
	TraceEvent    TraceKind = "event"    // what happened to one
	TraceNotice   TraceKind = "notice"   // what a channel was told
	TraceLost     TraceKind = "lost"     // why an archive was said to be lost, and by whom
	TraceCall     TraceKind = "call"     // an Idempotency-Key that somebody chose
	TraceBeside   TraceKind = "beside"   // a row of a table beside the export logs
)

// Trace is one place that names a user.
type Trace struct {
	Kind  TraceKind
	Table string // beside the export logs; of TraceBeside alone
	Key   string // what finds it, in the store's words
}

// OfRun reports whether a trace is in the record of a run, which its Key names.
func (k TraceKind) OfRun() bool { return k == TraceRun || k == TraceWorker || k.OfExport() }

// OfExport reports whether a trace names one of the user's exports in the record of a
// run, and perhaps not the user.
func (k TraceKind) OfExport() bool { return k == TraceExport || k == TraceHelped }

// RunsOf returns the runs that traces are in the records of.
func RunsOf(traces []Trace) []string {
	ids := []string{}
	for _, t := range traces {
		if t.Kind.OfRun() {
			ids = append(ids, t.Key)
		}
	}
	return ids
}

// TraceProgress gives the run's result that counts n traces, or metrics, as gone.
type TraceProgress func(n int64) (json.RawMessage, error)

// ErasureStore erases what is left of a user when files, rows and metrics are
// gone.
type ErasureStore interface {
	// Traces reads the places that name a user, or an export that a row or an entry of
	// the ledger says is the user's, in pages, each once: the cursor is "" at first and
	// after the last. Kinds that of is not true for are not looked for; where it is nil,
	// all are. Those that tell whose an export is come after the others. Entries of the ledger that are claimed still
	// are among them. KindConflict says that a table beside the export logs is not as it
	// was made, so that nobody can say whom it names.
	Traces(ctx context.Context, userID string, of func(TraceKind) bool, after Cursor, limit int) ([]Trace, Cursor, error)
	// EraseTraces makes traces name the user no more, and returns how many did:
	// entries of the ledger, records of runs and alerts, errors with their counts, silences,
	// and holds that are active or on another stay without what names the user, metrics of others' exports become theirs, and the
	// others go. A run among them whose holder is dead ends. What is claimed is left as it
	// is, and so are files that are still in storage though no row names them, records
	// of runs that are at work, which would be written again, and metrics and rows that an
	// active hold covers. It asks progress, where there is one, last in
	// the transaction.
	EraseTraces(ctx context.Context, c Checkpoint, userID string, traces []Trace, progress TraceProgress) (int64, error)
	// UserLeft counts what the database holds of a user: rows of the export logs
	// and metrics, whatever their state.
	UserLeft(ctx context.Context, userID string) (int64, error)
	// ErasedAt returns when users were last erased, those who were. Their ids may be
	// in capitals, and are those of the result.
	ErasedAt(ctx context.Context, userIDs []string) (map[string]Time, error)
	// UserHash returns the keyed hash that stands for a user in receipts. The key
	// is made when it is first needed.
	UserHash(ctx context.Context, userID string) (string, error)
	// RecordErasure keeps a receipt, with the progress of the checkpoint. The same
	// receipt is kept once. It is HeldUser while a hold covers the user or everything.
	RecordErasure(ctx context.Context, c Checkpoint, userID string, e Erasure) error
	// Erasures returns a page of receipts, newest first, and the cursor of the
	// next, "" at the end.
	Erasures(ctx context.Context, cursor string, limit int) ([]Erasure, string, error)
	// Scrub makes the storage itself forget what was deleted, as far as that is in
	// the store's hands.
	Scrub(ctx context.Context) error
}

// ErasureResult is what an erasure did: to files, rows and metrics as a cleanup
// of logs, and to what else named the user. It is complete when nothing is left.
type ErasureResult struct {
	LogCleanupResult
	Counters int64    `json:"counters_erased"`
	Entries  int64    `json:"ledger_entries_erased"`
	Records  int64    `json:"records_erased"`
	Archives int64    `json:"archives_replaced"`    // that held rows of the user
	Archived int64    `json:"archived_rows_erased"` // of the user, in them
	Restored int64    `json:"restored_rows_erased"` // of the user, in tables beside the export logs
	Left     int64    `json:"left"`                 // rows, metrics and traces that still name the user
	AtWork   int64    `json:"-"`                    // of those, runs that have not ended, and name the user or may come to
	Strays   int64    `json:"-"`                    // of those, files in storage that no row names
	Receipt  *Erasure `json:"receipt"`              // null unless nothing is left

	// ArchivesSHA256 chains the archives that were replaced: it is the SHA-256 of what
	// it was before, "" at first, the SHA-256 of the old object and that of the new one,
	// "" where there is none, with a line feed after each.
	ArchivesSHA256 string `json:"archives_sha256,omitempty"`
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *ErasureResult) Resume() {
	r.LogCleanupResult.Resume()
	*r = ErasureResult{
		LogCleanupResult: r.LogCleanupResult, Counters: r.Counters, Entries: r.Entries, Records: r.Records, Receipt: r.Receipt,
		Archives: r.Archives, Archived: r.Archived, ArchivesSHA256: r.ArchivesSHA256, Restored: r.Restored,
	}
}

// CountReplaced adds an archive that was replaced, with the SHA-256 of the object that
// took its place, "" for none.
func (r *ErasureResult) CountReplaced(a Archive, by string, rows int64) {
	r.Archives++
	r.Archived += rows
	sum := sha256.Sum256([]byte(r.ArchivesSHA256 + "\n" + a.SHA256 + "\n" + by + "\n"))
	r.ArchivesSHA256 = hex.EncodeToString(sum[:])
}

// Count adds erased traces of one kind.
func (r *ErasureResult) Count(kind TraceKind, n int64) {
	switch kind {
	case TraceCounter:
		r.Counters += n
	case TraceMetric:
		r.LoneMetrics += n
	case TraceEntry:
		r.Entries += n
	case TraceBeside:
		r.Restored += n
	case TraceRun, TraceWorker, TraceExport, TraceHelped, TraceFile, TraceMissing, TraceHold, TraceTold, TraceText, TraceError,
		TraceSilence, TraceCall, TraceHeld, TraceRetried, TraceIncident, TraceEvent, TraceNotice,
		TraceLost:
		r.Records += n
	}
}

// Failure says what is left, "" when nothing is.
func (r *ErasureResult) Failure() string {
	if r.Left == 0 && r.FailedCount == 0 {
		return ""
	}
	s := fmt.Sprintf("%d records still name the user: %d exports in progress, %d whose file may exist, %d held, %d failed, %d not reached, %d others",
		r.Left, r.KeptInProgress, r.KeptFileMayExist, r.KeptHeld, r.FailedCount, r.Remaining,
		max(0, r.Left-r.KeptInProgress-r.KeptFileMayExist-r.KeptHeld-r.FailedCount-r.Remaining-r.AtWork-r.Strays))
	if r.Strays > 0 {
		s += fmt.Sprintf(", %d files that no row names: exportops reconcile ls", r.Strays)
	}
	if r.AtWork > 0 {
		s += fmt.Sprintf(", %d of runs that are at work: try again when they have ended", r.AtWork)
	}
	return s
}
