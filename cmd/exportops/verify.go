package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

type deletionsVerifyCmd struct {
	Days int `name:"days" placeholder:"N" help:"look at the last N days alone"`
}

// Run verifies the chain of the ledger, and exits 1 where it is broken.
func (c *deletionsVerifyCmd) Run(e *env) error {
	if c.Days < 0 {
		return &usageError{exportops.Invalid("--days", "%d is below 0", c.Days)}
	}
	return e.withStore(func(s exportops.Database) error {
		report, err := exportops.VerifyChain(e.ctx, s, c.Days, exportops.At(time.Now()))
		if err != nil {
			return err
		}
		if err := e.show(report, func() { e.drawChain(report) }); err != nil {
			return err
		}
		if len(report.Breaks) > 0 {
			return errSaid
		}
		return nil
	})
}

func (e *env) drawChain(r exportops.ChainReport) {
	e.table("ledger", nil, [][]string{
		{"days", strconv.Itoa(r.Days)},
		{"links", number(r.Links)},
		{"of erased entries", number(r.Erased)},
		{"entries without a link yet", number(r.Unchained)},
		{"ends with", strings.TrimSpace(r.HeadDay + " " + r.Head)},
	})
	if len(r.Breaks) == 0 {
		e.stdout.printf("\nevery entry is what it was when it was linked, and none is missing\n")
		return
	}
	rows := make([][]string, len(r.Breaks))
	for i, b := range r.Breaks {
		entry := "–"
		if b.Entry != 0 {
			entry = number(b.Entry)
		}
		rows[i] = []string{b.Day, b.Kind, entry, b.What}
	}
	e.table("broken: the first place of each day", strings.Split("day,how,entry,what", ","), rows)
}
