package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/exportops/exportops"
)

// LogWork says which log rows a cleanup is about.
type LogWork struct {
	Cut    exportops.Time // timestamp before; zero with UserID takes every age
	UserID string         // only this user's; "" for all
	// Roll sees to it that the hours the rows lie in are rolled up: what is
	// deleted must have been counted. It is called where a row was not.
	Roll func(ctx context.Context) error
}

// logRun is one run of a log cleanup.
type logRun struct {
	*Cleaner
	work Work
	sel  LogWork
	res  *exportops.LogCleanupResult
	pace pace
	// rolled is set once Roll was called: what is not counted then stays.
	rolled bool
}

// CleanLogs deletes old log rows: first the files that nobody has confirmed to
// be gone, then the rows whose files are, and whose outcomes are counted. Where
// rows are not counted yet, their hours are rolled up before.
func (c *Cleaner) CleanLogs(ctx context.Context, w Work, sel LogWork, res *exportops.LogCleanupResult) error {
	defer func() { sumUpLogs(res) }()
	r := &logRun{Cleaner: c, work: w, sel: sel, res: res, pace: pace{size: 1000, least: 50, most: 4000}}
	res.Complete = false
	files, err := r.cleanFiles(ctx)
	if err != nil {
		return err
	}
	done, err := r.deleteRows(ctx)
	if err == nil && done {
		done, err = r.deleteLone(ctx)
	}
	if err != nil {
		return err
	}
	res.Complete = done && files && res.Remaining == 0
	return nil
}

// fileSelection selects the files that must go before the rows can.
func (w LogWork) fileSelection(now exportops.Time) exportops.Selection {
	if w.UserID != "" {
		return exportops.Selection{Mode: exportops.ByErasure, Now: now, UserID: w.UserID}
	}
	return exportops.Selection{Mode: exportops.ByLogCleanup, Now: now, Cut: w.Cut}
}

// cleanFiles deletes the files of rows that say expired or failed without a
// confirmation of ours. What fails is found again, and counted, with the rows.
func (r *logRun) cleanFiles(ctx context.Context) (bool, error) {
	var files exportops.FileCleanupResult
	before := *r.res
	sofar := func(f exportops.FileCleanupResult) exportops.LogCleanupResult {
		now := before
		now.FilesDeleted += f.DeletedCount
		now.FilesAbsent += f.AlreadyAbsent
		return now
	}
	// The run's record holds the result of the whole, this part included.
	work := r.work
	work.as = func(f exportops.FileCleanupResult) any { return sofar(f) }
	work.Progress = func(any) {
		*r.res = sofar(files)
		r.work.report(*r.res)
	}
	err := r.CleanFiles(ctx, work, r.sel.fileSelection(exportops.At(r.Now())), &files)
	*r.res = sofar(files)
	return files.Complete, err
}

// deleteRows deletes page after page, and reports whether it came to the end.
func (r *logRun) deleteRows(ctx context.Context) (bool, error) {
	sel := exportops.LogSelection{Cut: r.sel.Cut, UserID: r.sel.UserID}
	var next exportops.Cursor
	for {
		if r.ended(ctx, r.work) {
			return false, r.countRest(context.WithoutCancel(ctx), sel, next)
		}
		page, err := r.deletePage(ctx, sel, next)
		if err != nil {
			return false, err
		}
		if !r.rolled && slices.Contains(page.Verdicts, exportops.KeepUncounted) {
			// The aggregation that runs every hour has not been here. Looking at a
			// million rows takes a while, and so waits until it is known to be needed.
			r.rolled = true
			if err := r.sel.Roll(ctx); err != nil {
				return false, fmt.Errorf("roll up the hours before: %w", err)
			}
			continue // with what is left of the page
		}
		for i, v := range page.Verdicts {
			if v != exportops.DeleteRow {
				countRow(r.res, page.Rows[i], v, r.work.Fence.RunID)
			}
		}
		if next = page.Next; next == "" {
			return true, nil
		}
	}
}

// deletePage deletes what may go of a page, and counts that alone.
func (r *logRun) deletePage(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) (exportops.LogPage, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, r.res)
	if err != nil {
		return exportops.LogPage{}, err
	}
	// Rows that are gone cannot be counted by a run that takes over.
	counted := *r.res
	cp.Done = func() (json.RawMessage, error) { return json.Marshal(counted) }
	page, err := r.Store.DeleteLogRows(ctx, cp, sel, after, r.pace.size, func(row exportops.LogRow) exportops.LogVerdict {
		v := exportops.JudgeRow(row, r.Locator.Resolve(row.FileURL, row.UserID).NoFile, sel.Cut)
		if v == exportops.DeleteRow {
			counted.DeletedCount++
		}
		return v
	})
	if err != nil {
		return page, fmt.Errorf("delete log rows: %w", err)
	}
	r.pace.took(page.Took)
	*r.res = counted
	r.work.report(*r.res)
	return page, nil
}

// countRest counts the rows that were not reached.
func (r *logRun) countRest(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor) error {
	n, err := r.Store.CountLogRows(ctx, sel, after)
	r.res.Remaining += n
	return err
}

// countRow adds one verdict to a result. A row whose file could not be deleted
// is a failure; one whose file was set aside in quarantine before this run is
// kept.
func countRow(res *exportops.LogCleanupResult, row exportops.LogRow, v exportops.LogVerdict, run string) {
	switch v {
	case exportops.DeleteRow:
		res.DeletedCount++
	case exportops.KeepInProgress:
		res.KeptInProgress++
	case exportops.KeepFileMayExist:
		if row.Prior == nil || (row.Prior.State != exportops.DeletionFailed && !row.Prior.FailedIn(run)) {
			res.KeptFileMayExist++
			return
		}
		failRow(res, row, row.Prior.Error)
	case exportops.KeepUncounted:
		res.Remaining++
	case exportops.KeepNotDue:
	}
}

func failRow(res *exportops.LogCleanupResult, row exportops.LogRow, reason string) {
	res.FailedCount++
	res.ErrorsTotal++
	if len(res.Errors) < exportops.MaxErrors {
		res.Errors = append(res.Errors, exportops.LogError{LogID: row.ID, Error: reason})
	}
}

// sumUpLogs makes TotalFound what it says it is.
func sumUpLogs(res *exportops.LogCleanupResult) {
	if res.Errors == nil {
		res.Errors = []exportops.LogError{}
	}
	res.TotalFound = res.DeletedCount + res.FailedCount + res.KeptInProgress + res.KeptFileMayExist + res.KeptHeld +
		res.WouldDelete + res.Remaining
}
