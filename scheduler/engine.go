package scheduler

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/riverqueue/river"
)

// pollEvery is how often the engine looks for wakes, and so how late one may
// be. On SQLite each look is a statement on the connection that writes.
const pollEvery = 2 * time.Second

// longestWake is how long a wake may be worked on. One that is older belongs to
// a process that died.
const longestWake = 24 * time.Hour

// engine is River, and whether it was told to stop.
type engine struct {
	*river.Client[*sql.Tx]
	log *engineLog
}

func (s *Scheduler) startEngine(ctx context.Context) (*engine, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &waker{scheduler: s})
	periodic := make([]*river.PeriodicJob, 0, len(s.Schedules))
	for job, schedule := range s.Schedules {
		periodic = append(periodic, river.NewPeriodicJob(nexter(schedule.Next), func() (river.JobArgs, *river.InsertOpts) {
			return wake{Job: job}, nil
		}, &river.PeriodicJobOpts{ID: string(job), RunOnStart: true}))
	}
	e := &engine{log: newEngineLog(s.Log.Handler())}
	var err error
	e.Client, err = river.NewClient(s.DB.driver, &river.Config{
		Schema: s.DB.schema,
		// One worker a job is enough: two never work for the same; see turn.
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: len(s.Schedules)}},
		Workers:           workers,
		PeriodicJobs:      periodic,
		PollOnly:          true,
		FetchPollInterval: pollEvery,
		// A run takes as long as it takes: one that is ended here is released, and
		// taken over. Without an end, wakes of dead processes would stay for good.
		JobTimeout:           longestWake,
		RescueStuckJobsAfter: longestWake + time.Hour,
		ReindexerIndexNames:  s.DB.indexes,
		Logger:               e.log.logger(),
		// The engine tells the time as we do, rather than as SQLite does.
		Test: river.TestConfig{Time: clock(s.Now)},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the job engine: %w", err)
	}
	if err := e.Start(ctx); err != nil {
		return nil, fmt.Errorf("start the job engine: %w", err)
	}
	return e, nil
}

// Stop ends the wakes that are worked on, and returns when they have ended.
func (e *engine) Stop(ctx context.Context) error {
	e.log.stopping.Store(true)
	return e.StopAndCancel(ctx)
}

// nexter is a function that is a river.PeriodicSchedule.
type nexter func(time.Time) time.Time

// Next returns the slot after now.
func (n nexter) Next(now time.Time) time.Time { return n(now) }

// clock is a function that is a rivertype.TimeGenerator.
type clock func() time.Time

// Now returns the time.
func (c clock) Now() time.Time { return c() }

// NowOrNil returns the time, which the engine then takes instead of SQLite's.
func (c clock) NowOrNil() *time.Time {
	now := c()
	return &now
}
