package jobs

import (
	"context"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// changeExpiries gives exports the expiry of the policy, as a plan lists them. No
// guard is asked: nothing is deleted, and what becomes due passes those of the
// cleanup that deletes it.
func (r *Runner) changeExpiries(ctx context.Context, req Request, work cleanup.Work, result *Result) (ending, error) {
	if result.Expiry == nil {
		result.Expiry = &exportops.ExpiryResult{}
	}
	err := r.cleaner.ChangeExpiries(ctx, work, r.Policy, req.Plan, result.Expiry)
	return expiryEnding(result.Expiry), err
}

// rehearseExpiries finds what a plan would list.
func (r *Runner) rehearseExpiries(ctx context.Context, req Request, dry cleanup.DryRun) (*exportops.ExpiryResult, error) {
	res := exportops.ExpiryResult{DryRun: true}
	if r.Policy == nil {
		return &res, &exportops.Error{
			Kind: exportops.KindInvalid, Field: "retention", Message: "there is no retention policy to apply",
			Hint: "write one into exportops.yaml; exportops.example.yaml shows how",
		}
	}
	now := r.at()
	if req.PlanOut != nil {
		dry.Plan = cleanup.NewPlanWriter(req.PlanOut, cleanup.PlanHeader{
			Job: exportops.RetentionApply, Now: now, Database: r.Database, Policy: r.Policy.Hash(),
		})
	}
	res, err := dry.ChangeExpiries(ctx, r.Policy, now)
	if err == nil && dry.Plan != nil {
		res.Plan, err = dry.Plan.End(res.Complete)
	}
	return &res, err
}

func expiryEnding(res *exportops.ExpiryResult) ending {
	return ending{
		value: res, complete: res.Complete,
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
		done: exportops.EventRetentionApplied, broken: exportops.EventRetentionFailed,
	}
}
