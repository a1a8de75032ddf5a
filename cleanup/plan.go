package cleanup

import (
	"github.com/exportops/exportops"
)

// The words that say why a candidate is passed over or postponed.
const (
	becauseNotDue      = ""            // it is no candidate: not counted at all
	becauseImplausible = "implausible" // it expires before it was created
	becauseQuarantined = "quarantined" // it failed too many runs in a row
	becauseInFlight    = "in_flight"   // another run has claimed it
	becauseHelped      = "helped"      // another process that works for this run has claimed it
	becauseShared      = "shared"      // another row names the same file
	becauseChanged     = "changed"     // it was changed while we looked
	becauseHeld        = "held"        // a hold covers it, or another row that names its file
	becauseLiteral     = "literal"     // its key can be read in two ways
	becauseAlone       = "alone"       // it may be what kills the process
	becauseYounger     = "younger"     // than the backup that the database was restored from
	becauseFailed      = "failed"      // it failed in this very run, under a holder that died
)

// planner decides about candidates. A dry run and a real one share it.
type planner struct {
	sel     exportops.Selection
	locator exportops.Locator
	shared  *sharedKeys
	run     string // its id; "" of a dry run
	// listed, where set, are the entries of a plan: nothing else is touched.
	listed map[string]PlanEntry
}

// decide decides about a page. It is pure, given what the planner knows. Others
// are rows that came under a hold since.
func (p *planner) decide(page, others []exportops.Candidate) []exportops.Decision {
	out := make([]exportops.Decision, len(page))
	held := heldKeys(p.locator, others)
	taken := make(map[string]bool, len(page))
	for i, c := range page {
		out[i] = p.decideOne(c)
		if out[i].Verdict != exportops.Claim {
			continue
		}
		key := out[i].Location.Key
		switch at := p.locator.Resolve(c.FileURL, c.UserID); {
		case at.Literal != "":
			out[i] = exportops.Decision{Verdict: exportops.Postpone, Reason: becauseLiteral}
		case taken[key] || p.shared.has(key) || len(held[key]) > 0:
			out[i] = exportops.Decision{Verdict: exportops.Postpone, Reason: becauseShared}
		case c.Prior != nil && c.Prior.Interrupted() >= exportops.AloneAfter:
			out[i] = exportops.Decision{Verdict: exportops.Postpone, Reason: becauseAlone}
		}
		taken[key] = true
	}
	return out
}

// heldKeys returns which exports under a hold name which keys.
func heldKeys(l exportops.Locator, rows []exportops.Candidate) map[string][]string {
	var keys map[string][]string
	for _, c := range rows {
		if !c.Held || c.FileURL == nil {
			continue
		}
		for key := range keysOf(l, exportops.KeyRow{UserID: c.UserID, FileURL: *c.FileURL}) {
			if keys == nil {
				keys = map[string][]string{}
			}
			keys[key] = append(keys[key], c.ExportID)
		}
	}
	return keys
}

// decideOne decides from the row, the ledger and the plan that is applied.
func (p *planner) decideOne(c exportops.Candidate) exportops.Decision {
	if p.listed == nil {
		return p.decideRow(c)
	}
	e, ok := p.listed[c.ExportID]
	if !ok || e.done(c) {
		return exportops.Decision{Verdict: exportops.PassOver, Reason: becauseNotDue}
	}
	d := p.decideRow(c)
	planned := d.Verdict == exportops.Claim && e.Do == PlanDelete && e.Key == d.Location.Key ||
		d.Verdict == exportops.Expire && e.Do == PlanExpire
	if !e.same(c) || !planned && (d.Verdict != exportops.PassOver || p.sel.Judge(c) != exportops.Due || p.changed(c)) {
		return exportops.Decision{Verdict: exportops.PassOver, Reason: becauseChanged}
	}
	return d
}

// decideRow decides from the row and the ledger alone.
func (p *planner) decideRow(c exportops.Candidate) exportops.Decision {
	pass := func(reason string) exportops.Decision {
		return exportops.Decision{Verdict: exportops.PassOver, Reason: reason}
	}
	switch p.sel.Judge(c) {
	case exportops.Due:
	case exportops.Implausible:
		return pass(becauseImplausible)
	default:
		return pass(becauseNotDue)
	}
	at := p.locator.Resolve(c.FileURL, c.UserID)
	switch {
	case at.NoFile && !c.Held:
		return exportops.Decision{Verdict: exportops.Expire}
	case c.Prior != nil && c.Prior.State == exportops.DeletionClaimed:
		if p.run != "" && c.Prior.RunID == p.run {
			return pass(becauseHelped)
		}
		return pass(becauseInFlight)
	case p.failed(c):
		return pass(becauseFailed)
	case p.changed(c):
		return pass(becauseNotDue)
	case c.Held: // what this run has counted already comes before
		return pass(becauseHeld)
	case c.Prior != nil && c.Prior.State == exportops.DeletionQuarantined:
		return pass(becauseQuarantined)
	case at.Refused != "":
		return exportops.Decision{Verdict: exportops.Refuse, Reason: at.Refused}
	}
	return exportops.Decision{Verdict: exportops.Claim, Location: at.Location}
}

// failed reports whether this run has tried the row's file already, and failed.
func (p *planner) failed(c exportops.Candidate) bool {
	return p.run != "" && c.Prior.FailedIn(p.run)
}

// changed reports whether a claim of this run on the very same row ended as
// changed. That was counted, and whoever is at work on the export has until the
// next run to say in the row what it names now.
func (p *planner) changed(c exportops.Candidate) bool {
	return p.run != "" && c.Prior != nil && c.Prior.State == exportops.DeletionChanged && c.Prior.RunID == p.run
}

// keepsAlive reports whether a row that names the same file forbids its
// deletion: it is under a hold, in progress, or completed and not due itself.
func (p *planner) keepsAlive(other exportops.Candidate) bool {
	if other.Held || other.Status.InProgress() {
		return true
	}
	if other.Status != exportops.Completed {
		return false
	}
	expired := exportops.Selection{Mode: exportops.ByExpiry, Now: p.sel.Now}
	return p.sel.Judge(other) != exportops.Due && expired.Judge(other) != exportops.Due
}
