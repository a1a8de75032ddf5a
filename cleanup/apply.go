package cleanup

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/exportops/exportops"
)

// planRun applies a plan.
type planRun struct {
	*fileRun
	entries func() iter.Seq2[PlanEntry, error] // of its files
	due     int64                              // how many of them are
	reached int64                              // of those, which came to their turn
}

// ApplyPlan deletes the files that a plan lists, of those exports that still are
// what it saw, and that the claim still allows. Whatever else is due stays, and
// so do the claims of dead runs on it. What was changed since counts as changed;
// what was done before does not count again.
func (c *Cleaner) ApplyPlan(ctx context.Context, w Work, p *Plan, res *exportops.FileCleanupResult) error {
	res.Plan = p.SHA256
	r := &planRun{fileRun: c.fileRun(w, p.Selection(exportops.At(c.Now())), res), entries: p.Entries, due: p.Totals.Due()}
	return r.apply(ctx)
}

func (r *planRun) apply(ctx context.Context) error {
	res := r.res
	defer func() { sumUp(res) }()
	r.plan.listed = map[string]PlanEntry{}
	res.Complete = false
	done, err := r.run(ctx)
	if err != nil && !errors.Is(err, errStopped) {
		return err
	}
	res.Complete = err == nil && done
	if !res.Complete {
		res.Remaining = max(0, r.due-r.reached) + r.putOff()
	}
	return nil
}

func (r *planRun) run(ctx context.Context) (done bool, err error) {
	if err := r.prepare(ctx); err != nil {
		return false, err
	}
	for _, step := range []func(context.Context) (bool, error){
		r.recoverListed, r.walk, r.drainPostponed, r.drainBusy, r.drainAlone, r.drainBehind,
	} {
		if done, err := step(ctx); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// recoverListed finishes the claims that dead runs left open on what the plan
// lists: those of this very plan, if it was interrupted.
func (r *planRun) recoverListed(ctx context.Context) (bool, error) {
	open, err := claimedExports(ctx, r.Store)
	if err != nil || len(open) == 0 {
		return err == nil, reading(ctx, "look for open claims", err)
	}
	for e, err := range r.entries() {
		if err != nil {
			return false, err
		}
		if e.Do != PlanKeep && open[e.ExportID] {
			r.plan.listed[e.ExportID] = e
			r.only = append(r.only, e.ExportID)
		}
	}
	if len(r.only) == 0 {
		return true, nil
	}
	return r.recover(ctx)
}

// claimedExports returns the exports on which there are open claims.
func claimedExports(ctx context.Context, s RootReader) (map[string]bool, error) {
	exports := map[string]bool{}
	err := eachOpenClaim(ctx, s, func(d exportops.Deletion) { exports[d.ExportID] = true })
	return exports, err
}

// walk deals with the entries in their order, a batch at a time.
func (r *planRun) walk(ctx context.Context) (bool, error) { return r.overlapping(ctx, r.batches) }

func (r *planRun) batches(ctx context.Context) (bool, error) {
	batch := make([]PlanEntry, 0, r.pace.most)
	for e, err := range r.entries() {
		if err != nil {
			return false, err
		}
		if e.Do == PlanKeep {
			continue
		}
		if batch = append(batch, e); len(batch) < r.pace.size {
			continue
		}
		if done, err := r.batch(ctx, batch); err != nil || !done {
			return false, err
		}
		batch = batch[:0]
	}
	if len(batch) > 0 {
		if done, err := r.batch(ctx, batch); err != nil || !done {
			return false, err
		}
	}
	r.drained = true
	return true, nil
}

func (r *planRun) batch(ctx context.Context, batch []PlanEntry) (bool, error) {
	if r.ended(ctx, r.work) {
		return false, nil
	}
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = e.ExportID
		r.plan.listed[e.ExportID] = e
	}
	var page exportops.ClaimPage
	for again := true; again; again = page.Unseen { // more came under a hold than a claim can look at
		err := r.plan.shared.topUp(ctx, r.Store, exportops.At(r.Now()))
		if err != nil {
			return false, reading(ctx, "look for shared files", err)
		}
		page, err = r.claimAhead(ctx, exportops.ClaimRequest{
			ExportIDs: ids, HoldsSeen: r.plan.shared.holds, Decide: r.plan.decide,
		})
		if err != nil {
			return false, fmt.Errorf("apply the plan: %w", err)
		}
	}
	r.reached += int64(len(batch))
	there := byExport(page.Candidates)
	for _, id := range ids {
		// A row that is gone has changed, too. Of one whose claim was recovered that was
		// counted.
		if _, ok := there[id]; !ok && r.recovered[id] == nil {
			r.res.Changed++
		}
	}
	if done, err := r.postponedPart(ctx); err != nil || !done {
		return false, err
	}
	r.forget()
	return true, nil
}

// forget drops the entries that nobody will ask for any more.
func (r *planRun) forget() {
	kept := make(map[string]PlanEntry, len(r.postponed)+len(r.behind)+len(r.busy))
	for _, list := range [][]postponed{r.postponed, r.behind} {
		for _, p := range list {
			kept[p.exportID] = r.plan.listed[p.exportID]
		}
	}
	for _, id := range r.busy {
		kept[id] = r.plan.listed[id]
	}
	r.plan.listed = kept
}
