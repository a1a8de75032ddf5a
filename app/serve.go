package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/scheduler"
)

// The bounds of one request and of a stop. A job may work for
// httpapi.DefaultBudget within its request; a stop ends it after the batch
// that has begun.
const (
	readHeaderWithin = 10 * time.Second
	readWithin       = 60 * time.Second
	writeWithin      = httpapi.DefaultBudget + 30*time.Second
	idleWithin       = 2 * time.Minute
	stopWithin       = 25 * time.Second
	maxHeaderBytes   = 64 << 10
)

// Serve listens on the configured address until ctx ends, and then stops: no
// new requests, the active ones answered within 25 seconds, runs ended after
// the batch they are in. It returns nil after such a stop. Listening is told
// the address once requests are accepted; it may be nil.
func (a *App) Serve(ctx context.Context, dev bool, listening func(net.Addr)) (err error) {
	if err := a.config.CheckServe(dev); err != nil {
		return err
	}
	l, err := listen(ctx, "EXPORTOPS_ADDR", a.config.Addr)
	if err != nil {
		return err
	}
	// Runs end with working, before the requests that wait for them.
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	handler, err := httpapi.New(a.api(working, dev))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := a.server(a.traces.Handler(handler))
	shown, err := a.show(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, shown()) }()
	jobs, err := scheduler.Start(ctx, a.scheduling())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	var watching sync.WaitGroup
	watching.Go(func() { a.watch(working) })
	watching.Go(func() { a.Sender.Run(working) })
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	if listening != nil {
		listening(l.Addr())
	}
	select {
	case err = <-stopped: // it never stops by itself without an error
		err = fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stopWorking()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	// At once: no request is taken while runs end, and none waits for them.
	drained := make(chan error, 1)
	go func() { drained <- shutdown(end, server) }()
	err = errors.Join(err, jobs.Stop(end), <-drained)
	watching.Wait()
	return err
}

func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &exportops.Error{
			Kind: exportops.KindUnavailable, Field: setting, Err: err,
			Message: "cannot listen on " + address, Hint: "stop what uses the address, or choose another",
		}
	}
	return l, nil
}

func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin,
		IdleTimeout: idleWithin, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
}

// show listens where Prometheus is to ask, if anywhere, until the function that it
// returns is called.
func (a *App) show(ctx context.Context) (func() error, error) {
	if a.shown == nil {
		return func() error { return nil }, nil
	}
	l, err := listen(ctx, "EXPORTOPS_METRICS_ADDR", a.config.MetricsAddr)
	if err != nil {
		return nil, err
	}
	a.log.Info("metrics for Prometheus", slog.String("url", fmt.Sprintf("http://%s/metrics", l.Addr())))
	server := a.server(a.shown.Handler())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return func() error {
		err := server.Close() // half a scrape is one that Prometheus throws away
		if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("serve %s: %w", l.Addr(), ended))
		}
		return err
	}, nil
}

// shutdown lets active requests finish, and cuts off those that do not.
func shutdown(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests were still active %s after the stop: %w", stopWithin, err), server.Close())
	}
	return nil
}

// scheduling is what the scheduler works with. With the scheduler off it only
// looks after runs whose processes died.
func (a *App) scheduling() scheduler.Options {
	o := scheduler.Options{DB: a.engine, Runs: a.Store, Jobs: a.Jobs, Now: a.now, Log: a.log}
	if !a.config.Scheduler {
		return o
	}
	o.Schedules = make(map[exportops.Job]scheduler.Schedule, len(a.config.Schedules))
	for job, expression := range a.config.Schedules {
		o.Schedules[job] = scheduler.Schedule{
			Expression: expression, Next: func(t time.Time) time.Time { return config.Next(expression, t) },
		}
	}
	return o
}

func (a *App) api(base context.Context, dev bool) httpapi.Options {
	return httpapi.Options{
		Metrics: a.Metrics, Exports: a.Store, Runs: a.Store, Logs: a.logs(), Erasures: a.Store, Holds: a.Store, Jobs: a.Jobs, Deletions: a.Store, Ready: a.Ready, Locator: Locator(a.config),
		Notifications: a.Store,
		Secrets: httpapi.Secrets{
			Cron: secret(a.config.CronSecret), Ingest: secret(a.config.Ingest),
			Read: secret(a.config.Read), Admin: secret(a.config.Admin),
		},
		Dev: dev, FileRetention: a.config.FileRetention, LogRetention: a.config.LogRetention,
		Policy: a.config.Policy, Reconciled: a.Store, FilesID: a.Files.ID(), Report: a.Store, Archives: a.Store, Keeper: a.keeper(),
		Alerts: a.Store, Watch: a.Alerts, Rules: a.Alerts.Rules,
		Clock: a.now, Version: a.version, Logger: a.log, Base: base, Answered: a.answered,
	}
}

// answered counts a request, and names its trace.
func (a *App) answered(ctx context.Context, method, route string, status int, took time.Duration) {
	if a.shown != nil {
		a.shown.Answered(ctx, method, route, status, took)
	}
	a.traces.Answered(ctx, method, route, status, took)
}

// keeper reads archives back; nil where there is no place for any.
func (a *App) keeper() httpapi.Keeper {
	if a.archives == nil {
		return nil
	}
	return a.archives
}

// logs counts old log rows, under the policy where there is one.
func (a *App) logs() httpapi.Logs {
	if a.config.Policy == nil {
		return a.Store
	}
	return cleanup.Statistics{Store: a.Store, Policy: a.config.Policy, Now: a.now}
}

func secret(r config.Rotated) httpapi.Secret {
	return httpapi.Secret{Current: r.Current.Reveal(), Previous: r.Previous.Reveal()}
}

// Ready reports what keeps the program from working: a database or a storage
// that cannot be used.
func (a *App) Ready(ctx context.Context) error {
	return errors.Join(a.Store.Ready(ctx), a.storage(ctx))
}

// storage reports why the storage of export files cannot be used.
func (a *App) storage(ctx context.Context) error {
	_, err := a.Files.Check(ctx)
	return err
}
