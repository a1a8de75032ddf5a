package jobs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/metrics"
)

// Store is what the jobs keep their records in.
type Store interface {
	cleanup.Store
	cleanup.Reader
	exportops.RunStore
	exportops.HoldStore
	exportops.AlertStore
	exportops.GuardStore
}

// Options is what a Runner works with. Every field up to LogRetention is required.
type Options struct {
	Store   Store
	Files   exportops.FileStore
	Locator exportops.Locator
	Metrics *metrics.Service // emits to the same Events
	Events  exportops.Events
	Now     func() time.Time

	LogRetention time.Duration // of log-cleanup; beside a policy its shortest
	// Policy, where set, says when each log row may go.
	Policy *exportops.Policy
	// Archives keeps log rows before they are deleted; nil where that is off.
	Archives cleanup.Archiver

	// RestoredFrom is the time of the backup that the database was restored from,
	// while what is younger is not settled; zero otherwise.
	RestoredFrom exportops.Time

	// Alerts, where set, is asked to look at the figures after each aggregation.
	Alerts interface {
		Evaluate(ctx context.Context) error
	}

	// Heartbeats, where set, are told of the runs that this process holds.
	Heartbeats Heartbeats

	// Database names the database in plans: one is applied where it was made.
	Database string

	Holder string // names this process in its runs; "" for host and process id
}

// Runner runs jobs. It is safe for concurrent use.
type Runner struct {
	Options
	cleaner *cleanup.Cleaner
	helped  sync.Map // by the runs, and their holders, that this process helps or has helped with
}

// New returns a Runner.
func New(o Options) *Runner {
	if o.Holder == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		o.Holder = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	return &Runner{Options: o, cleaner: &cleanup.Cleaner{
		Store: o.Store, Files: o.Files, Locator: o.Locator, Now: o.Now, Lease: exportops.LeaseLength,
		Archives: o.Archives, RestoredFrom: o.RestoredFrom,
	}}
}

// Run runs a job, or joins a run of it that is active in any process, or gives
// again the result that an earlier call with the same Idempotency-Key, or for
// the same slot, had.
//
// The error is for what stopped the whole: KindConflict while a run with other
// parameters is active or when the Idempotency-Key was used otherwise,
// KindRefused when a guard said no, KindUnavailable when database or storage
// could not be used, and exportops.ErrFenced when the run was taken over. The
// answer goes with it as far as it is known. What went wrong with single items
// is no error: Failure says it.
//
// When ctx ends, the batch at hand is finished and Run returns without an error.
// A run that a schedule or a cron service started is released, for another
// process to go on with: Pending is set. Any other ends as partial.
func (r *Runner) Run(ctx context.Context, req Request) (Answer, error) {
	if err := req.Validate(); err != nil {
		return Answer{}, err
	}
	req.UserID = strings.ToLower(req.UserID) // from here on it is as every store has it
	if err := r.checkArchives(req); err != nil {
		return Answer{}, err
	}
	began := r.Now()
	var deadline time.Time
	if req.Budget > 0 {
		deadline = began.Add(req.Budget)
	}
	if req.DryRun {
		return r.rehearse(ctx, req, deadline)
	}
	if err := r.refuseStrange(req.Plan); err != nil {
		return Answer{}, err
	}
	for {
		run, fence, how, err := r.Store.BeginRun(ctx, exportops.RunRequest{
			Job: req.Job, Lane: req.lane(), Params: req.params(r.Policy), Trigger: req.Trigger, Slot: req.Slot,
			Forced: req.Force, IdempotencyKey: req.IdempotencyKey, Resumes: req.Resumes, Holder: r.Holder,
			Now: r.at(), Lease: exportops.LeaseLength,
		})
		switch {
		case err != nil:
			return Answer{}, err
		case how == exportops.Started || how == exportops.TookOver:
			return r.carryOut(ctx, req, run, fence, how, deadline)
		case how == exportops.Replayed:
			return answerOf(run, how)
		}
		run, err = r.await(ctx, run, deadline)
		switch {
		case err != nil:
			return Answer{Run: run, Beginning: how}, err
		case run.Finished():
			return answerOf(run, how)
		case run.Abandoned(r.at()):
			// Its holder is dead: whoever asks next takes it over.
		default:
			return Answer{Run: run, Beginning: how, Pending: true}, nil
		}
	}
}

// lookEvery is how often a call that joined a run looks whether it has ended.
const lookEvery = 200 * time.Millisecond

// await waits until a run of another caller has ended or was abandoned, the
// deadline is past, or ctx is done, and returns the run as it is then.
func (r *Runner) await(ctx context.Context, run exportops.Run, deadline time.Time) (exportops.Run, error) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !run.Finished() && !run.Abandoned(r.at()) && (deadline.IsZero() || r.Now().Before(deadline)) {
		select {
		case <-ctx.Done():
			return run, nil
		case <-look.C:
		}
		next, err := r.Store.Run(ctx, run.ID)
		switch {
		case ctx.Err() != nil:
			return run, nil
		case err != nil:
			return run, err
		}
		run = next
	}
	return run, nil
}

func (r *Runner) at() exportops.Time { return exportops.At(r.Now()) }
