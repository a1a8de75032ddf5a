package scheduler

import (
	"context"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// watchEvery is how often the active runs are looked at: for those whose
// processes may have died, and those that can be helped with. With a lease of
// 20 s, a dead process is replaced within 30.
const watchEvery = 2 * time.Second

func (s *Scheduler) watchRuns(ctx context.Context) {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		s.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// look takes over runs that a schedule or a cron service started and whose
// process died, and helps with those of other processes. Those that a person
// started have ended with their process: who kills a command does not want it to
// go on.
func (s *Scheduler) look(ctx context.Context) {
	active, err := s.Runs.ActiveRuns(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.Log.Error("runs cannot be looked at", "error", err)
		}
		return
	}
	for _, run := range active {
		switch {
		case ctx.Err() != nil:
			return
		case run.Abandoned(exportops.At(s.Now())):
			s.resume(ctx, run)
		default:
			s.watch.Go(func() {
				if err := s.Jobs.Help(ctx, run); err != nil && ctx.Err() == nil {
					s.Log.Error("a run cannot be helped with", "run_id", run.ID, "error", err)
				}
			})
		}
	}
}

func (s *Scheduler) resume(ctx context.Context, run exportops.Run) {
	r, ok := jobs.Resume(run)
	if !ok {
		if err := s.Runs.EndAbandoned(ctx, run.ID, exportops.At(s.Now())); err != nil && ctx.Err() == nil {
			s.Log.Error("an abandoned run cannot be ended", "run_id", run.ID, "error", err)
		}
		return
	}
	s.Log.Warn("a run was abandoned by its process", "job", run.Job, "run_id", run.ID, "holder", run.Holder)
	s.watch.Go(func() {
		answer, err := s.Jobs.Run(ctx, r)
		if answer.Run.ID == "" && err != nil && ctx.Err() == nil {
			s.Log.Error("an abandoned run cannot be taken over", "run_id", run.ID, "error", err)
			return
		}
		s.report(answer, err)
	})
}
