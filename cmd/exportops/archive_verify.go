package main

import (
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/archive"
)

type archiveVerifyCmd struct {
	Sample int `name:"sample" placeholder:"N" help:"so many of them, chosen at random, instead of all"`
}

// Help says more of it.
func (archiveVerifyCmd) Help() string {
	return `The deletion ledger is verified with them, as deletions verify does: an archive is the
proof of the rows that are gone, and the ledger that of their files. What is found is
kept with each archive until a later verification finds it right: the alert rule
archive-faults goes by it, and a sample always takes in those with a fault.`
}

// verified is what a look at the archives and the ledger found.
type verified struct {
	archive.Audit
	Ledger exportops.ChainReport `json:"ledger"`
}

// Run reads archives back and verifies the ledger, and fails where anything is not as
// it was written.
func (c *archiveVerifyCmd) Run(e *env) error {
	if c.Sample < 0 {
		return &usageError{exportops.Invalid("--sample", "%d is below 1", c.Sample)}
	}
	return e.withArchives(func(k *archive.Keeper) error {
		var found verified
		var err error
		if found.Audit, err = k.Audit(e.ctx, c.Sample); err != nil {
			return err
		}
		err = e.withStore(func(s exportops.Database) error {
			found.Ledger, err = exportops.VerifyChain(e.ctx, s, 0, exportops.At(time.Now()))
			return err
		})
		if err != nil {
			return err
		}
		if err := e.show(found, func() { e.drawAudit(found.Audit); e.drawChain(found.Ledger) }); err != nil {
			return err
		}
		if len(found.Faults)+len(found.Ledger.Breaks) > 0 {
			return errSaid
		}
		return nil
	})
}

// withArchives opens the database and the storage of archives, calls fn and closes
// them.
func (e *env) withArchives(fn func(*archive.Keeper) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	return app.WithArchives(e.ctx, cfg, fn)
}

func (e *env) drawAudit(a archive.Audit) {
	e.table("archives", nil, [][]string{
		{"there are", number(a.Archives)},
		{"read back", number(a.Checked)},
		{"as written", number(a.Checked - int64(len(a.Faults)))},
		{"their rows", number(a.Rows)},
		{"their size", byteSize(float64(a.Bytes))},
		{"objects without a record", number(a.UnrecordedTotal)},
	})
	if len(a.Faults) > 0 {
		rows := make([][]string, len(a.Faults))
		for i, f := range a.Faults {
			rows[i] = []string{number(f.ID), f.Key, f.Fault}
		}
		e.table("not as written", []string{"id", "archive", "what is wrong"}, rows)
		e.stdout.printf("put back what is missing, from a backup or an earlier version; what is gone for good: exportops archive lost\n")
	}
	if len(a.Unrecorded) > 0 {
		rows := make([][]string, len(a.Unrecorded))
		for i, key := range a.Unrecorded {
			rows[i] = []string{key}
		}
		e.table("objects without a record", nil, rows)
	}
}
