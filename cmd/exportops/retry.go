package main

import (
	"time"

	"github.com/exportops/exportops"
)

type deletionsRetryCmd struct {
	IDs         []int64 `arg:"" optional:"" name:"entry" help:"their numbers"`
	Failed      bool    `name:"failed" help:"all that failed"`
	Quarantined bool    `name:"quarantined" help:"all that are quarantined"`
}

// Run makes entries eligible again.
func (c *deletionsRetryCmd) Run(e *env) error {
	var states []exportops.DeletionState
	if c.Failed {
		states = append(states, exportops.DeletionFailed)
	}
	if c.Quarantined {
		states = append(states, exportops.DeletionQuarantined)
	}
	if len(c.IDs) == 0 && len(states) == 0 {
		return &usageError{exportops.Invalid("", "name entries, or say --failed or --quarantined")}
	}
	return e.withStore(func(s exportops.Database) error {
		n, err := exportops.RetryDeletions(e.ctx, s, c.IDs, states, operator(), exportops.At(time.Now()))
		if err != nil {
			return err
		}
		answer := struct {
			Retried int `json:"retried"`
		}{n}
		return e.show(answer, func() { e.stdout.printf("the next run tries %d entries again\n", n) })
	})
}
