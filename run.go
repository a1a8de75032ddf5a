package exportops

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Job is the name of a job.
type Job string

// The jobs.
const (
	MetricsAggregate Job = "metrics-aggregate"
	FileCleanup      Job = "file-cleanup"
	LogCleanup       Job = "log-cleanup"
	UserLogCleanup   Job = "user-log-cleanup" // on request only
	EraseUser        Job = "erase-user"       // likewise
)

// Jobs lists all jobs.
var Jobs = []Job{
	MetricsAggregate, FileCleanup, LogCleanup, UserLogCleanup, EraseUser, Reconcile, UnknownCleanup, RetentionApply, RegisterArchives,
}

// ScheduledJobs lists the jobs that have a schedule.
var ScheduledJobs = []Job{MetricsAggregate, FileCleanup, LogCleanup}

// Trigger says what started a run.
type Trigger string

// The triggers.
const (
	BySchedule Trigger = "schedule"
	ByCatchUp  Trigger = "catch_up" // for a slot that was missed
	ByCron     Trigger = "cron"     // a call of a cron endpoint
	ByCommand  Trigger = "cli"
	ByAPI      Trigger = "api"
)

// RunState is the state of a run.
type RunState string

// The states of a run. Skipped and Missed are of slots that never ran: a later
// slot was due as well, or another run satisfied it.
const (
	RunRunning RunState = "running"
	RunDone    RunState = "done"
	RunPartial RunState = "partial" // its time budget ended, or it was stopped, with work left
	RunFailed  RunState = "failed"
	RunRefused RunState = "refused" // a guard said no; nothing was changed
	RunSkipped RunState = "skipped"
	RunMissed  RunState = "missed"
)

// RunStates lists the states of a run.
var RunStates = []RunState{RunRunning, RunDone, RunPartial, RunFailed, RunRefused, RunSkipped, RunMissed}

// Run is one run of a job, or a slot that had none.
type Run struct {
	ID         string          `json:"id"`
	Job        Job             `json:"job"`
	State      RunState        `json:"state"`
	Trigger    Trigger         `json:"trigger"`
	Slot       *Time           `json:"slot"` // the scheduled time it stands for
	Params     json.RawMessage `json:"params"`
	Forced     bool            `json:"forced"`
	Holder     string          `json:"holder"`
	Takeovers  int             `json:"takeovers"` // how often a dead holder was replaced
	LeaseUntil *Time           `json:"lease_until"`
	StartedAt  Time            `json:"started_at"`
	FinishedAt *Time           `json:"finished_at"`
	Result     json.RawMessage `json:"result"` // so far, while it is running
	Error      string          `json:"error,omitempty"`
	// CancelledAt is when somebody asked the run to stop.
	CancelledAt *Time  `json:"cancelled_at,omitempty"`
	CancelledBy string `json:"cancelled_by,omitempty"`

	// Closing says that the holder has come to the end, and that nobody is to help
	// any more.
	Closing bool `json:"-"`
}

// Finished reports whether the run has ended.
func (r Run) Finished() bool { return r.State != RunRunning }

// AlreadyEnded is the error of who wants to stop a run that has ended.
func AlreadyEnded(r Run) error {
	return &Error{Kind: KindConflict, Message: fmt.Sprintf("run %s has ended already: it is %s", r.ID, r.State)}
}

// Abandoned reports whether the run is active and its holder's lease is over:
// whoever asks for the same work takes it over.
func (r Run) Abandoned(now Time) bool {
	return !r.Finished() && (r.LeaseUntil == nil || !r.LeaseUntil.After(now.Time))
}

// GoesOnFor reports whether a request takes over the run once that is Abandoned: it is
// for the same work, and that was not cancelled. Of what was cancelled only the run
// itself is resumed, to be ended.
func (r Run) GoesOnFor(q RunRequest) bool {
	return r.Job == q.Job && string(r.Params) == string(q.Params) && (r.CancelledAt == nil || q.Resumes == r.ID)
}

// Fence identifies one holder of a run, or one worker that helps it. Every
// transaction of a run checks it, so that one whose lease was taken commits
// nothing: ErrFenced.
type Fence struct {
	RunID string
	Token int64 // rises with every holder; a worker's is negative, and falls
}

// Work is the part that one worker had in a run.
type Work struct {
	Result json.RawMessage // so far, or in all; nil before its first checkpoint
	Left   bool            // it is done, or its lease is over
}

// Checkpoint goes with each transaction of a run: it checks the fence, renews
// the lease and keeps the result so far.
type Checkpoint struct {
	Fence
	Now      Time
	Lease    time.Duration
	Progress json.RawMessage // nil leaves it as it is
}

// LeaseLength is how long a run is its holder's without renewal: ten times the
// longest batch.
const LeaseLength = 20 * time.Second

// RunRequest asks for a run.
type RunRequest struct {
	Job            Job
	Lane           string // at most one run is active in a lane; usually the job's name
	Params         json.RawMessage
	Trigger        Trigger
	Slot           *Time
	Forced         bool
	IdempotencyKey string // "" for none
	// Resumes, where set, is the id of a run that was found abandoned: it is
	// taken over, joined or replayed, and nothing else is begun.
	Resumes string
	Holder  string
	Now     Time
	Lease   time.Duration
}

// Beginning says how a RunRequest was met.
type Beginning string

// The beginnings.
const (
	Started  Beginning = "started"
	TookOver Beginning = "took_over" // the holder of the same run was dead; its result goes on
	Joined   Beginning = "joined"    // the same run is active elsewhere: wait for it
	Replayed Beginning = "replayed"  // the same Idempotency-Key succeeded within a day
)

// KeepRecords is how long runs are kept, and entries of the ledger after their
// log row.
const KeepRecords = 400 * 24 * time.Hour

// ReplayFor is how long a success is replayed to its Idempotency-Key.
const ReplayFor = 24 * time.Hour

// RunFilter selects runs. Zero fields do not filter.
type RunFilter struct {
	Job    Job
	State  RunState
	Limit  int // 1 to MaxPage, 0 means DefaultPage
	Cursor string
}

// RunStore keeps the runs.
type RunStore interface {
	// BeginRun starts a run, or joins, takes over or replays one. It is
	// KindConflict while a run with other parameters is active in the lane, or
	// when the Idempotency-Key was used with other parameters within a day. A run
	// that was joined answers its caller's key, too. The fence is set for Started
	// and TookOver only.
	BeginRun(ctx context.Context, r RunRequest) (Run, Fence, Beginning, error)
	// Renew checks the fence, renews the lease and keeps the progress.
	Renew(ctx context.Context, c Checkpoint) error
	// FinishRun ends the run; ErrFenced when it is no longer ours.
	FinishRun(ctx context.Context, c Checkpoint, state RunState, message string) (Run, error)
	// JoinRun lets another process help with an active run, as a worker with
	// claims of its own; ErrFenced where the run has ended, was abandoned or is
	// closing.
	JoinRun(ctx context.Context, runID, holder string, now Time, lease time.Duration) (Fence, error)
	// LeaveRun ends the part of a worker, with its result.
	LeaveRun(ctx context.Context, c Checkpoint) error
	// CloseRun is for the holder at the end of its own work: from now on nobody
	// joins, and workers whose lease is over commit nothing more. It returns what
	// each worker that ever joined has done.
	CloseRun(ctx context.Context, c Checkpoint) ([]Work, error)
	// CancelRun asks an active run to stop before its next batch, which it and its
	// workers look for; asking again changes nothing. It is KindConflict for one that
	// has ended, and KindNotFound.
	CancelRun(ctx context.Context, id, by string, now Time) (Run, error)
	// Run returns one run, or KindNotFound.
	Run(ctx context.Context, id string) (Run, error)
	// Runs returns a page, newest first, and the cursor of the next, "" at the end.
	Runs(ctx context.Context, f RunFilter) ([]Run, string, error)
	// Schedule returns the watermark of a job: no slot up to it is due, because
	// it lies before the job had this cron expression, or slots up to it have a
	// row. A new expression starts at now.
	Schedule(ctx context.Context, j Job, expression string, now Time) (Time, error)
	// EndsSince returns when runs of a job ended, at or after from, oldest first.
	EndsSince(ctx context.Context, j Job, from Time) ([]Time, error)
	// LastRun returns the last run in a lane of a job that ended with a result, the zero
	// Run where there is none.
	LastRun(ctx context.Context, j Job, lane string) (Run, error)
	// RecordSlots records that slots were missed or skipped, each once.
	RecordSlots(ctx context.Context, j Job, slots []Time, state RunState, now Time) error
	// ActiveRuns returns the runs that have not ended, oldest first; some may be
	// abandoned.
	ActiveRuns(ctx context.Context) ([]Run, error)
	// ForgetRuns deletes runs that ended before the given time, at most limit,
	// and returns how many. The last slot of each job stays.
	ForgetRuns(ctx context.Context, c Checkpoint, before Time, limit int) (int64, error)
	// EndAbandoned ends such a run as failed; nothing happens to any other.
	EndAbandoned(ctx context.Context, id string, now Time) error
}

// FileCleanupResult is what a file cleanup did. TotalFound is the sum of all
// outcomes and Remaining.
type FileCleanupResult struct {
	TotalFound    int64 `json:"total_found"`
	DeletedCount  int64 `json:"deleted_count"` // storage confirms: gone because of us
	FailedCount   int64 `json:"failed_count"`
	LogsUpdated   int64 `json:"logs_updated"` // rows turned to expired
	AlreadyAbsent int64 `json:"already_absent"`
	NoFile        int64 `json:"no_file"`
	Changed       int64 `json:"changed"`                // the row or the file was changed meanwhile; left alone
	Shared        int64 `json:"kept_shared"`            // a live export names the same file
	Held          int64 `json:"kept_held"`              // a hold covers it, or another row that names its file
	Implausible   int64 `json:"implausible"`            // expires before it was created
	Quarantined   int64 `json:"quarantined"`            // failed five runs in a row
	InFlight      int64 `json:"in_flight"`              // claimed by another run
	WouldDelete   int64 `json:"would_delete,omitempty"` // by a dry run
	Remaining     int64 `json:"remaining"`
	Recovered     int64 `json:"recovered"` // of these, claims that dead runs had left open
	BytesFreed    int64 `json:"bytes_freed"`

	Errors      []ExportError `json:"errors"` // the first 100
	ErrorsTotal int64         `json:"errors_total"`
	Complete    bool          `json:"complete"`
	DryRun      bool          `json:"dry_run,omitempty"`
	Guards      *Guards       `json:"guards,omitempty"` // what they said before anything was deleted
	Plan        string        `json:"plan,omitempty"`   // SHA-256 of the plan that was written, or applied
	RunID       string        `json:"run_id,omitempty"`
	DurationMS  int64         `json:"duration_ms"`
	Timestamp   Time          `json:"timestamp"`
}

// Resume keeps what is done for good, for the next holder of the run: it meets
// everything else again, and of a plan what was changed, too.
func (r *FileCleanupResult) Resume() {
	if r.Plan != "" {
		r.Changed = 0
	}
	*r = FileCleanupResult{
		DeletedCount: r.DeletedCount, LogsUpdated: r.LogsUpdated, AlreadyAbsent: r.AlreadyAbsent, NoFile: r.NoFile,
		Changed: r.Changed, Recovered: r.Recovered, BytesFreed: r.BytesFreed, Guards: r.Guards,
	}
}

// Dealt returns how many exports the cleanup dealt with for good: what the next
// runs are measured by.
func (r *FileCleanupResult) Dealt() int64 { return r.DeletedCount + r.AlreadyAbsent + r.NoFile }

// Add adds what a worker did for good; its failures are counted otherwise.
func (r *FileCleanupResult) Add(part FileCleanupResult) {
	r.DeletedCount += part.DeletedCount
	r.LogsUpdated += part.LogsUpdated
	r.AlreadyAbsent += part.AlreadyAbsent
	r.NoFile += part.NoFile
	r.Changed += part.Changed
	r.Recovered += part.Recovered
	r.BytesFreed += part.BytesFreed
}

// MaxErrors is how many errors a result lists.
const MaxErrors = 100

// ExportError is what went wrong with one export.
type ExportError struct {
	ExportID string `json:"export_id"`
	Error    string `json:"error"`
}

// LogError is what went wrong with one log row.
type LogError struct {
	LogID string `json:"log_id"`
	Error string `json:"error"`
}

// LogCleanupResult is what a log cleanup did. TotalFound is the sum of the
// deleted, failed, kept and remaining rows.
type LogCleanupResult struct {
	TotalFound        int64 `json:"total_found"`
	DeletedCount      int64 `json:"deleted_count"`
	FailedCount       int64 `json:"failed_count"`
	ArchivedCount     int64 `json:"archived_count"`
	ArchivedSizeBytes int64 `json:"archived_size_bytes"`
	KeptInProgress    int64 `json:"kept_in_progress"`
	KeptFileMayExist  int64 `json:"kept_file_may_exist"`
	KeptHeld          int64 `json:"kept_held"`
	KeptByPolicy      int64 `json:"kept_by_policy,omitempty"` // past the shortest retention, and not past their own
	Changed           int64 `json:"changed,omitempty"`        // not what the plan saw, or not due any more
	WouldDelete       int64 `json:"would_delete,omitempty"`   // by a dry run
	Remaining         int64 `json:"remaining"`
	FilesDeleted      int64 `json:"files_deleted"` // of rows that named a file nobody had confirmed
	FilesAbsent       int64 `json:"files_absent"`
	LoneMetrics       int64 `json:"lone_metrics_deleted"` // of exports that never had a row
	// ArchivesLeft are archives that dead runs began, and that hold rows which the
	// plan does not list: a run without a plan finishes them.
	ArchivesLeft int64 `json:"archives_left,omitempty"`

	Errors      []LogError `json:"errors"` // the first 100
	ErrorsTotal int64      `json:"errors_total"`
	Complete    bool       `json:"complete"`
	DryRun      bool       `json:"dry_run,omitempty"`
	Guards      *Guards    `json:"guards,omitempty"` // what they said before anything was deleted
	Plan        string     `json:"plan,omitempty"`   // SHA-256 of the plan that was written, or applied
	RunID       string     `json:"run_id,omitempty"`
	DurationMS  int64      `json:"duration_ms"`
	Timestamp   Time       `json:"timestamp"`
}

// Resume keeps what is done for good, for the next holder of the run.
func (r *LogCleanupResult) Resume() {
	*r = LogCleanupResult{
		DeletedCount: r.DeletedCount, ArchivedCount: r.ArchivedCount, ArchivedSizeBytes: r.ArchivedSizeBytes,
		FilesDeleted: r.FilesDeleted, FilesAbsent: r.FilesAbsent, LoneMetrics: r.LoneMetrics, Guards: r.Guards,
	}
}

// AggregateResult is what a metrics aggregation found: the sixty minutes before
// it, the failure check, and what it rolled up.
type AggregateResult struct {
	Metrics      Summary      `json:"metrics"`
	FailureAlert *FailureRate `json:"failure_alert"` // null when nothing finished
	HoursClosed  int64        `json:"hours_closed"`
	Observed     int64        `json:"observed"` // exports seen finished without a metric
	Complete     bool         `json:"complete"`
	DryRun       bool         `json:"dry_run,omitempty"`
	RunID        string       `json:"run_id,omitempty"`
	DurationMS   int64        `json:"duration_ms"`
}
