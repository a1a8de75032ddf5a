package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// ChangeExpiries finds what the policy would change of the expiry of exports that
// exist, and tells Plan of each change.
func (d DryRun) ChangeExpiries(ctx context.Context, policy *exportops.Policy, now exportops.Time) (exportops.ExpiryResult, error) {
	res := exportops.ExpiryResult{DryRun: true, Policy: policy.Hash()}
	defer res.SumUp()
	for next := exportops.Cursor(""); ; {
		page, after, err := d.Store.Candidates(ctx, exportops.Selection{Mode: exportops.ByPolicy, Now: now}, next, dryPage)
		if err != nil {
			return res, fmt.Errorf("read export logs: %w", err)
		}
		for _, c := range page {
			x, kept := policy.ChangeExpiry(c, now)
			if res.Count(x, kept, now); kept == exportops.ExpirySame {
				res.Unchanged++
			}
			if d.Plan != nil && kept != exportops.ExpirySame && kept != exportops.ExpiryNotLive {
				d.Plan.entry(expiryEntry(x, kept, now))
			}
		}
		if next = after; next == "" || d.ended() {
			res.Complete = next == ""
			res.SumUp()
			return res, nil
		}
	}
}

// expiryRun changes the expiries that a plan lists.
type expiryRun struct {
	*Cleaner
	work    Work
	policy  *exportops.Policy
	from    *Plan
	res     *exportops.ExpiryResult
	pace    pace
	reached int64
}

// ChangeExpiries changes the expiries that a plan lists, of those exports that
// still are what it saw and of which the policy still says what it lists. It adds
// to res, which may hold what an earlier holder of the run did.
func (c *Cleaner) ChangeExpiries(ctx context.Context, w Work, policy *exportops.Policy, p *Plan, res *exportops.ExpiryResult) error {
	defer res.SumUp()
	r := &expiryRun{Cleaner: c, work: w, policy: policy, from: p, res: res, pace: c.pace(500, 20, 1000)}
	res.Complete, res.Plan, res.Policy = false, p.SHA256, p.Policy
	done, err := r.run(ctx)
	if err != nil && !errors.Is(err, errStopped) {
		return err
	}
	if res.Complete = err == nil && done; !res.Complete {
		res.Remaining = max(0, p.Totals.Due()-r.reached)
	}
	return nil
}

func (r *expiryRun) run(ctx context.Context) (bool, error) {
	batch := make([]ExpiryEntry, 0, r.pace.most)
	for e, err := range r.from.ExpiryEntries() {
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
	return r.batch(ctx, batch)
}

func (r *expiryRun) batch(ctx context.Context, batch []ExpiryEntry) (bool, error) {
	if len(batch) == 0 {
		return true, nil
	}
	if r.ended(ctx, r.work) {
		return false, nil
	}
	changes, err := r.changes(ctx, batch)
	if err != nil {
		return false, reading(ctx, "read export logs", err)
	}
	r.reached += int64(len(batch))
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return false, err
	}
	var counted exportops.ExpiryResult
	began := time.Now()
	_, err = r.Store.ChangeExpiry(ctx, cp, changes, func(kept []exportops.ExpiryKept) (json.RawMessage, error) {
		counted = *r.res // what was changed cannot be counted by a run that takes over
		for i, k := range kept {
			counted.Count(changes[i], k, exportops.At(r.Now()))
		}
		return r.work.record(counted)
	})
	if err != nil {
		return false, fmt.Errorf("change expiries: %w", err)
	}
	r.pace.tookFor(len(batch), time.Since(began))
	*r.res = counted
	r.work.report(*r.res)
	return true, nil
}

// changes returns what the plan lists of a batch, as far as the policy still says
// so of the row. What the plan says of the row itself is the store's to compare.
func (r *expiryRun) changes(ctx context.Context, batch []ExpiryEntry) ([]exportops.ExpiryChange, error) {
	ids := make([]string, len(batch))
	for i, e := range batch {
		ids[i] = e.ExportID
	}
	rows, err := r.Store.CandidatesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := byExport(rows)
	var out []exportops.ExpiryChange
	seen := make(map[string]bool, len(batch))
	for _, e := range batch {
		if seen[e.ExportID] { // no plan of ours lists an export twice
			continue
		}
		seen[e.ExportID] = true
		listed := exportops.ExpiryChange{
			ExportID: e.ExportID, Kind: exportops.ExpiryKind(e.Do), Rule: e.Rule, FileURL: e.FileURL, From: e.From, To: e.To,
		}
		// The policy is asked of the row as it was when the plan was made.
		c, ok := byID[e.ExportID]
		c.ExpiresAt, c.Held, c.Prior = e.From, false, nil
		if x, kept := r.policy.ChangeExpiry(c, r.from.Now); !ok || kept != "" || !e.of(x) {
			r.res.Count(listed, exportops.ExpiryChanged, r.from.Now)
			continue
		}
		out = append(out, listed)
	}
	return out, nil
}
