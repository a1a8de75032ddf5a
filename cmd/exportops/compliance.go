package main

import (
	"errors"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type exportsReportCmd struct {
	CSV  bool   `name:"csv" help:"as CSV, which is the one form there is so far"`
	From string `name:"from" placeholder:"TIME" help:"asked for at this instant or later"`
	To   string `name:"to" placeholder:"TIME" help:"asked for before this instant"`
}

// Run writes the compliance report. One that broke off ends with an error, and
// exit status 1: it is not whole.
func (c *exportsReportCmd) Run(e *env) error {
	if !c.CSV {
		return &usageError{exportops.Invalid("--csv", "missing: the report is written as CSV alone")}
	}
	terms := exportops.ReportTerms{Now: exportops.At(time.Now())}
	if err := between(c.From, c.To, &terms.From, &terms.To); err != nil {
		return &usageError{err}
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	s, err := app.OpenStore(e.ctx, cfg)
	if err != nil {
		return err
	}
	terms.LogRetention, terms.Policy = cfg.LogRetention, cfg.Policy
	_, err = exportops.WriteReport(e.ctx, e.stdout, s, terms)
	return errors.Join(err, s.Close())
}
