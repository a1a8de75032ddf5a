package main

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// ledgerWithin and ledgerDays bound how much of the ledger the doctor verifies.
const (
	ledgerWithin = 10 * time.Second
	ledgerDays   = 7
)

// ledger verifies the last days of the deletion ledger, as far as it comes in a
// few seconds.
func (d *doctor) ledger(store exportops.Database) {
	const check = "ledger"
	ctx, cancel := context.WithTimeout(d.env.ctx, ledgerWithin)
	defer cancel()
	r, err := exportops.VerifyChain(ctx, store, ledgerDays, exportops.At(d.now))
	switch {
	case err != nil && ctx.Err() != nil && d.env.ctx.Err() == nil:
		d.say(check, note, "verify all of it with: exportops deletions verify",
			"%d entries were verified in %s; there are more", r.Links, ledgerWithin)
	case err != nil:
		d.wrong(check, err)
	case r.Days == 0:
		d.say(check, fine, "", "no deletion has been linked yet")
	case len(r.Breaks) == 0:
		d.say(check, fine, "", "the %d deletions of its last %d days are what they were when they were recorded", r.Links, r.Days)
	}
	for _, b := range r.Breaks {
		d.say(check, wrong, "somebody changed the ledger behind exportops: see exportops deletions verify", "%s: %s", b.Day, b.What)
	}
}
