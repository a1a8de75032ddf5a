// Package scheduler starts jobs when they are due. It is the only package that
// knows the job engine, River, which wakes one of the processes that share a
// database; what is due, and who runs it, the table of runs decides.
package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Jobs runs jobs; *jobs.Runner satisfies it.
type Jobs interface {
	Run(ctx context.Context, r jobs.Request) (jobs.Answer, error)
	Help(ctx context.Context, run exportops.Run) error
}

// Schedule is when a job is due.
type Schedule struct {
	Expression string                          // as configured: a new one starts a new watermark
	Next       func(after time.Time) time.Time // the first slot after an instant, in UTC
}

// Options is what a Scheduler works with. Every field is required.
type Options struct {
	DB   DB
	Runs exportops.RunStore
	Jobs Jobs
	// Schedules are those of the jobs; without any, only runs whose processes
	// died are looked after.
	Schedules map[exportops.Job]Schedule
	Now       func() time.Time
	Log       *slog.Logger
}

// Scheduler starts jobs until it is stopped.
type Scheduler struct {
	Options
	turns  map[exportops.Job]*turn
	engine *engine // nil without schedules
	stop   context.CancelFunc
	watch  sync.WaitGroup
}

// Start begins to wake and to watch. Stop it.
func Start(ctx context.Context, o Options) (*Scheduler, error) {
	s := &Scheduler{Options: o, turns: make(map[exportops.Job]*turn, len(o.Schedules))}
	for job, schedule := range o.Schedules {
		s.turns[job] = &turn{}
		// A new schedule counts from now on, not from when it is first looked at:
		// a slot may lie between.
		if _, err := o.Runs.Schedule(ctx, job, schedule.Expression, exportops.At(o.Now())); err != nil {
			return nil, fmt.Errorf("start the schedule of %s: %w", job, err)
		}
	}
	// What it starts lives until Stop.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if len(o.Schedules) > 0 {
		var err error
		// The engine has a stop of its own.
		if s.engine, err = s.startEngine(context.WithoutCancel(ctx)); err != nil {
			s.stop()
			return nil, err
		}
	}
	s.watch.Go(func() { s.watchRuns(ctx) })
	return s, nil
}

// Stop ends the runs of this process after the batch they are in, and returns
// when they have ended, or with an error when ctx has.
func (s *Scheduler) Stop(ctx context.Context) error {
	s.stop()
	if s.engine != nil {
		if err := s.engine.Stop(ctx); err != nil {
			return fmt.Errorf("stop the job engine: %w", err)
		}
	}
	ended := make(chan struct{})
	go func() { s.watch.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the scheduler: %w", ctx.Err())
	}
}
