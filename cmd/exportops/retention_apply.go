package main

import (
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

type retentionApplyCmd struct {
	ApplyToExisting bool          `name:"apply-to-existing" help:"change the expiry of exports that exist: what they were promised may end earlier"`
	PlanOut         string        `name:"plan-out" placeholder:"FILE" help:"write each change to this file, and change nothing; without it the changes are counted"`
	Plan            string        `name:"plan" placeholder:"FILE" help:"change what this plan lists, as far as the row has not changed since"`
	Budget          time.Duration `name:"budget" placeholder:"DURATION" help:"stop after this long; apply the plan again to go on"`
}

// Run counts or plans changes of expiries, or applies a plan of them.
func (c *retentionApplyCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	switch {
	case cfg.Policy == nil:
		return &usageError{errNoPolicy}
	case c.Plan != "" && c.PlanOut != "":
		return &usageError{exportops.Invalid("--plan", "it goes without --plan-out")}
	case c.Budget < 0:
		return &usageError{exportops.Invalid("--budget", "%s is negative", c.Budget)}
	case !c.ApplyToExisting && c.Plan == "":
		return &usageError{&exportops.Error{
			Kind: exportops.KindInvalid, Field: "--apply-to-existing",
			Message: "without it a policy holds for exports that are completed from now on, and nothing is to be done",
			Hint: "with it, exports that exist get the expiry that the policy says, which may be earlier, later, or never: " +
				"make a plan with --apply-to-existing --plan-out FILE, look at it, and apply it with --plan FILE",
		}}
	}
	req := jobs.Request{Job: exportops.RetentionApply, Trigger: exportops.ByCommand, Budget: c.Budget}
	if c.Plan != "" {
		return e.applyPlan(c.Plan, req)
	}
	if req.DryRun = true; c.PlanOut != "" {
		return e.makePlan(c.PlanOut, req)
	}
	return e.runJob(req)
}

var errNoPolicy = &exportops.Error{
	Kind: exportops.KindInvalid, Field: "retention", Message: "there is no retention policy",
	Hint: "write one into exportops.yaml; exportops.example.yaml shows how",
}

func (e *env) drawExpiry(r *exportops.ExpiryResult) {
	title := "expiries"
	if r.DryRun {
		title += " (dry run: nothing was changed)"
	}
	e.table(title, nil, counts(
		"listed", r.TotalFound, "changed", r.ChangedCount, "would be changed", r.WouldChange, "earlier", r.Earlier, "later", r.Later,
		"set: there was none", r.Set, "removed: never from now on", r.Removed, "due at once", r.DueAtOnce,
		"moved on meanwhile", r.MovedOn, "kept: held", r.KeptHeld, "kept: file being deleted", r.KeptClaimed,
		"kept: a time cannot be read", r.KeptUnreadable, "as the policy says", r.Unchanged, "remaining", r.Remaining,
	))
	if r.DueAtOnce > 0 {
		e.stdout.printf("the next file cleanup deletes the files of %s of them\n", number(r.DueAtOnce))
	}
	e.drawRest(0, r.Complete)
}
