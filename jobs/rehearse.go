package jobs

import (
	"context"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// rehearse reports what a run would do now. It is handed nothing that writes,
// emits no event and leaves no run.
func (r *Runner) rehearse(ctx context.Context, req Request, deadline time.Time) (a Answer, err error) {
	began := r.Now()
	run := exportops.Run{StartedAt: exportops.At(began)}
	dry := cleanup.DryRun{
		Store: r.Store, Files: r.Files, Locator: r.Locator, Now: r.Now, Deadline: deadline, RestoredFrom: r.RestoredFrom,
	}
	if r.Archives != nil {
		dry.Archives = r.Archives
	}
	switch req.Job {
	case exportops.FileCleanup:
		guards, err := r.ask(ctx, req, exportops.Run{Forced: req.Force}, nil, deadline)
		if err != nil {
			return Answer{}, err
		}
		sel := r.selection(req)
		if req.PlanOut != nil {
			dry.Plan = cleanup.NewPlanWriter(req.PlanOut, r.planHeader(sel))
		}
		res, err := dry.CleanFiles(ctx, sel)
		if res.Guards = guards; err == nil && req.PlanOut != nil {
			res.Plan, err = dry.Plan.End(res.Complete)
		}
		filesEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Files: &res}}, err
	case exportops.LogCleanup, exportops.UserLogCleanup:
		var guards *exportops.Guards
		if req.Job == exportops.LogCleanup {
			if guards, err = r.ask(ctx, req, exportops.Run{Forced: req.Force}, nil, deadline); err != nil {
				return Answer{}, err
			}
		}
		w := r.logWork(req, deadline)
		if req.PlanOut != nil {
			dry.Plan = cleanup.NewPlanWriter(req.PlanOut, r.logPlanHeader(req, w))
		}
		res, err := dry.CleanLogs(ctx, w, r.at())
		if res.Guards = guards; err == nil && req.PlanOut != nil {
			res.Plan, err = dry.Plan.End(res.Complete)
		}
		logsEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Logs: &res}}, err
	}
	if req.Job == exportops.EraseUser {
		if err := r.refuseErasure(ctx, req.UserID); err != nil {
			return Answer{}, err
		}
		res, err := dry.EraseUser(ctx, r.logWork(req, deadline), r.at())
		erasedEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Erased: &res}}, err
	}
	if req.Job == exportops.RetentionApply {
		res, err := r.rehearseExpiries(ctx, req, dry)
		expiryEnding(res).stamp(run, r.at())
		return Answer{Result: Result{Expiry: res}}, err
	}
	if req.Job == exportops.UnknownCleanup {
		res, err := r.rehearseUnknown(ctx, req, dry)
		unknownEnding(res).stamp(run, r.at())
		return Answer{Result: Result{Unknown: res}}, err
	}
	if req.Job == exportops.RegisterArchives {
		res := exportops.RegisterResult{DryRun: true}
		err := r.Archives.Register(ctx, nil, func() bool { return !deadline.IsZero() && !r.Now().Before(deadline) }, &res)
		registerEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Known: &res}}, err
	}
	if req.Job == exportops.Reconcile {
		guards, err := r.guardComparison(ctx, exportops.Run{Forced: req.Force})
		if err != nil {
			return Answer{}, err
		}
		res, err := dry.Reconcile(ctx, reconcileWork(req))
		res.Guards = guards
		reconEnding(&res).stamp(run, r.at())
		return Answer{Result: Result{Recon: &res}}, err
	}
	res := exportops.AggregateResult{DryRun: true, Complete: true}
	a.Result.Rolls = &res
	now := r.at()
	if res.Metrics, err = r.Metrics.Aggregate(ctx, exportops.At(now.Add(-time.Hour)), now, exportops.Hourly); err != nil {
		return a, err
	}
	res.FailureAlert, err = r.Metrics.FailureRate(ctx, lookbackMinutes)
	rollsEnding(&res).stamp(run, r.at())
	return a, err
}
