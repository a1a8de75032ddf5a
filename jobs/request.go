// Package jobs runs the jobs: it takes a request from a schedule, a cron call,
// a command or the API, sees to it that at most one such run is active across
// all processes, and hands the work to metrics and cleanup.
package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// Request asks for one run of a job.
type Request struct {
	Job     exportops.Job
	Trigger exportops.Trigger
	Slot    *exportops.Time // the scheduled time this run stands for

	RetentionHours *int   // FileCleanup: by age instead of by expiry; at least 1
	RetentionDays  *int   // LogCleanup: instead of the configured retention; at least 1
	UserID         string // UserLogCleanup and EraseUser

	// Plan, where set, is what the job applies: what it lists alone. Its Job is the
	// request's.
	Plan *cleanup.Plan
	// PlanOut takes the plan of a dry run of a job that can apply one.
	PlanOut io.Writer

	StuckAfter time.Duration // Reconcile: how long an export may be in progress; 0 for the default
	Rate       int           // Reconcile: files walked through in a second; 0 for the default

	DryRun bool // report what would be done; changes nothing, records no run
	Force  bool // override guards; recorded

	// Budget ends the work after this long, with Complete false; 0 is no end.
	// It also bounds how long a request that joined a run waits for it.
	Budget time.Duration
	// IdempotencyKey, where set, replays the result of an earlier success with
	// the same key.
	IdempotencyKey string
	// Resumes, where set, is the abandoned run that this request takes over. It
	// begins no other.
	Resumes string
	// OnProgress, where set, is told the result so far after every batch. It is
	// called from the run and must be quick.
	OnProgress func(Result)
}

// Result is what a job produced: one of the fields is set, by the job.
type Result struct {
	Files   *exportops.FileCleanupResult
	Logs    *exportops.LogCleanupResult
	Rolls   *exportops.AggregateResult
	Erased  *exportops.ErasureResult
	Recon   *exportops.ReconcileResult
	Unknown *exportops.UnknownCleanupResult
	Expiry  *exportops.ExpiryResult
	Known   *exportops.RegisterResult
}

// Answer is how a request ended.
type Answer struct {
	Run       exportops.Run // zero for a dry run
	Beginning exportops.Beginning
	Result    Result
	// Pending is set when the run goes on elsewhere: the request joined it and its
	// budget ended first, or this process was told to stop. Run names it, and
	// there is no result yet.
	Pending bool
	// Failure is the one sentence that says what the run could not do, with the
	// whole Result beside it; "" when it did everything it should.
	Failure string
}

// params is what makes two requests the same work.
type params struct {
	RetentionHours *int   `json:"retention_hours,omitempty"`
	RetentionDays  *int   `json:"retention_days,omitempty"`
	User           string `json:"user,omitempty"`   // a digest: runs outlive users
	Plan           string `json:"plan,omitempty"`   // its SHA-256
	Policy         string `json:"policy,omitempty"` // its hash, where it has a say
	StuckAfter     string `json:"stuck_after,omitempty"`
}

func (r Request) params(policy *exportops.Policy) json.RawMessage {
	p := params{RetentionHours: r.RetentionHours, RetentionDays: r.RetentionDays}
	if r.Job == exportops.LogCleanup || r.Job == exportops.RetentionApply {
		p.Policy = policy.Hash()
	}
	if r.UserID != "" {
		p.User = digest(r.UserID)
	}
	if r.Plan != nil {
		p.Plan = r.Plan.SHA256
	}
	if r.StuckAfter > 0 {
		p.StuckAfter = r.StuckAfter.String()
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // integers and a string cannot fail
	}
	return b
}

// lane names what at most one run may be active in. Users' own cleanups do not
// wait for each other.
func (r Request) lane() string {
	if r.UserID != "" {
		return string(r.Job) + ":" + digest(r.UserID)
	}
	if r.Job == exportops.UnknownCleanup { // what one records the other goes by
		return string(exportops.Reconcile)
	}
	return string(r.Job)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte("exportops run " + s))
	return hex.EncodeToString(sum[:12])
}

// Validate reports everything that is wrong with the request.
func (r Request) Validate() error {
	switch {
	case r.RetentionHours != nil && *r.RetentionHours < 1:
		return exportops.Invalid("retention_hours", "%d is below 1", *r.RetentionHours)
	case r.RetentionHours != nil && *r.RetentionHours > maxRetentionHours:
		return exportops.Invalid("retention_hours", "%d is more than %d", *r.RetentionHours, maxRetentionHours)
	case r.RetentionDays != nil && *r.RetentionDays < 1:
		return exportops.Invalid("retention_days", "%d is below 1", *r.RetentionDays)
	case r.RetentionDays != nil && *r.RetentionDays > maxRetentionDays:
		return exportops.Invalid("retention_days", "%d is more than %d", *r.RetentionDays, maxRetentionDays)
	case r.RetentionHours != nil && r.Job != exportops.FileCleanup:
		return exportops.Invalid("retention_hours", "%s does not take it", r.Job)
	}
	if err := r.validatePlan(); err != nil {
		return err
	}
	switch {
	case r.RetentionDays != nil && r.Job != exportops.LogCleanup:
		return exportops.Invalid("retention_days", "%s does not take it", r.Job)
	case r.StuckAfter != 0 && (r.StuckAfter < minStuckAfter || r.Job != exportops.Reconcile):
		return exportops.Invalid("stuck_after", "it goes with reconcile, and is at least %s", minStuckAfter)
	case r.Rate != 0 && (r.Rate < 0 || r.Job != exportops.Reconcile):
		return exportops.Invalid("limit_rate", "it goes with reconcile, and is above 0")
	}
	switch r.Job {
	case exportops.MetricsAggregate, exportops.FileCleanup, exportops.LogCleanup, exportops.Reconcile,
		exportops.UnknownCleanup, exportops.RetentionApply, exportops.RegisterArchives:
		return nil
	case exportops.UserLogCleanup, exportops.EraseUser:
		_, err := exportops.ParseID("user_id", r.UserID)
		return err
	}
	return exportops.Invalid("job", "%q is not one of metrics-aggregate, file-cleanup, log-cleanup, reconcile", string(r.Job))
}

// planned lists the jobs that can apply a plan.
func planned(j exportops.Job) bool {
	return j == exportops.FileCleanup || j == exportops.LogCleanup || needsPlan(j)
}

// needsPlan lists the jobs that do nothing without one.
func needsPlan(j exportops.Job) bool {
	return j == exportops.UnknownCleanup || j == exportops.RetentionApply
}

func (r Request) validatePlan() error {
	switch {
	case r.Plan != nil && !planned(r.Job):
		return exportops.Invalid("plan", "%s applies none", r.Job)
	case r.Plan != nil && (r.RetentionHours != nil || r.RetentionDays != nil || r.DryRun):
		return exportops.Invalid("plan", "it says itself what is done, and is no dry run")
	case r.Plan != nil && r.Plan.Job != r.Job:
		return &exportops.Error{
			Kind: exportops.KindRefused, Field: "plan", Message: fmt.Sprintf("it is one of %s, and this is %s", r.Plan.Job, r.Job),
		}
	case r.PlanOut != nil && (!planned(r.Job) || !r.DryRun):
		return exportops.Invalid("plan", "a dry run makes one, of a job that can apply it")
	case r.Plan == nil && needsPlan(r.Job) && !r.DryRun:
		return &exportops.Error{
			Kind: exportops.KindInvalid, Field: "plan", Message: fmt.Sprintf("%s does nothing without one", r.Job),
			Hint: "make one with --plan-out FILE, look at it, and apply it with --plan FILE",
		}
	}
	return nil
}

// goesOn reports whether a run that its process left goes on in another.
func goesOn(run exportops.Run) bool {
	switch run.Trigger {
	case exportops.BySchedule, exportops.ByCatchUp, exportops.ByCron:
		return run.Job != exportops.UserLogCleanup && run.Job != exportops.EraseUser
	}
	return false
}

// A century is beyond every promise, and keeps dates within four digits.
const (
	maxRetentionDays  = 36500
	maxRetentionHours = 24 * maxRetentionDays
)

// Resume returns the request that takes an abandoned run over. It is false for
// one that is not to be taken over unasked: a person started it, or what it was
// about cannot be told from its record.
func Resume(run exportops.Run) (Request, bool) {
	var p params
	if err := json.Unmarshal(run.Params, &p); err != nil || !goesOn(run) {
		return Request{}, false
	}
	return Request{
		Job: run.Job, Trigger: run.Trigger, Slot: run.Slot, Force: run.Forced, Resumes: run.ID,
		RetentionHours: p.RetentionHours, RetentionDays: p.RetentionDays,
	}, true
}
