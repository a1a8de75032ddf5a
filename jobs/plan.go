package jobs

import (
	"cmp"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// planHeader says what a plan of a selection is about.
func (r *Runner) planHeader(sel exportops.Selection) cleanup.PlanHeader {
	if sel.Mode == exportops.ByReconcile {
		return cleanup.PlanHeader{
			Job: exportops.UnknownCleanup, Mode: sel.Mode, Now: sel.Now, Database: r.Database, Store: r.Files.ID(),
		}
	}
	h := cleanup.PlanHeader{
		Job: exportops.FileCleanup, Mode: sel.Mode, Now: sel.Now, Database: r.Database, Store: r.Files.ID(),
	}
	if sel.Mode == exportops.ByAge {
		h.Cut = &sel.Cut
	}
	return h
}

// logPlanHeader says what a plan of log rows is about.
func (r *Runner) logPlanHeader(req Request, w cleanup.LogWork) cleanup.PlanHeader {
	h := cleanup.PlanHeader{
		Job: exportops.LogCleanup, Mode: exportops.ByLogCleanup, Now: w.Now, Cut: &w.Cut, Database: r.Database,
		Store: r.Files.ID(), Archive: r.archive(), Policy: r.Policy.Hash(), RetentionDays: req.RetentionDays,
	}
	if h.Now.IsZero() {
		h.Now = r.at()
	}
	return h
}

// plannedWork is the log cleanup that a plan was made of, as far as the settings still
// say so. Nothing that became due since is.
func (r *Runner) plannedWork(p *cleanup.Plan, deadline time.Time) cleanup.LogWork {
	w := r.logWork(Request{Job: p.Job, RetentionDays: p.RetentionDays}, deadline)
	if p.Cut.Before(w.Cut.Time) {
		w.Cut = *p.Cut
	}
	if p.Now.Before(w.Now.Time) {
		w.Now = p.Now
	}
	return w
}

// archive names where log rows are kept before they go, "" for nowhere.
func (r *Runner) archive() string {
	if r.Archives == nil {
		return ""
	}
	return r.Archives.Place()
}

// refuseStrange refuses a plan of another database, another storage, another archive or
// another policy.
func (r *Runner) refuseStrange(p *cleanup.Plan) error {
	refuse := func(what, its, ours string) error {
		return &exportops.Error{
			Kind: exportops.KindRefused, Field: "plan",
			Message: fmt.Sprintf("it was made for the %s %s, and this is %s", what, its, ours),
			Hint:    "correct the settings, or make a new plan",
		}
	}
	switch {
	case p == nil:
		return nil
	case p.Database != r.Database:
		return refuse("database", p.Database, r.Database)
	case (p.Job == exportops.RetentionApply || p.Job == exportops.LogCleanup) && p.Policy != r.Policy.Hash():
		return refuse("retention policy", cmp.Or(p.Policy, "none"), cmp.Or(r.Policy.Hash(), "none"))
	case p.Job == exportops.LogCleanup && p.Archive != r.archive():
		return refuse("archive", cmp.Or(p.Archive, "none"), cmp.Or(r.archive(), "none"))
	case p.Store != "" && p.Store != r.Files.ID():
		return refuse("storage", p.Store, r.Files.ID())
	}
	return nil
}
