package scheduler

import (
	"context"
	"fmt"
	"slices"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

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
	if err := s.settle(ctx, job, plan, since, now); err != nil || plan.Run == nil {
		return false, err
	}
	return true, s.run(ctx, job, *plan.Run, plan.CatchUp)
}

// settle records the slots that no run is for. Those before the last one with a
// row count as dealt with, so they are recorded in order: a process that dies
// in between leaves none out.
func (s *Scheduler) settle(ctx context.Context, job exportops.Job, plan exportops.SlotPlan, since, now exportops.Time) error {
	state := make(map[exportops.Time]exportops.RunState, len(plan.Missed)+len(plan.Skipped))
	for _, slot := range plan.Skipped {
		state[slot] = exportops.RunSkipped
	}
	var recent []exportops.Run
	if len(plan.Missed) > 0 {
		var err error
		if recent, _, err = s.Runs.Runs(ctx, exportops.RunFilter{Job: job, Limit: exportops.MaxPage}); err != nil {
			return err
		}
	}
	missed := plan.Unlisted
	for _, slot := range plan.Missed {
		state[slot] = exportops.RunMissed
		// A run that was under way does the slot's work.
		if slices.ContainsFunc(recent, func(r exportops.Run) bool { return wentOnAt(r, slot) }) {
			state[slot] = exportops.RunSkipped
		} else {
			missed++
		}
	}
	if missed > 0 {
		s.Log.Warn("slots were missed", "job", job, "missed", missed, "since", since.String())
	}
	slots := slices.SortedFunc(slices.Values(slices.Concat(plan.Missed, plan.Skipped)),
		func(a, b exportops.Time) int { return a.Compare(b.Time) })
	for len(slots) > 0 {
		n := 1
		for n < len(slots) && state[slots[n]] == state[slots[0]] {
			n++
		}
		if err := s.Runs.RecordSlots(ctx, job, slots[:n], state[slots[0]], now); err != nil {
			return err
		}
		slots = slots[n:]
	}
	return nil
}

// wentOnAt reports whether a run was under way at an instant.
func wentOnAt(r exportops.Run, at exportops.Time) bool {
	if r.State == exportops.RunSkipped || r.State == exportops.RunMissed {
		return false
	}
	return !r.StartedAt.After(at.Time) && (r.FinishedAt == nil || !r.FinishedAt.Before(at.Time))
}

// run sees to it that a run stands for the slot. An error is for one that could
// not be begun, or waited for.
func (s *Scheduler) run(ctx context.Context, job exportops.Job, slot exportops.Time, catchUp bool) error {
	r := jobs.Request{Job: job, Trigger: exportops.BySchedule, Slot: &slot}
	if catchUp {
		r.Trigger = exportops.ByCatchUp
	}
	answer, err := s.Jobs.Run(ctx, r)
	s.report(answer, err)
	switch {
	case answer.Run.ID == "":
		return fmt.Errorf("begin %s for slot %s: %w", job, slot, err)
	case answer.Run.Slot != nil && answer.Run.Slot.Equal(slot.Time):
		return nil
	case !answer.Run.Finished():
		return err // nil when we are stopping; another look at the runs tells the rest
	}
	// A run that was under way did the slot's work.
	return s.Runs.RecordSlots(ctx, job, []exportops.Time{slot}, exportops.RunSkipped, exportops.At(s.Now()))
}

// report says how a run of this process ended, where it did not end well.
func (s *Scheduler) report(a jobs.Answer, err error) {
	if a.Beginning != exportops.Started && a.Beginning != exportops.TookOver {
		return // its own process says it
	}
	switch {
	case err != nil:
		s.Log.Error("a run failed", "job", a.Run.Job, "run_id", a.Run.ID, "error", err)
	case a.Failure != "":
		s.Log.Error("a run failed", "job", a.Run.Job, "run_id", a.Run.ID, "error", a.Failure)
	}
}
