package main

import (
	"errors"
	"net"
	"time"

	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/eventlog"
)

type serveCmd struct {
	Dev bool `name:"dev" help:"for this machine alone: allow a short CRON_SECRET, leave /api/v1 open, create what is missing"`
}

// Run serves until it is told to stop. Log events go to the standard output,
// and what the server has to say about itself to the standard error.
func (c *serveCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	if err := cfg.CheckServe(c.Dev); err != nil {
		return &usageError{err}
	}
	log := eventlog.NewLogger(e.stderr, e.stderr.terminal())
	a, err := app.New(e.ctx, cfg, app.Options{
		Events: e.stdout, Log: log, Now: time.Now, Version: programVersion(), Migrate: true, Create: c.Dev,
	})
	if err != nil {
		return err
	}
	err = a.Serve(e.ctx, c.Dev, func(addr net.Addr) {
		log.Info("listening", "url", "http://"+addr.String(), "version", programVersion(), "scheduler", cfg.Scheduler, "dev", c.Dev)
	})
	if err == nil {
		log.Info("stopped")
	}
	return errors.Join(err, a.Close())
}
