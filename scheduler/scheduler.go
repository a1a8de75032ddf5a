// Package scheduler starts jobs when they are due. It is the only package that
// knows the job engine, River, which wakes one of the processes that share a
// database; what is due, and who runs it, the table of runs decides.
package scheduler

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Jobs runs jobs; *jobs.Runner satisfies it.
type Jobs interface {
	Run(ctx context.Context, r jobs.Request) (jobs.Answer, error)
}

// Schedule is when a job is due.
type Schedule struct {
	Expression string                          // as configured: a new one starts a new watermark
	Next       func(after time.Time) time.Time // the first slot after an instant, in UTC
}

// Options is what a Scheduler works with. Every field is required.
type Options struct {
	DB   *sql.DB // the SQLite pool with the one connection that may write
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
	engine *river.Client[*sql.Tx] // nil without schedules
	stop   context.CancelFunc
	watch  sync.WaitGroup
}

// Migrate creates the tables of the job engine, or brings them up to date.
func Migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	m, err := rivermigrate.New(riversqlite.New(db), &rivermigrate.Config{Logger: quiet(log)})
	if err != nil {
		return fmt.Errorf("migrate the job engine: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate the job engine: %w", err)
	}
	return nil
}

// Start begins to wake and to watch. Stop it.
func Start(ctx context.Context, o Options) (*Scheduler, error) {
	s := &Scheduler{Options: o}
	// What it starts lives until Stop.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if len(o.Schedules) > 0 {
		// The engine has a stop of its own.
		if err := s.startEngine(context.WithoutCancel(ctx)); err != nil {
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
		if err := s.engine.StopAndCancel(ctx); err != nil {
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

func (s *Scheduler) startEngine(ctx context.Context) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &waker{scheduler: s})
	periodic := make([]*river.PeriodicJob, 0, len(s.Schedules))
	for job, schedule := range s.Schedules {
		periodic = append(periodic, river.NewPeriodicJob(nexter(schedule.Next), func() (river.JobArgs, *river.InsertOpts) {
			return wake{Job: job}, nil
		}, &river.PeriodicJobOpts{ID: string(job), RunOnStart: true}))
	}
	engine, err := river.NewClient(riversqlite.New(s.DB), &river.Config{
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2 * len(s.Schedules)}},
		Workers:      workers,
		PeriodicJobs: periodic,
		PollOnly:     true,
		JobTimeout:   -1, // a run takes as long as it takes; its lease decides
		Logger:       quiet(s.Log),
	})
	if err != nil {
		return fmt.Errorf("set up the job engine: %w", err)
	}
	if err := engine.Start(ctx); err != nil {
		return fmt.Errorf("start the job engine: %w", err)
	}
	s.engine = engine
	return nil
}

// nexter is a function that is a river.PeriodicSchedule.
type nexter func(time.Time) time.Time

// Next returns the slot after now.
func (n nexter) Next(now time.Time) time.Time { return n(now) }

// quiet lets through what the engine warns of: it says much about itself.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(&atLeastWarn{log.Handler()}) }

type atLeastWarn struct{ slog.Handler }

func (h *atLeastWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h *atLeastWarn) WithAttrs(a []slog.Attr) slog.Handler {
	return &atLeastWarn{h.Handler.WithAttrs(a)}
}

func (h *atLeastWarn) WithGroup(n string) slog.Handler { return &atLeastWarn{h.Handler.WithGroup(n)} }
