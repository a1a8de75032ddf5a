package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// fileRun is one run of a file cleanup.
type fileRun struct {
	*Cleaner
	work Work
	plan *planner
	res  *exportops.FileCleanupResult
	next exportops.Cursor // where the drain stopped
	// drained is set when the drain came to the end.
	drained bool
	// busy are exports whose rows somebody else held when the drain came to them, or whose
	// claims were given back; where there are so many, it is looked which of them are left.
	busy     []string
	busyMost int
	// helped are exports that another process of this run had claimed when the drain
	// passed over their rows; where there are so many, it is looked which still are.
	helped     map[string]bool
	helpedMost int
	// postponed are exports whose keys need an exact look, at the end.
	postponed []postponed
	// alone are claims of dead runs that are tried one by one, last of all.
	alone []*exportops.Deletion
	// behind are exports whose keys those claims hold.
	behind []postponed
	// only, where set, are the exports whose claims are recovered.
	only      []string
	recovered map[string]*recovered // by export
	// carried is how many of what dead holders of the run counted as changed have not
	// been met again.
	carried int64
	// older are claimed exports that were created before the backup that the
	// database was restored from.
	older map[string]bool
	pace  pace
	// under is what storage is at work on; nil where it is not.
	under *underway
	// helps is set where another process holds the run.
	helps bool
	// proved is when the last transaction began that showed this run to be the holder.
	proved time.Time
}

func (c *Cleaner) fileRun(w Work, sel exportops.Selection, res *exportops.FileCleanupResult) *fileRun {
	return &fileRun{
		Cleaner: c, work: w, res: res, drained: w.noneDue, busyMost: busyAtOnce, pace: c.filePace(),
		helped: map[string]bool{}, helpedMost: busyAtOnce,
		plan:      &planner{sel: sel, locator: c.Locator, run: w.Fence.RunID},
		recovered: map[string]*recovered{}, carried: res.Changed, older: map[string]bool{},
	}
}

// errStopped says that a run was told to stop while it read.
var errStopped = errors.New("the run was told to stop")

// reading returns the error of a read, which is errStopped where ctx ended it.
func reading(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errStopped
	case what == "":
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// CleanFiles deletes the files a selection finds due, until none is left, the
// deadline is past, or ctx is done. It adds to res, which may hold what an
// earlier holder of the run did. What went wrong with single files is in res;
// the error is for what stopped the whole.
func (c *Cleaner) CleanFiles(ctx context.Context, w Work, sel exportops.Selection, res *exportops.FileCleanupResult) error {
	defer func() { sumUp(res) }()
	r := c.fileRun(w, sel, res)
	res.Complete = false
	done, err := r.run(ctx)
	if w.Shared && !done && (err == nil || errors.Is(err, errStopped)) {
		// Its time is over, and so is that of its workers: what they are at is
		// neither left nor done until then.
		waiting, cancel := finishing(ctx)
		defer cancel()
		if _, late := r.awaitWorkers(waiting); late != nil {
			err = late
		}
	}
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return err
	case err == nil && done:
		res.Complete = true
		return nil
	}
	return r.countRest(context.WithoutCancel(ctx))
}

// run goes through the steps of a run. It reports whether it came to the end.
func (r *fileRun) run(ctx context.Context) (done bool, err error) {
	if err := r.prepare(ctx); err != nil {
		return false, err
	}
	steps := []func(context.Context) (bool, error){r.recover}
	if !r.work.noneDue {
		steps = append(steps, r.drain, r.drainPostponed)
	}
	if r.work.Shared {
		steps = append(steps, r.awaitWorkers)
	}
	for _, step := range append(steps, r.drainBusy, r.drainAlone, r.drainBehind) {
		if done, err := step(ctx); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// prepare looks at the root, and for files that rows share: in the whole table, so
// only where there is a file to delete.
func (r *fileRun) prepare(ctx context.Context) (err error) {
	err = checkRoot(ctx, r.Store, r.Files, r.Locator, r.plan.sel)
	if err != nil || r.work.noneDue {
		return reading(ctx, "", err)
	}
	r.plan.shared, err = readSharedKeys(ctx, r.Store, r.Locator, r.plan.sel.Mode, exportops.At(r.Now()))
	return reading(ctx, "look for shared files", err)
}

// countRest counts what the run did not come to.
func (r *fileRun) countRest(ctx context.Context) error {
	if err := r.siftBusy(ctx); err != nil {
		return err
	}
	left, err := r.leftByWorkers(ctx)
	r.res.Remaining = r.putOff() + left
	if err != nil || r.drained {
		return err
	}
	n, err := r.Store.CountCandidates(ctx, r.plan.sel, r.next)
	r.res.Remaining += max(0, n-r.countedAhead())
	return err
}

// putOff counts what the run has met and left for later.
func (r *fileRun) putOff() int64 {
	return int64(len(r.busy)+len(r.postponed)+len(r.behind)) + r.untried()
}

// finishing returns a context that outlives ctx by just long enough to finish
// the batch at hand.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	free, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(settleWithin, cancel)
		context.AfterFunc(free, func() { timer.Stop() })
	})
	return free, func() { stop(); cancel() }
}

// countPassed counts a candidate that was passed over.
func countPassed(res *exportops.FileCleanupResult, c exportops.Candidate, reason string) {
	switch reason {
	case becauseFailed:
		res.FailedCount++
		addError(res, c.ExportID, c.Prior.Error)
	case becauseImplausible:
		res.Implausible++
	case becauseQuarantined:
		res.Quarantined++
	case becauseInFlight:
		res.InFlight++
	case becauseShared:
		res.Shared++
	case becauseHeld:
		res.Held++
	case becauseChanged, becauseYounger:
		res.Changed++
	}
}

// fail counts a failure, and lists it while the list has room.
func (r *fileRun) fail(exportID, reason string) {
	r.res.FailedCount++
	addError(r.res, exportID, reason)
}

func addError(res *exportops.FileCleanupResult, exportID, reason string) {
	res.ErrorsTotal++
	if len(res.Errors) < exportops.MaxErrors {
		res.Errors = append(res.Errors, exportops.ExportError{ExportID: exportID, Error: reason})
	}
}

// sumUp makes TotalFound what it says it is.
func sumUp(res *exportops.FileCleanupResult) {
	if res.Errors == nil {
		res.Errors = []exportops.ExportError{}
	}
	res.TotalFound = res.DeletedCount + res.FailedCount + res.AlreadyAbsent + res.NoFile + res.Changed +
		res.Shared + res.Held + res.Implausible + res.Quarantined + res.InFlight + res.WouldDelete + res.Remaining
}
