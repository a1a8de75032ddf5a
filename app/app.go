// Package app puts the program together: it opens what the settings name,
// introduces the parts to each other, and takes them apart in reverse order.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/eventlog"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/metrics"
	"github.com/exportops/exportops/sqlite"
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
	Store   *sqlite.Store
	Files   *disk.Store
	Metrics *metrics.Service
	Jobs    *jobs.Runner

	config  config.Config
	events  *eventlog.Log
	log     *slog.Logger
	now     func() time.Time
	version string
	undo    []func() error // what Close does, last first
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
	a.events, err = eventlog.New(o.Events, eventlog.Options{
		UserIDs: eventlog.UserIDs(c.LogUserIDs), Key: []byte(c.LogUserKey.Reveal()), Clock: a.now,
	})
	if err != nil {
		return nil, err
	}
	if a.Store, err = openStore(ctx, c, o.Migrate || o.Create, o.Create); err != nil {
		return nil, err
	}
	a.undo = append(a.undo, a.Store.Close)
	if o.Create {
		if err := os.MkdirAll(c.Storage.Root, 0o750); err != nil {
			return nil, fmt.Errorf("create the storage folder: %w", err)
		}
	}
	if a.Files, err = disk.Open(c.Storage.Root); err != nil {
		return nil, err
	}
	a.undo = append(a.undo, a.Files.Close)
	a.Metrics = metrics.New(a.Store, metrics.Options{
		Events: a.events, Now: func() exportops.Time { return exportops.At(a.now()) }, Retention: c.LogRetention,
	})
	a.Jobs = jobs.New(jobs.Options{
		Store: a.Store, Files: a.Files, Locator: Locator(c), Metrics: a.Metrics, Events: a.events, Now: a.now,
		LogRetention: c.LogRetention, ArchiveConfigured: c.ArchiveConfigured,
	})
	return a, nil
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

// Locator returns the rules by which rows name files.
func Locator(c config.Config) exportops.Locator {
	return exportops.Locator{
		Bucket: c.Storage.Bucket, Prefix: c.Storage.Prefix, KeyPrefix: c.KeyPrefix, Root: c.Storage.Root,
	}
}

// WithMetrics calls fn with metrics that only read: they emit no events.
func WithMetrics(ctx context.Context, c config.Config, fn func(context.Context, *metrics.Service) error) error {
	s, err := OpenStore(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, metrics.New(s, metrics.Options{})), s.Close())
}
