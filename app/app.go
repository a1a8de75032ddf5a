// Package app puts the program together: it opens what the settings name,
// introduces the parts to each other, and takes them apart in reverse order.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	"github.com/exportops/exportops/scheduler"
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
	Jobs    *jobs.Runner

	Channels  map[string]exportops.Channel // by name
	Audiences []exportops.Audience         // what each wants to hear

	config   config.Config
	engine   scheduler.DB
	events   *eventlog.Log
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
	db, err := openReady(ctx, c, o.Migrate || o.Create, o.Create)
	if err != nil {
		return nil, err
	}
	a.Store, a.engine = db.Database, db.engine
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
	a.Files = files
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
		Events: a.events, Now: func() exportops.Time { return exportops.At(a.now()) }, Retention: c.LogRetention,
	})
	a.Alerts = alerting.New(alerting.Options{
		Store: a.Store, Runs: a.Store, Figures: a.Metrics, Events: a.events, Rules: alerting.DefaultRules(), Now: a.now,
	})
	work := jobs.Options{
		Store: a.Store, Files: a.Files, Locator: Locator(c), Metrics: a.Metrics, Events: a.events, Now: a.now,
		LogRetention: c.LogRetention, Policy: c.Policy, Archives: archives, Alerts: a.Alerts, Database: planName(a.Store, c),
		RestoredFrom: c.RestoredFrom,
	}
	if beats != nil { // not of a type of its own, or none would not be nil
		work.Heartbeats = beats
	}
	a.Jobs = jobs.New(work)
	return a, nil
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
