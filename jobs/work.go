package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// recordWithin bounds how long the end of a run may take to record after the
// process was told to stop.
const recordWithin = 10 * time.Second

// carryOut does the work of a run that is ours, and records how it ended.
func (r *Runner) carryOut(ctx context.Context, req Request, run exportops.Run, fence exportops.Fence,
	how exportops.Beginning, deadline time.Time,
) (Answer, error) {
	answer := Answer{Run: run, Beginning: how}
	r.began(run)
	var err error
	if answer.Result, err = r.doneBefore(ctx, req, run, how); err != nil {
		return r.giveUp(ctx, answer, fence, err)
	}
	end, err := r.performHeld(ctx, req, run, cleanup.Work{
		Fence: fence, Deadline: deadline, Shared: helpable(run), Stop: r.stops(run.ID),
	}, &answer.Result)
	released := ctx.Err() != nil && err == nil && !end.complete && goesOn(run)
	if helpable(run) && !released {
		end, err = r.gather(ctx, fence, &answer.Result, err)
	}
	end.stamp(run, r.at())
	state, failure := end.outcome(err)
	message := failure
	if err != nil {
		message = sentence(err)
	}
	said := message
	if err == nil && !end.complete && !released {
		message = r.withCancel(ctx, run.ID, message)
	}
	progress, encodeErr := json.Marshal(end.value)
	if encodeErr != nil {
		return answer, fmt.Errorf("keep the result of run %s: %w", run.ID, encodeErr)
	}
	record, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	cp := exportops.Checkpoint{Fence: fence, Now: r.at(), Progress: progress}
	if released {
		// A lease that is over releases the run: another process goes on with it.
		answer.Pending = true
		return answer, r.Store.Renew(record, cp)
	}
	cp.Lease = exportops.LeaseLength
	finished, finishErr := r.Store.FinishRun(record, cp, state, message)
	if finishErr != nil {
		// Whoever took it over, or will, says how it ended.
		if !errors.Is(finishErr, exportops.ErrFenced) {
			r.unrecorded(run, answer.Result, finishErr)
		}
		return answer, errors.Join(err, fmt.Errorf("record the end of run %s: %w", run.ID, finishErr))
	}
	answer.Run, answer.Failure = finished, failure
	r.announce(end, said)
	r.ended(finished, answer.Result)
	return answer, err
}

// giveUp ends a run that cannot be gone on with: left active, it would be taken
// over again and again.
func (r *Runner) giveUp(ctx context.Context, answer Answer, fence exportops.Fence, err error) (Answer, error) {
	cp := exportops.Checkpoint{Fence: fence, Now: r.at(), Lease: exportops.LeaseLength}
	if answer.Result.Erased != nil {
		var encodeErr error
		if cp.Progress, encodeErr = json.Marshal(answer.Result.Erased); encodeErr != nil {
			return answer, errors.Join(err, encodeErr)
		}
	}
	run, endErr := r.Store.FinishRun(ctx, cp, exportops.RunFailed, sentence(err))
	if endErr == nil {
		answer.Run = run
		r.ended(run, answer.Result)
	}
	return answer, errors.Join(err, endErr)
}

// performHeld performs a job while its lease is renewed. A panic, which a server
// may survive, ends that, so that another process can take the run over.
func (r *Runner) performHeld(ctx context.Context, req Request, run exportops.Run, work cleanup.Work, result *Result) (ending, error) {
	held, release := r.hold(ctx, work.Fence)
	defer release()
	return r.perform(held, req, run, work, result)
}

// hold renews the lease of a run while nothing else does, because work that
// only reads can take longer than the lease. The context ends when the run is
// no longer ours.
func (r *Runner) hold(ctx context.Context, fence exportops.Fence) (held context.Context, release func()) {
	held, lose := context.WithCancel(ctx)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		beat := time.NewTicker(exportops.LeaseLength / 4)
		defer beat.Stop()
		for {
			select {
			case <-stop:
				return
			case <-beat.C:
			}
			err := r.Store.Renew(context.WithoutCancel(ctx), exportops.Checkpoint{
				Fence: fence, Now: r.at(), Lease: exportops.LeaseLength,
			})
			// Any other failure is met by the work itself, or is gone at the next beat.
			if errors.Is(err, exportops.ErrFenced) {
				lose()
				return
			}
			if r.stops(fence.RunID)(held) {
				lose() // the lease is renewed until the end is recorded
			}
		}
	}()
	return held, func() {
		close(stop)
		<-stopped
		lose()
	}
}

// perform does the work of one job. It returns what the job produced, which is
// also put into result, whether or not it came to an end.
func (r *Runner) perform(ctx context.Context, req Request, run exportops.Run, work cleanup.Work, result *Result) (ending, error) {
	tell := func() {
		if req.OnProgress != nil {
			req.OnProgress(*result)
		}
	}
	work.Progress = func(any) { tell() }
	switch req.Job {
	case exportops.FileCleanup:
		if result.Files == nil {
			result.Files = &exportops.FileCleanupResult{}
		}
		if err := r.guard(ctx, req, run, work, result); err != nil {
			return filesEnding(result.Files), err
		}
		err := r.cleanFiles(ctx, req, work, result.Files)
		return filesEnding(result.Files), err
	case exportops.LogCleanup, exportops.UserLogCleanup:
		if result.Logs == nil {
			result.Logs = &exportops.LogCleanupResult{Errors: []exportops.LogError{}}
		}
		if req.Job == exportops.LogCleanup { // what a user asks for is as much as it is
			if err := r.guard(ctx, req, run, work, result); err != nil {
				return logsEnding(result.Logs), err
			}
		}
		err := r.cleanLogs(ctx, req, work, result.Logs)
		return logsEnding(result.Logs), err
	case exportops.RetentionApply:
		return r.changeExpiries(ctx, req, work, result)
	case exportops.UnknownCleanup:
		return r.cleanUnknown(ctx, req, run, work, result)
	case exportops.Reconcile:
		return r.reconcile(ctx, req, run, work, result)
	}
	if req.Job == exportops.RegisterArchives {
		if result.Known == nil {
			result.Known = &exportops.RegisterResult{}
		}
		return r.register(ctx, work, result.Known)
	}
	if req.Job == exportops.EraseUser {
		if result.Erased == nil {
			result.Erased = &exportops.ErasureResult{}
		}
		if err := r.refuseErasure(ctx, req.UserID); err != nil {
			return erasedEnding(result.Erased), err
		}
		err := r.cleaner.EraseUser(ctx, work, r.logWork(req, work.Deadline), r.finishWork(work.Deadline), result.Erased)
		return erasedEnding(result.Erased), err
	}
	if result.Rolls == nil {
		result.Rolls = &exportops.AggregateResult{}
	}
	err := r.aggregate(ctx, work.Deadline, result.Rolls)
	if err == nil {
		err = r.chain(ctx, work)
	}
	if err == nil {
		err = r.checkAlerts(ctx)
	}
	return rollsEnding(result.Rolls), err
}

// aggregate rolls up what is due and announces the metrics of the last hour.
func (r *Runner) aggregate(ctx context.Context, deadline time.Time, out *exportops.AggregateResult) error {
	rolling, cancel := r.until(ctx, deadline)
	defer cancel()
	now := r.at()
	rolled, err := r.Metrics.Roll(rolling, now)
	out.HoursClosed += rolled.HoursClosed
	out.Observed += rolled.Observed
	out.Complete = rolled.Complete
	if err != nil {
		return fmt.Errorf("roll up: %w", err)
	}
	// The two that follow are brief, and what the caller asked for.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	if out.Metrics, err = r.Metrics.AnnounceAggregate(ctx, exportops.At(now.Add(-time.Hour)), now, exportops.Hourly); err != nil {
		return fmt.Errorf("aggregate: %w", err)
	}
	if out.FailureAlert, err = r.Metrics.AnnounceFailureRate(ctx, lookbackMinutes); err != nil {
		return fmt.Errorf("check the failure rate: %w", err)
	}
	return nil
}

// checkAlerts holds the rules against the figures that an aggregation has made. It is
// the last thing, as the ledger is not to wait for it, and bounded by itself. A run
// that is told to stop leaves it to the next one.
func (r *Runner) checkAlerts(ctx context.Context) error {
	if r.Alerts == nil || ctx.Err() != nil {
		return nil //nolint:nilerr // the run was told to stop
	}
	if err := r.Alerts.Evaluate(ctx); err != nil {
		return unlessDone(ctx, fmt.Errorf("check alerts: %w", err))
	}
	return nil
}

// lookbackMinutes is what the failure check of an aggregation looks back.
const lookbackMinutes = 60

// until bounds a context by a deadline, zero for none.
func (r *Runner) until(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, deadline.Sub(r.Now()))
}

func (r *Runner) selection(req Request) exportops.Selection {
	now := r.at()
	if req.RetentionHours == nil {
		return exportops.Selection{Mode: exportops.ByExpiry, Now: now}
	}
	cut := exportops.At(now.Add(-time.Duration(*req.RetentionHours) * time.Hour))
	return exportops.Selection{Mode: exportops.ByAge, Now: now, Cut: cut}
}

// cleanFiles deletes the files of exports that are due, or those of a plan.
func (r *Runner) cleanFiles(ctx context.Context, req Request, work cleanup.Work, res *exportops.FileCleanupResult) error {
	var err error
	if req.Plan != nil {
		err = r.cleaner.ApplyPlan(ctx, work, req.Plan, res)
	} else {
		err = r.cleaner.CleanFiles(ctx, work, r.selection(req), res)
	}
	if err == nil {
		err = r.chain(ctx, work)
	}
	return err
}

// cleanLogs deletes old log rows, or those of a plan, which says nothing of old
// records of ours.
func (r *Runner) cleanLogs(ctx context.Context, req Request, work cleanup.Work, res *exportops.LogCleanupResult) error {
	var err error
	if req.Plan != nil {
		err = r.cleaner.ApplyLogPlan(ctx, work, r.plannedWork(req.Plan, work.Deadline), req.Plan, res)
	} else {
		w := r.logWork(req, work.Deadline)
		w.NoFiles = res.Guards != nil && res.Guards.Files != nil && res.Guards.Files.None
		err = r.cleaner.CleanLogs(ctx, work, w, r.finishWork(work.Deadline), res)
	}
	if err == nil {
		err = r.chain(ctx, work)
	}
	if err == nil && req.Job == exportops.LogCleanup && req.Plan == nil {
		err = r.forget(ctx, work)
	}
	return err
}

func (r *Runner) logWork(req Request, deadline time.Time) cleanup.LogWork {
	if req.UserID != "" {
		return cleanup.LogWork{UserID: req.UserID, Roll: r.roll(time.Time{}, deadline)}
	}
	retention := r.LogRetention
	if req.RetentionDays != nil {
		retention = time.Duration(*req.RetentionDays) * 24 * time.Hour
	}
	if r.Policy != nil {
		return r.policyWork(req, deadline)
	}
	cut := r.Now().Add(-retention)
	return cleanup.LogWork{Cut: exportops.At(cut), Roll: r.roll(cut, deadline)}
}

// finishWork is how a log cleanup judges rows that dead ones have archived, for those
// who finish that on their way.
func (r *Runner) finishWork(deadline time.Time) cleanup.LogWork {
	return r.logWork(Request{Job: exportops.LogCleanup}, deadline)
}

// policyWork is the log cleanup under a policy: a row goes when its rule lets it
// go, and where the caller named days, only when it is older than those, too.
func (r *Runner) policyWork(req Request, deadline time.Time) cleanup.LogWork {
	now := r.Now()
	least := time.Duration(0)
	if req.RetentionDays != nil {
		least = time.Duration(*req.RetentionDays) * 24 * time.Hour
	}
	cut := now.Add(-max(least, r.Policy.ShortestLogs().OrCentury()))
	w := cleanup.LogWork{Cut: exportops.At(cut), Policy: r.Policy, Now: exportops.At(now), Roll: r.roll(cut, deadline)}
	if longest, finite := r.Policy.LongestLogs().Length(); finite {
		w.LoneCut = exportops.At(now.Add(-max(least, longest)))
	}
	return w
}

// roll counts what a log cleanup is about to delete: all there is before cut,
// or, for a user, all there is.
func (r *Runner) roll(cut, deadline time.Time) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := r.until(ctx, deadline)
		defer cancel()
		now := r.at()
		before := exportops.At(cut)
		if cut.IsZero() {
			before = lastHour // the application's clock may be ahead, by whatever it is
		}
		// What could not be rolled up in time is kept, as remaining.
		_, err := r.Metrics.RollBefore(ctx, before, now)
		return err
	}
}

// lastHour is the last that begins and ends in years of four digits.
var lastHour = exportops.Time{Time: time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC)}

// refuseErasure refuses to erase a user who is under a hold, or whom an archive may
// hold that cannot be looked into.
func (r *Runner) refuseErasure(ctx context.Context, userID string) error {
	for _, f := range []exportops.HoldFilter{{Scope: exportops.HoldUser, Subject: userID, Limit: 1}, {Scope: exportops.HoldAll, Limit: 1}} {
		holds, err := r.Store.Holds(ctx, f)
		if err != nil {
			return err
		}
		if len(holds) > 0 {
			return exportops.HeldUser(holds[0].ID)
		}
	}
	if r.Archives != nil {
		return nil
	}
	return cleanup.RefuseArchives(ctx, r.Store)
}

// sentence says in one line what stopped a run, for its record.
func sentence(err error) string {
	const most = 1000
	s := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ReplaceAll(err.Error(), "\n", "; "))
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return s
}
