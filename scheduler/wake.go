package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// wake is the engine's job: to look whether one of ours is due. It may be
// repeated, and come late, without harm.
type wake struct {
	Job exportops.Job `json:"job"`
}

// Kind names it in the engine's tables.
func (wake) Kind() string { return "exportops_wake" }

// InsertOpts keeps trying for an hour: another run may be in the way.
func (wake) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 60} }

type waker struct {
	river.WorkerDefaults[wake]
	scheduler *Scheduler
}

// NextRetry implements river.Worker.
func (w *waker) NextRetry(*river.Job[wake]) time.Time { return time.Now().Add(time.Minute) }

// Work runs the job until nothing of it is due. An error is for a slot that
// could not be begun, and is tried again; how a run ended is in its own record.
func (w *waker) Work(ctx context.Context, j *river.Job[wake]) error {
	schedule, ok := w.scheduler.Schedules[j.Args.Job]
	if !ok {
		return nil // of another version of this program, with jobs of its own
	}
	for {
		again, err := w.scheduler.due(ctx, j.Args.Job, schedule)
		if err != nil || !again || ctx.Err() != nil {
			return err
		}
	}
}

// due deals with the slots of a job that are due, and reports whether it ran
// one: more may be due by then.
func (s *Scheduler) due(ctx context.Context, job exportops.Job, schedule Schedule) (ran bool, err error) {
	now := exportops.At(s.Now())
	since, err := s.Runs.Schedule(ctx, job, schedule.Expression, now)
	if err != nil {
		return false, err
	}
	ends, err := s.Runs.EndsSince(ctx, job, since)
	if err != nil {
		return false, err
	}
	plan := exportops.PlanSlots(schedule.Next, since, now, ends)
	if n := len(plan.Missed) + plan.Unlisted; n > 0 {
		s.Log.Warn("slots were missed", "job", job, "missed", n, "since", since.String())
	}
	if err := s.Runs.RecordSlots(ctx, job, plan.Missed, exportops.RunMissed, now); err != nil {
		return false, err
	}
	if err := s.Runs.RecordSlots(ctx, job, plan.Skipped, exportops.RunSkipped, now); err != nil {
		return false, err
	}
	if plan.Run == nil {
		return false, nil
	}
	return true, s.run(ctx, job, *plan.Run, plan.CatchUp)
}

func (s *Scheduler) run(ctx context.Context, job exportops.Job, slot exportops.Time, catchUp bool) error {
	r := jobs.Request{Job: job, Trigger: exportops.BySchedule, Slot: &slot}
	if catchUp {
		r.Trigger = exportops.ByCatchUp
	}
	answer, err := s.Jobs.Run(ctx, r)
	if answer.Run.ID == "" {
		return fmt.Errorf("begin %s for slot %s: %w", job, slot, err)
	}
	s.report(answer, err)
	if answer.Pending {
		return nil // we are stopping; another look at the runs tells the rest
	}
	if mine := answer.Run.Slot; mine == nil || !mine.Equal(slot.Time) {
		// A run that was under way did the slot's work.
		return s.Runs.RecordSlots(ctx, job, []exportops.Time{slot}, exportops.RunSkipped, exportops.At(s.Now()))
	}
	return nil
}

// report says how a run of this process ended, where it did not end well.
func (s *Scheduler) report(a jobs.Answer, err error) {
	switch {
	case err != nil:
		s.Log.Error("a run failed", "job", a.Run.Job, "run_id", a.Run.ID, "error", err)
	case a.Failure != "":
		s.Log.Error("a run failed", "job", a.Run.Job, "run_id", a.Run.ID, "error", a.Failure)
	}
}
