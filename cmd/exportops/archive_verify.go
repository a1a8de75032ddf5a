package main

import (
	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/archive"
)

type archiveVerifyCmd struct {
	Sample int `name:"sample" placeholder:"N" help:"so many of them, chosen at random, instead of all"`
}

// Run reads archives back, and fails where one is not as it was written.
func (c *archiveVerifyCmd) Run(e *env) error {
	if c.Sample < 0 {
		return &usageError{exportops.Invalid("--sample", "%d is below 1", c.Sample)}
	}
	return e.withArchives(func(k *archive.Keeper) error {
		found, err := k.Audit(e.ctx, c.Sample)
		if err != nil {
			return err
		}
		if err := e.show(found, func() { e.drawAudit(found) }); err != nil {
			return err
		}
		if len(found.Faults) > 0 {
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
			rows[i] = []string{f.Key, f.Fault}
		}
		e.table("not as written", []string{"archive", "what is wrong"}, rows)
	}
	if len(a.Unrecorded) > 0 {
		rows := make([][]string, len(a.Unrecorded))
		for i, key := range a.Unrecorded {
			rows[i] = []string{key}
		}
		e.table("objects without a record", nil, rows)
	}
}
