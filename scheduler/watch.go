package scheduler

import (
	"context"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// watchEvery is how often runs are looked at whose processes may have died.
// With a lease of 20 s, such a run is taken over within 30.
const watchEvery = 10 * time.Second

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
// process died. Those that a person started have ended: who kills a command
// does not want it to go on.
func (s *Scheduler) look(ctx context.Context) {
	abandoned, err := s.Runs.AbandonedRuns(ctx, exportops.At(s.Now()))
	if err != nil {
		if ctx.Err() == nil {
			s.Log.Error("runs cannot be looked at", "error", err)
		}
		return
	}
	for _, run := range abandoned {
		if ctx.Err() != nil {
			return
		}
		r, ok := jobs.Resume(run)
		if !ok {
			if err := s.Runs.EndAbandoned(ctx, run.ID, exportops.At(s.Now())); err != nil && ctx.Err() == nil {
				s.Log.Error("an abandoned run cannot be ended", "run_id", run.ID, "error", err)
			}
			continue
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
}
