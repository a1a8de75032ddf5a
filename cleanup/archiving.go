package cleanup

import (
	"context"
	"fmt"
	"slices"

	"github.com/exportops/exportops"
)

// Archiver keeps log rows before they are deleted.
type Archiver interface {
	ArchiveMeasurer
	Eraser
	// Place names the storage that archives are written to.
	Place() string
	// Month is the month whose archives a row with this timestamp belongs to; false
	// where that is no time.
	Month(timestamp string) (exportops.Time, bool)
	// Write archives rows of a month, as many of the ids as one archive has room for,
	// and leaves those of them that cannot be archived, or are of another month by
	// now. An archive with the id 0 is none.
	Write(ctx context.Context, next func() (exportops.Checkpoint, error), month exportops.Time, ids []string) (
		a exportops.Archive, read int, left []string, err error)
	// Prove reads an archive back. The fault says what is not as it was written; an
	// error, that this could not be found out.
	Prove(ctx context.Context, a exportops.Archive) (fault string, err error)
	// Register records archives that the database does not know, until stop says so;
	// without next it only looks.
	Register(ctx context.Context, next func() (exportops.Checkpoint, error), stop func() bool, res *exportops.RegisterResult) error
}

// ArchiveMeasurer finds out what archives would take, and hold, and writes nothing.
type ArchiveMeasurer interface {
	Measure() exportops.ArchiveMeasure
	// Holding counts the rows of a user in an archive.
	Holding(ctx context.Context, a exportops.Archive, userID string) (int64, error)
}

// archiveMost is how many rows one archive holds at most, and how many are gathered
// before the fullest month is archived.
const archiveMost = 50_000

// archivedRow is a row that is to be archived, with what a plan saw of it.
type archivedRow struct{ id, exportID, seen string }

// archiveRun archives log rows, and deletes those whose archive is proven.
type archiveRun struct {
	*logRun
	months map[exportops.Time][]archivedRow
	held   int   // rows in all months
	open   int64 // rows of the archive at hand that are not dealt with yet
	// earlier says that the archive at hand is what a dead run has begun.
	earlier bool

	// from, where set, is the plan that is applied, and listed what it saw of the rows
	// of the archive at hand: no others go.
	from   *Plan
	listed listing
	// others are rows of other users, among the members at hand of an earlier archive.
	others map[string]bool
}

// archiveRows archives and deletes page after page, and reports whether it came to
// the end. What earlier runs have begun is finished first.
func (r *logRun) archiveRows(ctx context.Context) (bool, error) {
	a := &archiveRun{logRun: r, months: map[exportops.Time][]archivedRow{}}
	done, err := a.finishEarlier(ctx)
	if err != nil || !done {
		return a.endEarly(ctx, err)
	}
	sel := a.selection()
	reading, cancel := finishing(ctx)
	defer cancel()
	for at := exportops.Cursor(""); ; {
		page, err := r.readLogs(reading, sel, at)
		if err != nil {
			return false, err
		}
		if r.ended(ctx, r.work) {
			return a.endEarly(ctx, nil)
		}
		rolled, err := a.rollFor(ctx, page)
		if err != nil {
			return false, err
		}
		if rolled {
			continue // to read it again
		}
		a.gather(page)
		for a.held >= archiveMost || page.next == "" && a.held > 0 {
			done, err := a.archiveFullest(ctx)
			if err != nil || !done {
				return a.endEarly(ctx, err)
			}
		}
		if at = page.next; at == "" {
			return true, nil
		}
	}
}

// rollFor rolls up, once in a run, where a page holds rows that are not counted, and
// reports whether it did.
func (r *archiveRun) rollFor(ctx context.Context, page logPage) (bool, error) {
	if r.rolled || !slices.Contains(page.verdicts, exportops.KeepUncounted) {
		return false, nil
	}
	r.rolled = true
	if err := r.sel.Roll(ctx); err != nil {
		return false, fmt.Errorf("roll up the hours before: %w", err)
	}
	return true, nil
}

// readLogs reads and judges one page.
func (r *logRun) readLogs(ctx context.Context, sel exportops.LogSelection, at exportops.Cursor) (p logPage, err error) {
	p.at = at
	if p.rows, p.next, err = r.Store.LogRows(ctx, sel, at, logPageSize); err != nil {
		return p, fmt.Errorf("read log rows: %w", err)
	}
	p.verdicts = make([]exportops.LogVerdict, len(p.rows))
	for i, row := range p.rows {
		p.verdicts[i] = r.sel.judge(row, r.Locator.Resolve(row.FileURL, row.UserID).NoFile)
	}
	return p, nil
}

func (r *archiveRun) selection() exportops.LogSelection {
	return exportops.LogSelection{Cut: r.sel.Cut, UserID: r.sel.UserID}
}

// endEarly counts what is left of the selection and is not counted otherwise. Where
// the run fails, that must not hide why.
func (r *archiveRun) endEarly(ctx context.Context, failed error) (bool, error) {
	n, err := r.Store.CountLogRows(context.WithoutCancel(ctx), r.selection(), "")
	if err == nil {
		r.res.Remaining = max(0, n-r.res.KeptInProgress-r.res.KeptFileMayExist-r.res.KeptHeld-r.res.KeptByPolicy-r.res.FailedCount)
	}
	if failed != nil {
		return false, failed
	}
	return false, err
}

// gather takes the rows of a page that may go, and counts the others.
func (r *archiveRun) gather(page logPage) {
	for i, v := range page.verdicts {
		row := page.rows[i]
		if v != exportops.DeleteRow {
			countRow(r.res, row, v, r.work.Fence.RunID)
			continue
		}
		if row.ID == "" {
			failRow(r.res, row, "the row has no id that an archive could name")
			continue
		}
		month, ok := r.Archives.Month(row.Timestamp)
		if !ok { // a user's own cleanup takes rows of no time
			month, _ = r.Archives.Month(exportops.At(r.Now()).String())
		}
		of := archivedRow{id: row.ID, exportID: row.ExportID}
		if r.from != nil {
			of.seen = seenOf(row.Candidate)
		}
		r.months[month] = append(r.months[month], of)
		r.held++
	}
}

// archiveFullest archives and deletes what was gathered of one month. It reports
// whether the run goes on.
func (r *archiveRun) archiveFullest(ctx context.Context) (bool, error) {
	var month exportops.Time
	for m, rows := range r.months {
		if n := len(r.months[month]); len(rows) > n || len(rows) == n && m.Before(month.Time) {
			month = m
		}
	}
	rows := r.months[month]
	n := min(len(rows), archiveMost)
	ids := make([]string, n)
	for i, row := range rows[:n] {
		ids[i] = row.id
	}
	if r.ended(ctx, r.work) {
		return false, nil
	}
	working, cancel := finishing(ctx)
	defer cancel()
	a, read, left, err := r.Archives.Write(working, r.next, month, ids)
	if err != nil {
		return false, fmt.Errorf("archive log rows of %s: %w", month.Format("2006-01"), err)
	}
	if err := r.leave(working, month, rows[:read], left); err != nil {
		return false, err
	}
	if r.held -= read; read == len(rows) {
		delete(r.months, month)
	} else {
		r.months[month] = rows[read:]
	}
	if a.ID == 0 {
		return true, nil
	}
	r.open = a.Rows
	if r.from != nil {
		r.listed = make(listing, read)
		for _, row := range rows[:read] {
			r.listed[row.id] = row.seen
		}
	}
	return r.complete(ctx, a)
}

// leave counts rows that no archive can give back as they are, and those that moved to
// another month, which a later run judges again. Some are gone.
func (r *archiveRun) leave(ctx context.Context, month exportops.Time, rows []archivedRow, left []string) error {
	if len(left) == 0 {
		return nil
	}
	unfit := make(map[string]bool, len(left))
	for _, id := range left {
		unfit[id] = true
	}
	var exports []string
	for _, row := range rows {
		if unfit[row.id] {
			exports = append(exports, row.exportID)
		}
	}
	there, err := r.Store.CandidatesByID(ctx, exports)
	if err != nil {
		return fmt.Errorf("read log rows again: %w", err)
	}
	for _, c := range there {
		if of, ok := r.Archives.Month(c.Timestamp); ok && !of.Equal(month.Time) {
			r.res.Remaining++
			continue
		}
		failRow(r.res, exportops.LogRow{Candidate: c}, "the row holds values that an archive could not give back")
	}
	return nil
}

func (r *archiveRun) next() (exportops.Checkpoint, error) { return r.checkpoint(r.work, *r.res) }

// move moves an archive on, with the run's result as it is then.
func (r *archiveRun) move(ctx context.Context, a *exportops.Archive, to exportops.ArchiveState, why string) error {
	counted := *r.res
	if to == exportops.ArchiveVerified && a.State != to {
		if err := r.countArchived(ctx, *a, &counted); err != nil {
			return err
		}
	}
	cp, err := r.checkpoint(r.work, counted)
	if err != nil {
		return err
	}
	moved, err := r.Store.MoveArchive(ctx, cp, a.ID, to, why)
	if err != nil {
		return fmt.Errorf("archive %s: %w", a.Key, err)
	}
	*a, *r.res = moved, counted
	r.work.report(*r.res)
	return nil
}

// complete brings an archive that was written to its end: it is read back, and then
// its rows are deleted. It reports whether the run goes on.
func (r *archiveRun) complete(ctx context.Context, a exportops.Archive) (bool, error) {
	working, cancel := finishing(ctx)
	defer cancel()
	fault, err := r.Archives.Prove(working, a)
	if err != nil {
		return false, fmt.Errorf("read archive %s back: %w", a.Key, err)
	}
	if fault != "" {
		return false, r.distrust(working, a, fault)
	}
	for _, to := range []exportops.ArchiveState{exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting} {
		if a.State == to || !a.State.MayBecome(to) {
			continue
		}
		if err := r.move(working, &a, to, ""); err != nil {
			return false, err
		}
	}
	return r.deleteMembers(ctx, a)
}

// distrust gives an archive up that is not what was written, as long as no row was
// deleted because of it. The rows are archived anew by a later run.
func (r *archiveRun) distrust(ctx context.Context, a exportops.Archive, fault string) error {
	to := exportops.ArchiveAbandoned
	if !a.State.MayBecome(to) {
		to = a.State
	}
	e := &exportops.Error{
		Kind: exportops.KindUnavailable, Field: "EXPORT_ARCHIVE_URL",
		Message: fmt.Sprintf("archive %s was read back: %s; no row was deleted because of it", a.Key, fault),
		Hint:    "run the log cleanup again, which archives its rows anew",
	}
	if to == a.State {
		e.Message = fmt.Sprintf("archive %s, of which %d rows are deleted, was read back: %s", a.Key, a.Deleted, fault)
		e.Hint = "restore the object from a backup or an earlier version; until then no log row is deleted"
	}
	if err := r.move(ctx, &a, to, fault); err != nil {
		return err
	}
	return e
}

// finishEarlier finishes what dead runs have begun, under a plan as far as that lists
// it. What never came to be is given up: its rows are met again.
func (r *archiveRun) finishEarlier(ctx context.Context) (bool, error) {
	cp, err := r.next()
	if err != nil {
		return false, err
	}
	working, cancel := finishing(ctx)
	defer cancel()
	r.earlier = true
	defer func() { r.earlier = false }()
	// What is being written is locked, and no part of it.
	if _, err := r.Archives.Sweep(working); err != nil {
		return false, err
	}
	all, err := r.Store.AdoptArchives(working, cp)
	if err != nil {
		return false, fmt.Errorf("look for unfinished archives: %w", err)
	}
	for _, a := range all {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		if a.Replaces != 0 && !a.State.Trusted() { // an erasure writes it anew
			if err := r.move(working, &a, exportops.ArchiveAbandoned, "the erasure that wrote it did not end"); err != nil {
				return false, err
			}
			continue
		}
		mine, err := r.listMembers(working, a)
		if err != nil {
			return false, err
		}
		if !mine {
			r.res.ArchivesLeft++
			continue
		}
		if a.State == exportops.ArchiveIntended || a.State == exportops.ArchiveWritten {
			fault, err := r.Archives.Prove(working, a)
			switch {
			case err != nil:
				return false, fmt.Errorf("finish archive %s: %w", a.Key, err)
			case fault != "":
				if err := r.move(working, &a, exportops.ArchiveAbandoned, fault); err != nil {
					return false, err
				}
				continue
			}
		}
		if done, err := r.complete(ctx, a); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}
