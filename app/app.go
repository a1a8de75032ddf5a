// Package app puts the program together: it opens what the settings name,
// introduces the parts to each other, and takes them apart in reverse order.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/eventlog"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/notify"
	"github.com/exportops/exportops/scheduler"
	"github.com/exportops/exportops/telemetry"
)

// Options says where the program writes, and how it begins.
type Options struct {
	Events  io.Writer        // takes the structured log events
	Log     *slog.Logger     // takes what the program has to say about itself; nil drops it
	Now     func() time.Time // nil means time.Now
	Version string           // shown in the API's description
	// Migrate brings the database's schema up to date.
	Migrate bool
	// Create makes the database and the storage folder where they are missing.
	Create bool
}

// App is the program. Close it.
type App struct {
	Store   exportops.Database
	Files   exportops.FileStore
	Metrics *metrics.Service
	Alerts  *alerting.Service
	Sender  *notify.Sender
	Jobs    scheduler.Jobs

	Channels  map[string]exportops.Channel // by name
	Audiences []exportops.Audience         // what each wants to hear

	config   config.Config
	engine   scheduler.DB
	events   *eventlog.Log
	shown    *telemetry.Metrics // nil where Prometheus has no address to ask
	traces   *telemetry.Traces
	log      *slog.Logger
	now      func() time.Time
	version  string
	archives *archive.Keeper // nil where there is no place for any
	undo     []func() error  // what Close does, last first
}

// New opens everything that the settings name. It is KindUnavailable where the
// database or the storage cannot be used, and the hint says what to do.
func New(ctx context.Context, c config.Config, o Options) (_ *App, err error) {
	a := &App{config: c, log: o.Log, now: o.Now, version: o.Version}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if c.RestoredFrom.After(a.now()) {
		return nil, &exportops.Error{
			Kind: exportops.KindInvalid, Field: "EXPORTOPS_RESTORED_FROM", Message: "it lies ahead of this machine's clock",
			Hint: "give the time when the backup was made",
		}
	}
	if a.Channels, a.Audiences, err = channels(c); err != nil {
		return nil, err
	}
	beats, err := heartbeats(c, a.log)
	if err != nil {
		return nil, err
	}
	if beats != nil {
		a.undo = append(a.undo, beats.Close)
	}
	a.events, err = eventlog.New(o.Events, eventlog.Options{
		UserIDs: eventlog.UserIDs(c.LogUserIDs), Key: []byte(c.LogUserKey.Reveal()), Clock: a.now,
	})
	if err != nil {
		return nil, err
	}
	var events exportops.Events = a.events
	if c.MetricsAddr != "" {
		a.shown = telemetry.NewMetrics(a.events, o.Version)
		events = a.shown
	}
	if a.traces, err = telemetry.StartTraces(ctx, os.LookupEnv, o.Version); err != nil {
		return nil, err
	}
	a.undo = append(a.undo, a.stopTraces)
	db, err := openReady(ctx, c, o.Migrate || o.Create, o.Create)
	if err != nil {
		return nil, err
	}
	a.Store, a.engine = a.traces.Store(db.Database), db.engine
	a.undo = append(a.undo, db.Close)
	if o.Create {
		if err := createFiles(c); err != nil {
			return nil, err
		}
		if err := createArchive(c); err != nil {
			return nil, err
		}
	}
	files, err := OpenFiles(ctx, c)
	if err != nil {
		return nil, err
	}
	a.Files = a.traces.Files(files)
	a.undo = append(a.undo, files.Close)
	var archives cleanup.Archiver // not of a type of its own, or none would not be nil
	if c.Archive != nil {
		objects, err := OpenArchive(ctx, c)
		if err != nil {
			return nil, err
		}
		a.undo = append(a.undo, objects.Close)
		a.archives = keeper(a.Store, objects, o.Version)
		archives = a.archives
	}
	a.Metrics = metrics.New(a.Store, metrics.Options{
		Events: events, Now: func() exportops.Time { return exportops.At(a.now()) }, Retention: c.LogRetention,
	})
	a.Sender = notify.NewSender(notify.SenderOptions{Outbox: a.Store, Channels: a.Channels, Now: a.now, Log: a.log})
	a.Alerts = alerting.New(alerting.Options{
		Store: a.Store, Runs: a.Store, Figures: a.Metrics, Events: events, Rules: AlertRules(c), Now: a.now,
		Database: a.Store.Ready, Storage: a.storage,
		Audiences: a.Audiences, Reminder: c.AlertReminder, Scrub: scrubbed, Wake: a.Sender.Wake,
	})
	work := jobs.Options{
		Store: a.Store, Files: a.Files, Locator: Locator(c), Metrics: a.Metrics, Events: events, Now: a.now,
		LogRetention: c.LogRetention, Policy: c.Policy, Archives: archives, Alerts: a.Alerts, Database: planName(a.Store, c),
		RestoredFrom: c.RestoredFrom,
	}
	if beats != nil { // not of a type of its own, or none would not be nil
		work.Heartbeats = beats
	}
	a.Jobs = a.traces.Runner(jobs.New(work))
	if a.shown != nil {
		a.shown.Watch(telemetry.Sources{Figures: a.Metrics, Alerts: a.Alerts, Store: a.Store, Log: a.log, Now: a.now})
	}
	return a, nil
}

// stopTraces sends the last traces: it holds up the end of a command for as long as
// their receiver does, but no longer than this.
func (a *App) stopTraces() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.traces.Stop(ctx); err != nil {
		a.log.Warn("traces were lost", slog.Any("error", err)) // what they tell of is done all the same
	}
	return nil
}

// planName names the database, and the table of the export logs, in plans.
func planName(s exportops.Database, c config.Config) string {
	name := s.Name()
	if c.Postgres.URL == "" {
		if abs, err := filepath.Abs(name); err == nil { // or it stays relative, and says so
			name = abs
		}
	}
	return name + " " + c.LogsTable
}

// Close takes the program apart. It reports events that could not be written.
func (a *App) Close() error {
	var errs []error
	for _, undo := range slices.Backward(a.undo) {
		errs = append(errs, undo())
	}
	a.undo = nil
	if a.events != nil {
		errs = append(errs, a.events.Err())
	}
	return errors.Join(errs...)
}

// WithMetrics calls fn with metrics that only read: they emit no events.
func WithMetrics(ctx context.Context, c config.Config, fn func(context.Context, *metrics.Service) error) error {
	s, err := OpenStore(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, metrics.New(s, metrics.Options{})), s.Close())
}

// Objectives says how the objectives are kept. It needs the database alone, and
// emits no events.
func Objectives(ctx context.Context, c config.Config) ([]exportops.ObjectiveState, error) {
	s, err := OpenStore(ctx, c)
	if err != nil {
		return nil, err
	}
	watch := alerting.New(alerting.Options{
		Store: s, Runs: s, Figures: metrics.New(s, metrics.Options{}), Events: exportops.NoEvents{}, Now: time.Now,
	})
	states, err := watch.Objectives(ctx)
	return states, errors.Join(err, s.Close())
}
