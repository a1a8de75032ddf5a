package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// EraseUser erases a user: files, rows and metrics as CleanLogs does, then what
// archives hold, then every other trace; and when a look finds nothing left, it keeps a
// receipt. What stays, and why, is in res; the error is for what stopped the whole.
// What dead log cleanups have begun is finished as finish has it.
//
// A run that is at work may yet write down what it has read of the user. When there is
// nothing more to read the erasure waits for it, and what tells whose exports its record is
// about stays until it has ended.
func (c *Cleaner) EraseUser(ctx context.Context, w Work, sel, finish LogWork, res *exportops.ErasureResult) error {
	if res.Errors == nil {
		res.Errors = []exportops.LogError{}
	}
	// The rows tell it of exports that the ledger does not know.
	if free, err := c.eraseRecords(ctx, w, sel.UserID, res, exportops.TraceKind.OfExport); err != nil || !free {
		return err
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
	err := forgetful.CleanLogs(ctx, part, sel, finish, &res.LogCleanupResult)
	if err != nil || (!res.Complete && c.ended(ctx, w)) {
		return err
	}
	all := res.Complete
	res.Complete = false
	if !all || res.FailedCount+res.KeptInProgress+res.KeptFileMayExist+res.KeptHeld > 0 {
		// The ledger still has to know what it tried, and how often.
		return c.countLeft(ctx, sel.UserID, res)
	}
	if done, err := c.eraseArchives(ctx, w, finish, sel.UserID, res); err != nil || !done {
		return err
	}
	if free, err := c.eraseReadable(ctx, w, sel.UserID, res); err != nil || !free {
		return err
	}
	if free, err := c.eraseRecords(ctx, w, sel.UserID, res, exportops.TraceKind.OfRun); err != nil || !free {
		return err
	}
	if seen, err := c.eraseTraces(ctx, w, sel.UserID, res, nil); err != nil || !seen.done {
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
	if err := c.Store.RecordErasure(ctx, cp, userID, receipt); err != nil {
		return err
	}
	*res = kept
	return nil
}
