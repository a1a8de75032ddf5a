package cleanup

import (
	"context"
	"encoding/json"
	"math"
	"slices"

	"github.com/exportops/exportops"
)

// tracesAtOnce is how many traces one transaction erases.
const tracesAtOnce = 500

// tracesSeen is what became of looking for traces.
type tracesSeen struct {
	erased int64
	left   int  // of those that were found last
	done   bool // it came to the end
}

// eraseTraces erases traces of some kinds, nil for all, until a look finds none, or no
// fewer than the one before.
func (c *Cleaner) eraseTraces(ctx context.Context, w Work, userID string, res *exportops.ErasureResult, of func(exportops.TraceKind) bool) (
	all tracesSeen, err error,
) {
	for before := math.MaxInt; ; before = all.left {
		now, err := c.lookForTraces(ctx, w, userID, res, of)
		all = tracesSeen{all.erased + now.erased, now.left, now.done}
		if err != nil || !now.done || now.erased == 0 || now.left >= before {
			return all, err
		}
	}
}

// lookForTraces looks once, and erases what it finds.
func (c *Cleaner) lookForTraces(ctx context.Context, w Work, userID string, res *exportops.ErasureResult, of func(exportops.TraceKind) bool) (
	seen tracesSeen, err error,
) {
	for next := exportops.Cursor(""); ; {
		if c.ended(ctx, w) {
			return seen, nil
		}
		page, after, err := c.Store.Traces(ctx, userID, of, next, tracesAtOnce)
		if err != nil {
			return seen, err
		}
		seen.left += len(page)
		for len(page) > 0 { // kind by kind, in their order
			kind := page[0].Kind
			n := slices.IndexFunc(page, func(t exportops.Trace) bool { return t.Kind != kind })
			if n < 0 {
				n = len(page)
			}
			traces := page[:n]
			page = page[n:]
			counted := *res
			cp, err := c.checkpoint(w, counted)
			if err != nil {
				return seen, err
			}
			// What is gone cannot be counted by a run that takes over.
			gone, err := c.Store.EraseTraces(ctx, cp, userID, traces, func(n int64) (json.RawMessage, error) {
				counted = *res
				counted.Count(kind, n)
				return w.record(counted)
			})
			if err != nil {
				return seen, err
			}
			seen.erased += gone
			*res = counted
		}
		w.report(res)
		if next = after; next == "" {
			seen.done = true
			return seen, nil
		}
	}
}

// readable reports whether runs may read traces of a kind, and then name the user. In
// records of runs they do not look, nor in what the ledger says of the past.
func readable(k exportops.TraceKind) bool { return !k.OfRun() && k != exportops.TraceEntry }

// eraseReadable erases what runs may read, until none is at work that may have read any.
// It reports whether it came to that.
func (c *Cleaner) eraseReadable(ctx context.Context, w Work, userID string, res *exportops.ErasureResult) (bool, error) {
	for again := false; ; again = true {
		seen, err := c.eraseTraces(ctx, w, userID, res, readable)
		// What stays is seen by the last look.
		if err != nil || !seen.done || (again && (seen.erased == 0 || seen.left > 0)) {
			return seen.done, err
		}
		atWork, waited, err := c.awaitRuns(ctx, w, res)
		switch {
		case err != nil || ctx.Err() != nil:
			return false, err
		case len(atWork) > 0:
			return false, c.countLeft(ctx, userID, res, atWork...)
		case !waited:
			return true, nil
		}
		// Who was waited for may have left something that others have read since.
	}
}

// eraseRecords erases what names the user in records of runs, and reports whether none
// is left. What those at work name is left until they have ended.
func (c *Cleaner) eraseRecords(ctx context.Context, w Work, userID string, res *exportops.ErasureResult, of func(exportops.TraceKind) bool) (bool, error) {
	for looks := 1; ; looks++ {
		seen, err := c.eraseTraces(ctx, w, userID, res, of)
		if err != nil || !seen.done || seen.left == 0 {
			return seen.done && seen.left == 0, err
		}
		if looks == 1 {
			atWork, _, err := c.awaitRuns(ctx, w, res)
			if err != nil || ctx.Err() != nil {
				return false, err
			}
			if len(atWork) == 0 {
				continue
			}
		}
		return false, c.countLeft(ctx, userID, res)
	}
}

// countLeft looks for what still names the user, or may come to: the runs at work. A run
// may do so in several ways, and is one.
func (c *Cleaner) countLeft(ctx context.Context, userID string, res *exportops.ErasureResult, atWork ...string) (err error) {
	if res.Left, err = c.Store.UserLeft(ctx, userID); err != nil {
		return err
	}
	runs := map[string]bool{}
	for _, id := range atWork {
		runs[id] = true
	}
	res.Left += int64(len(runs))
	res.Strays = 0
	for next := exportops.Cursor(""); ; {
		page, after, err := c.Store.Traces(ctx, userID, nil, next, tracesAtOnce)
		if err != nil {
			return err
		}
		for _, t := range page {
			if t.Kind.OfRun() && runs[t.Key] {
				continue
			}
			res.Left++
			switch {
			case t.Kind.OfRun():
				runs[t.Key] = true
			case t.Kind == exportops.TraceFile:
				res.Strays++
			}
		}
		res.AtWork = int64(len(runs))
		if next = after; next == "" {
			return nil
		}
	}
}
