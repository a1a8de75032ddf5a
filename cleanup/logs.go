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
	// Policy, where set, must let each row go as well. Cut is then no later than the
	// shortest of its retentions before Now.
	Policy *exportops.Policy
	Now    exportops.Time // of the run: what the policy lets go of later is left for the next one
	// LoneCut is for metrics of exports that have no row: recorded before. The zero
	// time with Policy leaves them all.
	LoneCut exportops.Time
	// NoFiles says that a guard has just found none of the files due that go first.
	NoFiles bool
	// Roll sees to it that the hours the rows lie in are rolled up: what is
	// deleted must have been counted. It is called where a row was not.
	Roll func(ctx context.Context) error
}

// logRun is one run of a log cleanup.
type logRun struct {
	*Cleaner
	work Work
	sel  LogWork
	// finish says which rows of others go, that dead runs have archived.
	finish LogWork
	res    *exportops.LogCleanupResult
	pace   pace
	// rolled is set once Roll was called: what is not counted then stays.
	rolled bool
}

// CleanLogs deletes old log rows: first the files that nobody has confirmed to
// be gone, then the rows whose files are, and whose outcomes are counted. Where
// rows are not counted yet, their hours are rolled up before. What dead log cleanups
// have begun comes first: where sel is a user's, that goes as finish has it with rows
// of others, and res counts none of those.
func (c *Cleaner) CleanLogs(ctx context.Context, w Work, sel, finish LogWork, res *exportops.LogCleanupResult) error {
	defer func() { sumUpLogs(res) }()
	r := &logRun{Cleaner: c, work: w, sel: sel, finish: finish, res: res, pace: c.logPace()}
	res.Complete = false
	files, err := r.filesFirst(func(w Work, files *exportops.FileCleanupResult) error {
		w.noneDue = sel.NoFiles
		return r.CleanFiles(ctx, w, r.sel.FileSelection(exportops.At(r.Now())), files)
	})
	if err != nil {
		return err
	}
	del := r.deleteRows
	if c.Archives != nil {
		del = r.archiveRows
	}
	done, err := del(ctx)
	if err == nil && done {
		done, err = r.deleteLone(ctx)
	}
	if err != nil {
		return err
	}
	res.Complete = done && files && res.Remaining == 0
	return nil
}

// FileSelection selects the files that must go before the rows can.
func (w LogWork) FileSelection(now exportops.Time) exportops.Selection {
	if w.UserID != "" {
		return exportops.Selection{Mode: exportops.ByErasure, Now: now, UserID: w.UserID}
	}
	if w.Policy != nil {
		now = w.Now
	}
	return exportops.Selection{Mode: exportops.ByLogCleanup, Now: now, Cut: w.Cut, Policy: w.Policy}
}

// judge decides about one log row.
func (w LogWork) judge(row exportops.LogRow, noFile bool) exportops.LogVerdict {
	v := exportops.JudgeRow(row, noFile, w.Cut)
	if v != exportops.KeepNotDue && !w.Policy.LogDue(row.Candidate, w.Now) {
		return exportops.KeepByPolicy
	}
	return v
}

// filesFirst deletes the files of rows that say expired or failed without a
// confirmation of ours, and reports whether it came to the end. What fails is found
// again, and counted, with the rows.
func (r *logRun) filesFirst(clean func(Work, *exportops.FileCleanupResult) error) (bool, error) {
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
	work.as = func(part any) any {
		whole := any(before)
		if f, ok := part.(exportops.FileCleanupResult); ok {
			whole = sofar(f)
		}
		if r.work.as != nil {
			whole = r.work.as(whole)
		}
		return whole
	}
	work.Progress = func(any) {
		*r.res = sofar(files)
		r.work.report(*r.res)
	}
	err := clean(work, &files)
	*r.res = sofar(files)
	return files.Complete, err
}

// deleteRows deletes page after page, and reports whether it came to the end.
func (r *logRun) deleteRows(ctx context.Context) (bool, error) {
	sel := exportops.LogSelection{Cut: r.sel.Cut, UserID: r.sel.UserID}
	reading, cancel := finishing(ctx)
	defer cancel()
	in := r.reader(reading, sel)
	defer in.stop()
	in.begin("", r.pace.size)
	for again := false; ; {
		page, err := in.page()
		if err != nil {
			return false, err
		}
		if r.ended(ctx, r.work) {
			return false, r.countRest(context.WithoutCancel(ctx), sel, page.at)
		}
		if page.next != "" {
			in.begin(page.next, r.pace.size)
		}
		changed, err := r.deletePage(ctx, &page)
		if err != nil {
			return false, err
		}
		uncounted := !r.rolled && slices.Contains(page.verdicts, exportops.KeepUncounted)
		if uncounted {
			// The aggregation that runs every hour has not been here. Looking at a
			// million rows takes a while, and so waits until it is known to be needed.
			r.rolled = true
			if err := r.sel.Roll(ctx); err != nil {
				return false, fmt.Errorf("roll up the hours before: %w", err)
			}
		}
		if again = uncounted || changed && !again; again {
			in.begin(page.at, r.pace.size) // for what is left of it
			continue
		}
		for i, v := range page.verdicts {
			if v != exportops.DeleteRow {
				countRow(r.res, page.rows[i], v, r.work.Fence.RunID)
			}
		}
		if page.next == "" {
			return true, nil
		}
	}
}

// deletePage deletes what may go of a page, in transactions that keep nobody
// waiting for long. What was changed since it was read stays, uncounted; it
// reports whether there is any.
func (r *logRun) deletePage(ctx context.Context, page *logPage) (changed bool, err error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	var at []int // of the rows that go
	for i, v := range page.verdicts {
		if v == exportops.DeleteRow {
			at = append(at, i)
		}
	}
	for first := true; first || len(at) > 0; first = false { // none as well renew the lease
		n := min(len(at), r.pace.size)
		gone, err := r.deleteBatch(ctx, page, at[:n])
		if err != nil {
			return changed, err
		}
		for i, gone := range gone {
			if !gone {
				page.verdicts[at[i]], changed = exportops.KeepUncounted, true
			}
		}
		at = at[n:]
	}
	return changed, nil
}

// deleteBatch deletes some rows of a page, and counts those that went.
func (r *logRun) deleteBatch(ctx context.Context, page *logPage, at []int) (gone []bool, err error) {
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return nil, err
	}
	rows := make([]exportops.LogRow, len(at))
	for i, n := range at {
		rows[i] = page.rows[n]
	}
	var counted exportops.LogCleanupResult
	d, err := r.Store.DeleteLogRows(ctx, cp, rows, func(d exportops.LogDeletion) (json.RawMessage, error) {
		// Rows that are gone cannot be counted by a run that takes over.
		counted = *r.res
		for _, gone := range d.Gone {
			if gone {
				counted.DeletedCount++
			}
		}
		return r.work.record(counted)
	})
	if err != nil {
		return nil, fmt.Errorf("delete log rows: %w", err)
	}
	r.pace.tookFor(len(rows), d.Took)
	*r.res = counted
	r.work.report(*r.res)
	return d.Gone, nil
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
	case exportops.KeepHeld:
		res.KeptHeld++
	case exportops.KeepByPolicy:
		res.KeptByPolicy++
	case exportops.KeepChanged:
		res.Changed++
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
		res.KeptByPolicy + res.Changed + res.WouldDelete + res.Remaining
}
