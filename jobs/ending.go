package jobs

import (
	"encoding/json"
	"fmt"

	"github.com/exportops/exportops"
)

// ending is what all results have in common at the end of a run.
type ending struct {
	value    any // the result, for the record
	stamp    func(run exportops.Run, now exportops.Time)
	failed   int64
	failure  string // what could not be done, when failed is above zero
	complete bool
	// The events of the two ends; "" for none.
	done, broken exportops.EventType
}

func filesEnding(res *exportops.FileCleanupResult) ending {
	return ending{
		value: res, failed: res.FailedCount, complete: res.Complete,
		failure: fmt.Sprintf("%d of %d files could not be deleted", res.FailedCount, res.TotalFound),
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
		done: exportops.EventFileCleanupComplete, broken: exportops.EventFileCleanupFailed,
	}
}

func logsEnding(res *exportops.LogCleanupResult) ending {
	return ending{
		value: res, failed: res.FailedCount, complete: res.Complete,
		failure: fmt.Sprintf("%d of %d log rows could not be deleted", res.FailedCount, res.TotalFound),
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
		done: exportops.EventLogCleanupComplete, broken: exportops.EventLogCleanupFailed,
	}
}

func erasedEnding(res *exportops.ErasureResult) ending {
	return ending{
		value: res, failed: res.FailedCount + res.Left, complete: res.Complete, failure: res.Failure(),
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
	}
}

func rollsEnding(res *exportops.AggregateResult) ending {
	return ending{
		value: res, complete: res.Complete,
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.DurationMS = run.ID, now.Sub(run.StartedAt.Time).Milliseconds()
		},
	}
}

func reconEnding(res *exportops.ReconcileResult) ending {
	res.Fill()
	return ending{
		value: res, failed: res.FailedCount, complete: res.Complete,
		failure: fmt.Sprintf("%d files could not be looked at", res.FailedCount),
		stamp: func(run exportops.Run, now exportops.Time) {
			res.RunID, res.Timestamp, res.DurationMS = run.ID, now, now.Sub(run.StartedAt.Time).Milliseconds()
		},
		done: exportops.EventReconcileComplete, broken: exportops.EventReconcileFailed,
	}
}

// outcome says how a run ended, given what stopped it, if anything did.
func (e ending) outcome(err error) (exportops.RunState, string) {
	switch {
	case exportops.IsKind(err, exportops.KindRefused):
		return exportops.RunRefused, ""
	case err != nil:
		return exportops.RunFailed, ""
	case e.failed > 0:
		return exportops.RunFailed, e.failure
	case !e.complete:
		return exportops.RunPartial, ""
	}
	return exportops.RunDone, ""
}

// announce emits the event of a run's end; the aggregation has emitted its own.
func (r *Runner) announce(e ending, failure string) {
	if e.done == "" {
		return
	}
	if res, ok := e.value.(*exportops.ReconcileResult); ok {
		r.announceReconcile(e, res, failure)
		return
	}
	if res, ok := e.value.(*exportops.UnknownCleanupResult); ok {
		r.announceUnknown(e, res, failure)
		return
	}
	if failure == "" {
		r.Events.Emit(e.done, e.value)
		return
	}
	switch res := e.value.(type) {
	case *exportops.ExpiryResult:
		r.Events.Emit(e.broken, struct {
			*exportops.ExpiryResult
			Error string `json:"error"`
		}{res, failure})
	case *exportops.FileCleanupResult:
		r.Events.Emit(e.broken, struct {
			*exportops.FileCleanupResult
			Error string `json:"error"`
		}{res, failure})
	case *exportops.LogCleanupResult:
		r.Events.Emit(e.broken, struct {
			*exportops.LogCleanupResult
			Error string `json:"error"`
		}{res, failure})
	}
}

// answerOf is the answer of a run that has ended, to those who did not run it.
func answerOf(run exportops.Run, how exportops.Beginning) (Answer, error) {
	a := Answer{Run: run, Beginning: how}
	var err error
	if a.Result, err = resultOf(run); err != nil {
		return a, err
	}
	switch g := a.Result.guards(); {
	case run.State == exportops.RunRefused && g != nil && *g != nil && !(*g).LetThrough():
		return a, (*g).Refusal(run.Job)
	case run.State == exportops.RunRefused:
		return a, &exportops.Error{Kind: exportops.KindRefused, Message: run.Error}
	case run.State != exportops.RunFailed:
		return a, nil
	case a.Result == Result{}:
		return a, &exportops.Error{Kind: exportops.KindUnavailable, Message: run.Error}
	}
	a.Failure = run.Error
	return a, nil
}

// resultOf reads what a run produced, so far or at its end.
func resultOf(run exportops.Run) (r Result, err error) {
	if len(run.Result) == 0 {
		return r, nil
	}
	switch run.Job {
	case exportops.FileCleanup:
		r.Files = &exportops.FileCleanupResult{}
		err = json.Unmarshal(run.Result, r.Files)
	case exportops.LogCleanup, exportops.UserLogCleanup:
		r.Logs = &exportops.LogCleanupResult{}
		err = json.Unmarshal(run.Result, r.Logs)
	case exportops.EraseUser:
		r.Erased = &exportops.ErasureResult{}
		err = json.Unmarshal(run.Result, r.Erased)
	case exportops.MetricsAggregate:
		r.Rolls = &exportops.AggregateResult{}
		err = json.Unmarshal(run.Result, r.Rolls)
	case exportops.RetentionApply:
		r.Expiry = &exportops.ExpiryResult{}
		err = json.Unmarshal(run.Result, r.Expiry)
	case exportops.UnknownCleanup:
		r.Unknown = &exportops.UnknownCleanupResult{}
		err = json.Unmarshal(run.Result, r.Unknown)
	case exportops.Reconcile:
		r.Recon = &exportops.ReconcileResult{}
		err = json.Unmarshal(run.Result, r.Recon)
	case exportops.RegisterArchives:
		r.Known = &exportops.RegisterResult{}
		err = json.Unmarshal(run.Result, r.Known)
	}
	if err != nil {
		return Result{}, fmt.Errorf("read the result of run %s: %w", run.ID, err)
	}
	return r, nil
}

// resume turns a result into where the next holder of its run goes on.
func (r Result) resume() {
	if r.Files != nil {
		r.Files.Resume()
	}
	if r.Logs != nil {
		r.Logs.Resume()
	}
	if r.Erased != nil {
		r.Erased.Resume()
	}
	if r.Recon != nil {
		r.Recon.Resume()
	}
	if r.Unknown != nil {
		r.Unknown.Resume()
	}
	if r.Expiry != nil {
		r.Expiry.Resume()
	}
	if r.Known != nil {
		r.Known.Resume()
	}
}
