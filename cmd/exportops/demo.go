package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/jobs"
)

type demoCmd struct {
	Exit bool   `name:"exit" help:"stop after the jobs, instead of serving"`
	Dir  string `name:"dir" placeholder:"DIR" help:"keep database, files and log events here, an empty folder or a new one (a temporary one that is deleted)"`
}

// demo is one run of the demonstration: an application that exports, and
// exportops beside it, on a database and a folder of its own. The settings in
// force are not read: it must not touch what they name.
type demo struct {
	env    *env
	exit   bool
	dir    string
	cfg    config.Config
	app    *app.App
	base   string // URL of the server
	crowd  *crowd // who exports
	answer demoAnswer
	// logsCut is when the rows that the log cleanup leaves begin, or earlier.
	logsCut time.Time
}

// demoAnswer is what the demonstration tells a program.
type demoAnswer struct {
	Dir     string                       `json:"dir"`
	Made    demoMade                     `json:"made"`
	Rolls   *exportops.AggregateResult   `json:"metrics_aggregate"`
	Files   *exportops.FileCleanupResult `json:"file_cleanup"`
	Logs    *exportops.LogCleanupResult  `json:"log_cleanup"`
	Month   exportops.Summary            `json:"last_30_days"`
	Proof   []proof                      `json:"proof"`
	Seconds float64                      `json:"seconds"`
}

// Run makes exports, runs the three jobs on them, shows what happened beside
// what SQL counts, and serves until it is interrupted.
func (c *demoCmd) Run(e *env) (err error) {
	began := time.Now()
	d := &demo{env: e, exit: c.Exit, crowd: newCrowd()}
	remove, err := d.makeDir(c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	events, err := os.Create(filepath.Join(d.dir, "events.jsonl"))
	if err != nil {
		return fmt.Errorf("create the file of log events: %w", err)
	}
	defer func() { err = errors.Join(err, events.Close()) }()
	if err := d.configure(); err != nil {
		return err
	}
	d.app, err = app.New(e.ctx, d.cfg, app.Options{
		Events: events, Log: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now: time.Now, Version: programVersion(), Create: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.app.Close()) }()
	return d.serving(func(ctx context.Context) error {
		if err := d.story(ctx); err != nil {
			return err
		}
		d.answer.Seconds = time.Since(began).Seconds()
		if err := e.show(d.answer, d.draw); err != nil {
			return err
		}
		for _, p := range d.answer.Proof {
			if !p.Agrees {
				return errSaid
			}
		}
		if d.exit {
			return nil
		}
		return d.stay(ctx)
	})
}

// makeDir makes the demonstration's folder, and returns what removes it.
func (d *demo) makeDir(given string) (remove func() error, err error) {
	if given == "" {
		d.dir, err = os.MkdirTemp("", "exportops-demo-")
		if err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
		return func() error { return os.RemoveAll(d.dir) }, nil
	}
	if d.dir, err = filepath.Abs(given); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the folder: %w", err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, &usageError{&exportops.Error{
			Kind: exportops.KindInvalid, Field: "--dir", Message: d.dir + " is not empty",
			Hint: "name a folder that is empty or does not exist",
		}}
	}
	return func() error { return nil }, nil
}

func (d *demo) configure() (err error) {
	s := config.Defaults()
	s.CronSecret = config.Secret(exportops.NewID())
	s.Addr = d.env.settings.Addr
	if d.exit {
		s.Addr = "127.0.0.1:0"
	}
	if d.cfg, err = s.Parse(); err != nil {
		return &usageError{err}
	}
	d.cfg.DatabasePath = filepath.Join(d.dir, "exportops.db")
	d.cfg.Storage.Root = filepath.Join(d.dir, "exports")
	d.answer.Dir = d.dir
	return nil
}

// serving runs the server beside fn, and stops it when fn returns.
func (d *demo) serving(fn func(context.Context) error) error {
	ctx, stop := context.WithCancel(d.env.ctx)
	defer stop()
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- d.app.Serve(ctx, true, func(a net.Addr) { listening <- a }) }()
	select {
	case err := <-ended:
		return err
	case a := <-listening:
		d.base = "http://" + a.String()
	}
	err := fn(ctx)
	stop()
	return errors.Join(err, <-ended)
}

// story is what the demonstration shows: exports over 36 days, an hour in
// which too many fail, and the three jobs.
func (d *demo) story(ctx context.Context) error {
	e := d.env
	for _, step := range []struct {
		name   string
		do     func(context.Context) (string, error)
		proofs func() []proof
	}{
		{"exports of the past", d.makeHistory, nil},
		{"exports of this hour", d.makeToday, d.proveMade},
		{"metrics-aggregate", d.job(exportops.MetricsAggregate), d.proveRolls},
		{"file-cleanup", d.job(exportops.FileCleanup), d.proveFiles},
		{"log-cleanup", d.job(exportops.LogCleanup), d.proveLogs},
		{"the last 30 days", d.lookBack, d.proveMonth},
	} {
		began := time.Now()
		wipe := ""
		if e.stderr.terminal() {
			e.stderr.printf("%s …", step.name)
			wipe = "\r\033[K"
		}
		said, err := step.do(ctx)
		if err == nil && step.proofs != nil {
			err = d.prove(ctx, step.proofs())
		}
		e.stderr.printf("%s", wipe)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.stderr.printf("%s: %s (%s)\n", step.name, said, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// job runs one job, as a command would.
func (d *demo) job(name exportops.Job) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		d.logsCut = time.Now().Add(-d.cfg.LogRetention)
		a, err := d.app.Jobs.Run(ctx, jobs.Request{Job: name, Trigger: exportops.ByCommand})
		switch {
		case err != nil:
			return "", err
		case a.Failure != "":
			return "", errors.New(a.Failure)
		}
		switch r := a.Result; {
		case r.Rolls != nil:
			d.answer.Rolls = r.Rolls
			return fmt.Sprintf("%d hours rolled up", r.Rolls.HoursClosed), nil
		case r.Files != nil:
			d.answer.Files = r.Files
			return fmt.Sprintf("%d files deleted, %s freed", r.Files.DeletedCount, byteSize(float64(r.Files.BytesFreed))), nil
		default:
			d.answer.Logs = r.Logs
			return fmt.Sprintf("%d log rows deleted", r.Logs.DeletedCount), nil
		}
	}
}

func (d *demo) lookBack(ctx context.Context) (said string, err error) {
	now := exportops.At(time.Now())
	// The hour that the log cleanup cut through still counts whole, which SQL
	// cannot see any more: it begins with the next.
	start := exportops.At(exportops.At(d.logsCut).Hour().Add(time.Hour))
	d.answer.Month, err = d.app.Metrics.Aggregate(ctx, start, now, exportops.Daily)
	return fmt.Sprintf("%d exports, %s successful", d.answer.Month.TotalExports, percent(d.answer.Month.SuccessRate)), err
}
