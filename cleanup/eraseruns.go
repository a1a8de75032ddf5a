package cleanup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// awaitRunsFor bounds how long an erasure waits for other runs to end, and awaitRunsEvery
// is how often it looks.
const (
	awaitRunsFor   = time.Minute
	awaitRunsEvery = 200 * time.Millisecond
)

// RunEnder tells which runs are at work, and ends those whose holders are dead.
type RunEnder interface {
	ActiveRuns(ctx context.Context) ([]exportops.Run, error)
	EndAbandoned(ctx context.Context, id string, now exportops.Time) error
}

// awaitRuns waits until the runs that are at work have ended, and reports whether there
// were any. It returns those that have not ended when the time for it, or that of w, is
// over. What they have read they keep in memory for a while, and may fail with; who begins
// meanwhile is not waited for. A dead run is ended, so that a holder that wakes up writes
// nothing. Meanwhile res tells for how many it waits.
//
// Erasures read what their own users left. They are not waited for, as two of them would
// wait for each other.
func (c *Cleaner) awaitRuns(ctx context.Context, w Work, res *exportops.ErasureResult) (atWork []string, waited bool, err error) {
	defer func() { res.AtWork = 0 }()
	patience := time.NewTimer(awaitRunsFor)
	defer patience.Stop()
	look := time.NewTicker(awaitRunsEvery)
	defer look.Stop()
	if atWork, err = c.readersAtWork(ctx); err != nil {
		return nil, false, err
	}
	for len(atWork) > 0 && !c.ended(ctx, w) {
		waited, res.AtWork = true, int64(len(atWork))
		w.report(res)
		select {
		case <-ctx.Done():
			return atWork, waited, nil
		case <-patience.C:
			return atWork, waited, nil
		case <-look.C:
		}
		now, err := c.readersAtWork(ctx)
		if err != nil {
			return nil, waited, err
		}
		atWork = slices.DeleteFunc(atWork, func(id string) bool { return !slices.Contains(now, id) })
	}
	return atWork, waited, nil
}

// readersAtWork returns the runs that are at work, but for erasures, and ends dead ones:
// one that is taken over at this moment goes on, and the next look meets it.
func (c *Cleaner) readersAtWork(ctx context.Context) (ids []string, err error) {
	runs, err := c.Store.ActiveRuns(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for runs at work: %w", err)
	}
	for _, r := range runs {
		if r.Job == exportops.EraseUser {
			continue
		}
		if now := exportops.At(c.Now()); r.Abandoned(now) {
			if err := c.Store.EndAbandoned(ctx, r.ID, now); err != nil {
				return nil, err
			}
		}
		ids = append(ids, r.ID)
	}
	return ids, nil
}
