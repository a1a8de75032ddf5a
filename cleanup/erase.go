package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/exportops/exportops"
)

// tracesAtOnce is how many traces one transaction erases.
const tracesAtOnce = 500

// EraseUser erases a user: files, rows and metrics as CleanLogs does, then what
// archives hold, then every other trace; and when a look finds nothing left, it keeps a
// receipt. What stays, and why, is in res; the error is for what stopped the whole.
// What dead log cleanups have begun is finished as finish has it. A run that is at work
// may write down again what it has read of the user: until it has ended, the traces that
// tell whose exports its record is about stay.
func (c *Cleaner) EraseUser(ctx context.Context, w Work, sel, finish LogWork, res *exportops.ErasureResult) error {
	if res.Errors == nil {
		res.Errors = []exportops.LogError{}
	}
	if _, done, err := c.eraseTraces(ctx, w, sel.UserID, res, exportops.Trace.OfRun); err != nil || !done {
		return err // while there are rows which say whose exports they are about
	}
	part := w
	part.as = func(p any) any {
		whole := *res
		if logs, ok := p.(exportops.LogCleanupResult); ok {
			whole.LogCleanupResult = logs
		}
		return whole
	}
	forgetful := *c
	forgetful.Archives = nil // what is erased is kept nowhere
	if err := forgetful.CleanLogs(ctx, part, sel, finish, &res.LogCleanupResult); err != nil || !res.Complete {
		return err
	}
	res.Complete = false
	if res.FailedCount+res.KeptInProgress+res.KeptFileMayExist+res.KeptHeld > 0 {
		// The ledger still has to know what it tried, and how often.
		return c.countLeft(ctx, sel.UserID, res)
	}
	if done, err := c.eraseArchives(ctx, w, finish, sel.UserID, res); err != nil || !done {
		return err
	}
	if free, err := c.eraseRecords(ctx, w, sel.UserID, res); err != nil || !free {
		return err
	}
	if _, done, err := c.eraseTraces(ctx, w, sel.UserID, res, anywhere); err != nil || !done {
		return err
	}
	// What was restored before the archives were without the user is there to be
	// seen by now, or is not restored any more.
	cp, err := c.checkpoint(w, *res)
	if err != nil {
		return err
	}
	if err := c.Store.TurnArchiveEpoch(ctx, cp); err != nil {
		return err
	}
	if err := c.countLeft(ctx, sel.UserID, res); err != nil || res.Left > 0 {
		return err
	}
	if err := c.Store.Scrub(ctx); err != nil {
		return fmt.Errorf("make the database forget: %w", err)
	}
	res.Complete = true
	return c.keepReceipt(ctx, w, sel.UserID, res)
}

// eraseRecords erases what names the user in records of runs, and reports whether none
// is left.
func (c *Cleaner) eraseRecords(ctx context.Context, w Work, userID string, res *exportops.ErasureResult) (bool, error) {
	found, done, err := c.eraseTraces(ctx, w, userID, res, exportops.Trace.OfRun)
	if err != nil || !done || found == 0 {
		return done && found == 0, err
	}
	if err := c.countLeft(ctx, userID, res); err != nil || res.AtWork > 0 {
		return false, err
	}
	res.Left = 0
	return true, nil
}

func anywhere(exportops.Trace) bool { return true }

// eraseTraces erases the traces that are in some places. It returns how many it found,
// and whether it came to the end.
func (c *Cleaner) eraseTraces(ctx context.Context, w Work, userID string, res *exportops.ErasureResult, in func(exportops.Trace) bool) (
	found int, done bool, err error,
) {
	for next := exportops.Cursor(""); ; {
		if c.ended(ctx, w) {
			return found, false, nil
		}
		page, after, err := c.Store.Traces(ctx, userID, next, tracesAtOnce)
		if err != nil {
			return found, false, err
		}
		page = slices.DeleteFunc(page, func(t exportops.Trace) bool { return !in(t) })
		found += len(page)
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
				return found, false, err
			}
			// What is gone cannot be counted by a run that takes over.
			_, err = c.Store.EraseTraces(ctx, cp, userID, traces, func(n int64) (json.RawMessage, error) {
				counted = *res
				counted.Count(kind, n)
				return w.record(counted)
			})
			if err != nil {
				return found, false, err
			}
			*res = counted
		}
		w.report(res)
		if next = after; next == "" {
			return found, true, nil
		}
	}
}

// countLeft looks for what still names the user. A run may do so in several ways, and is
// one that is at work.
func (c *Cleaner) countLeft(ctx context.Context, userID string, res *exportops.ErasureResult) (err error) {
	if res.Left, err = c.Store.UserLeft(ctx, userID); err != nil {
		return err
	}
	runs := map[string]bool{}
	for next := exportops.Cursor(""); ; {
		page, after, err := c.Store.Traces(ctx, userID, next, tracesAtOnce)
		if err != nil {
			return err
		}
		for _, t := range page {
			if t.OfRun() && runs[t.Key] {
				continue
			}
			if res.Left++; t.OfRun() {
				runs[t.Key] = true
			}
		}
		res.AtWork = int64(len(runs))
		if next = after; next == "" {
			return nil
		}
	}
}

// keepReceipt keeps the proof, once for the run.
func (c *Cleaner) keepReceipt(ctx context.Context, w Work, userID string, res *exportops.ErasureResult) error {
	if res.Receipt != nil {
		return nil
	}
	hash, err := c.Store.UserHash(ctx, userID)
	if err != nil {
		return err
	}
	receipt := exportops.Erasure{
		ID: exportops.NewID(), UserHash: hash, RunID: w.Fence.RunID, FinishedAt: exportops.At(c.Now()),
		Files: res.FilesDeleted + res.FilesAbsent, Rows: res.DeletedCount, Metrics: res.LoneMetrics,
		Counters: res.Counters, Entries: res.Entries, Records: res.Records,
		Archives: res.Archives, ArchivedRows: res.Archived, ArchivesSHA256: res.ArchivesSHA256,
		RestoredRows: res.Restored,
	}
	receipt.Seal()
	kept := *res
	kept.Receipt = &receipt
	cp, err := c.checkpoint(w, kept)
	if err != nil {
		return err
	}
	if err := c.Store.RecordErasure(ctx, cp, receipt); err != nil {
		return err
	}
	*res = kept
	return nil
}
