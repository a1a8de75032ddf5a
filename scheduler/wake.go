package scheduler

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/exportops/exportops"
)

// wake is the engine's job: to look whether one of ours is due. It may be
// repeated, and come late, without harm.
type wake struct {
	Job exportops.Job `json:"job"`
}

// Kind names it in the engine's tables.
func (wake) Kind() string { return "exportops_wake" }

type waker struct {
	river.WorkerDefaults[wake]
	scheduler *Scheduler
}

// againAfter is when a slot that could not be begun is tried again.
const againAfter = time.Minute

// Work runs the job until nothing of it is due. How a run ended is in its own
// record; a slot that could not be begun is tried again, until the next one has
// a wake of its own.
func (w *waker) Work(ctx context.Context, j *river.Job[wake]) error {
	s := w.scheduler
	schedule, ok := s.Schedules[j.Args.Job]
	if !ok {
		return nil // of another version of this program, with jobs of its own
	}
	err := s.turns[j.Args.Job].do(func() (bool, error) { return s.due(ctx, j.Args.Job, schedule) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // we are stopping: the wake is for another process
	case err == nil:
		return nil
	}
	if exportops.IsKind(err, exportops.KindConflict) {
		s.Log.Info("a slot waits for another run", "job", j.Args.Job, "error", err)
	} else {
		s.Log.Error("a slot cannot be begun", "job", j.Args.Job, "error", err)
	}
	if next := schedule.Next(j.CreatedAt); !next.IsZero() && !next.After(s.Now()) {
		return nil
	}
	return river.JobSnooze(againAfter)
}
