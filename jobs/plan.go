package jobs

import (
	"fmt"

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

// refuseStrange refuses a plan of another database or another storage.
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
	case p.Store != r.Files.ID():
		return refuse("storage", p.Store, r.Files.ID())
	}
	return nil
}
