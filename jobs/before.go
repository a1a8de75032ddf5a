package jobs

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// doneBefore returns what a run goes on from: what its holders before have done.
func (r *Runner) doneBefore(ctx context.Context, req Request, run exportops.Run, how exportops.Beginning) (Result, error) {
	switch {
	case how == exportops.TookOver:
		done, err := resultOf(run)
		done.resume()
		return done, err
	case run.Job == exportops.EraseUser:
		return r.erasedBefore(ctx, req)
	}
	return Result{}, nil
}

// erasedBefore returns what erasures of a user have done since the last receipt: the one
// that is to come proves that as well.
func (r *Runner) erasedBefore(ctx context.Context, req Request) (Result, error) {
	last, err := r.Store.LastRun(ctx, req.Job, req.lane())
	if err != nil || last.ID == "" {
		return Result{}, err
	}
	done, err := resultOf(last)
	switch {
	case err != nil:
		// It is said once: this run ends with a result that can be read.
		return Result{Erased: &exportops.ErasureResult{}}, fmt.Errorf("%w; erase the user again, and what that run did is not counted", err)
	case done.Erased == nil || done.Erased.Receipt != nil:
		return Result{}, nil
	}
	// Who was not told that its receipt was kept has none in its record.
	at, err := r.Store.ErasedAt(ctx, []string{req.UserID})
	if err != nil {
		return Result{}, err
	}
	if erased, ever := at[req.UserID]; ever && !erased.Before(last.StartedAt.Time) {
		return Result{}, nil
	}
	done.resume()
	return done, nil
}
