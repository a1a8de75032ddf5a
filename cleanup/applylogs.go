package cleanup

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/exportops/exportops"
)

// logPlanRun applies a plan of log rows.
type logPlanRun struct {
	*archiveRun
	reached int64 // entries that were due, and came to their turn
}

// ApplyLogPlan deletes the log rows that a plan lists, of those that still are what
// it saw, and that sel lets go: first the files that it lists with them, then the
// rows, archived as ever where that is on. No other row goes, whoever archived it.
// What is gone already does not count again.
func (c *Cleaner) ApplyLogPlan(ctx context.Context, w Work, sel LogWork, p *Plan, res *exportops.LogCleanupResult) error {
	defer func() { sumUpLogs(res) }()
	run := &logRun{Cleaner: c, work: w, sel: sel, res: res, pace: c.logPace()}
	r := &logPlanRun{archiveRun: &archiveRun{logRun: run, months: map[exportops.Time][]archivedRow{}, from: p}}
	res.Complete, res.Plan = false, p.SHA256
	files, err := r.filesFirst(func(w Work, files *exportops.FileCleanupResult) error {
		of := c.fileRun(w, sel.FileSelection(exportops.At(c.Now())), files)
		return (&planRun{fileRun: of, entries: p.fileEntries, due: p.Totals.Files}).apply(ctx)
	})
	if err != nil {
		return err
	}
	done, err := r.run(ctx)
	if err != nil || !done {
		r.countRest()
		return err
	}
	res.Complete = files && res.Remaining == 0
	return nil
}

// run reports whether it came to the end.
func (r *logPlanRun) run(ctx context.Context) (bool, error) {
	if r.Archives != nil {
		if done, err := r.finishEarlier(ctx); err != nil || !done {
			return false, err
		}
	}
	batch := make([]LogEntry, 0, logPageSize)
	for e, err := range r.from.LogEntries() {
		if err != nil {
			return false, err
		}
		if e.Do != PlanDelete {
			continue
		}
		if batch = append(batch, e); len(batch) < logPageSize {
			continue
		}
		if done, err := r.batch(ctx, batch); err != nil || !done {
			return false, err
		}
		batch = batch[:0]
	}
	if done, err := r.batch(ctx, batch); err != nil || !done {
		return false, err
	}
	return r.archiveDownTo(ctx, 0)
}

func (r *logPlanRun) batch(ctx context.Context, batch []LogEntry) (bool, error) {
	if len(batch) == 0 {
		return true, nil
	}
	if r.ended(ctx, r.work) {
		return false, nil
	}
	for again := false; ; {
		page, err := r.read(ctx, batch)
		if err != nil {
			return false, err
		}
		changed := false
		if r.Archives == nil {
			if changed, err = r.deletePage(ctx, &page); err != nil {
				return false, err
			}
		}
		rolled, err := r.rollFor(ctx, page)
		if err != nil {
			return false, err
		}
		if again = rolled || changed && !again; again {
			continue // for what is left of it
		}
		r.reached += int64(len(batch))
		if r.Archives != nil {
			r.gather(page)
			return r.archiveDownTo(ctx, archiveMost-1)
		}
		for i, v := range page.verdicts {
			if v != exportops.DeleteRow {
				countRow(r.res, page.rows[i], v, r.work.Fence.RunID)
			}
		}
		return true, nil
	}
}

// read reads and judges the rows of entries, as far as they are there.
func (r *logPlanRun) read(ctx context.Context, batch []LogEntry) (p logPage, err error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	saw := make(listing, len(batch)) // no plan of ours lists a row twice
	for _, e := range batch {
		saw[e.ID] = e.Seen
	}
	if p.rows, err = r.Store.LogRowsByID(ctx, slices.Sorted(maps.Keys(saw))); err != nil {
		return p, fmt.Errorf("read log rows: %w", err)
	}
	p.verdicts = make([]exportops.LogVerdict, len(p.rows))
	for i, row := range p.rows {
		if !saw.has(row) {
			p.verdicts[i] = exportops.KeepChanged
			continue
		}
		v := r.sel.judge(row, r.Locator.Resolve(row.FileURL, row.UserID).NoFile)
		if v == exportops.KeepNotDue { // the retention is longer than it was
			v = exportops.KeepChanged
		}
		p.verdicts[i] = v
	}
	return p, nil
}

// archiveDownTo archives and deletes what was gathered, until no more rows are held
// than that.
func (r *logPlanRun) archiveDownTo(ctx context.Context, most int) (bool, error) {
	for r.held > most {
		if done, err := r.archiveFullest(ctx); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// countRest counts what the run did not come to. Rows that a holder before it
// deleted are counted already, and may not have been reached again.
func (r *logPlanRun) countRest() {
	dealt := r.res.DeletedCount + r.res.FailedCount + r.res.KeptInProgress + r.res.KeptFileMayExist + r.res.KeptHeld +
		r.res.KeptByPolicy + r.res.Changed + r.res.Remaining
	r.res.Remaining += max(0, r.from.Totals.Due()-max(dealt, r.reached-int64(r.held)-r.open))
}
