package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// helpable reports whether other processes may help with a run. They know nothing
// of a plan.
func helpable(run exportops.Run) bool {
	var p params
	return run.Job == exportops.FileCleanup && json.Unmarshal(run.Params, &p) == nil && p.Plan == ""
}

// Help takes part in an active run of another process, until nothing of it is
// left to claim. It does nothing for a run that cannot be helped with, that this
// process holds, or that it helps or has helped with: what has come due since is
// the holder's.
func (r *Runner) Help(ctx context.Context, run exportops.Run) error {
	if !helpable(run) || run.Holder == r.Holder || run.Closing || run.Finished() || run.Abandoned(r.at()) {
		return nil
	}
	if !letThrough(run) {
		return nil // not yet: it is looked at again
	}
	turn := fmt.Sprintf("%s/%d", run.ID, run.Takeovers) // another holder begins anew
	if _, known := r.helped.LoadOrStore(turn, true); known {
		return nil
	}
	err := r.help(ctx, run)
	if err != nil && !exportops.IsKind(err, exportops.KindRefused) {
		r.helped.Delete(turn) // it may be tried again
	}
	return err
}

// help returns nil where the run has ended, or its holder has written us off.
func (r *Runner) help(ctx context.Context, run exportops.Run) error {
	var p params
	if err := json.Unmarshal(run.Params, &p); err != nil {
		return fmt.Errorf("read the parameters of run %s: %w", run.ID, err)
	}
	// A helper decides by its own clock what is due.
	switch clock, err := r.clock(ctx, run.ID); {
	case err != nil:
		return err
	case clock != nil:
		return (&exportops.Guards{Clock: clock}).Refusal(run.Job)
	}
	fence, err := r.Store.JoinRun(ctx, run.ID, r.Holder, r.at(), exportops.LeaseLength)
	if err != nil {
		return unlessFenced(err)
	}
	held, release := r.hold(ctx, fence)
	defer release()
	var res exportops.FileCleanupResult
	sel := r.selection(Request{Job: run.Job, RetentionHours: p.RetentionHours})
	err = r.cleaner.HelpFiles(held, cleanup.Work{Fence: fence, Stop: r.stops(fence.RunID)}, sel, r.Store, &res)
	done, encodeErr := json.Marshal(res)
	if encodeErr != nil {
		return fmt.Errorf("keep what was done for run %s: %w", run.ID, encodeErr)
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	return errors.Join(unlessFenced(err), unlessFenced(r.Store.LeaveRun(leave, exportops.Checkpoint{
		Fence: fence, Now: r.at(), Lease: exportops.LeaseLength, Progress: done,
	})))
}

func unlessFenced(err error) error {
	if errors.Is(err, exportops.ErrFenced) {
		return nil
	}
	return err
}

// gather adds to the result of a run what its workers did, once they are done; it
// does not wait for longer than the end of a run may take. It goes into the
// record with the run's end, so that a holder that takes over does not add it
// again.
func (r *Runner) gather(ctx context.Context, fence exportops.Fence, result *Result, failed error) (ending, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	res := result.Files
	all, err := r.lastWork(ctx, fence)
	if err != nil || len(all) == 0 {
		return filesEnding(res), errors.Join(failed, err)
	}
	for _, w := range all {
		var part exportops.FileCleanupResult
		if len(w.Result) == 0 {
			continue
		}
		if err := json.Unmarshal(w.Result, &part); err != nil {
			return filesEnding(res), errors.Join(failed, fmt.Errorf("read what was done for run %s: %w", fence.RunID, err))
		}
		res.Add(part)
	}
	err = r.cleaner.Tally(ctx, fence.RunID, res)
	return filesEnding(res), errors.Join(failed, err)
}

// lastWork closes a run and returns what its workers have done when all of them
// have left, or half of the time that ctx gives is over.
func (r *Runner) lastWork(ctx context.Context, fence exportops.Fence) ([]exportops.Work, error) {
	const every = 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += every {
		all, err := r.Store.CloseRun(ctx, exportops.Checkpoint{Fence: fence, Now: r.at(), Lease: exportops.LeaseLength})
		working := slices.ContainsFunc(all, func(w exportops.Work) bool { return !w.Left })
		if err != nil || !working || waited > recordWithin/2 {
			return all, err
		}
		select {
		case <-ctx.Done():
			return all, ctx.Err()
		case <-time.After(every):
		}
	}
}
