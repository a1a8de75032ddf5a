package cleanup

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// FileReader is the part of a file store that changes nothing.
type FileReader interface {
	ID() string
	Check(ctx context.Context) (empty bool, err error)
	Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error)
	MaxBatch() int
}

// DryRun finds what a cleanup would do, with stores that cannot write. Its
// decisions are those of the real run.
type DryRun struct {
	Store    Reader
	Files    FileReader
	Locator  exportops.Locator
	Now      func() time.Time
	Deadline time.Time // ends it between two pages, Complete false; zero for none
}

func (d DryRun) ended() bool { return !d.Deadline.IsZero() && !d.Now().Before(d.Deadline) }

// dryPage is how many rows are read at once.
const dryPage = 1000

// CleanFiles counts what Cleaner.CleanFiles would do now.
func (d DryRun) CleanFiles(ctx context.Context, sel exportops.Selection) (exportops.FileCleanupResult, error) {
	res := exportops.FileCleanupResult{DryRun: true}
	if err := checkRoot(ctx, d.Store, d.Files, d.Locator); err != nil {
		return res, err
	}
	shared, err := readSharedKeys(ctx, d.Store, d.Locator, sel.Mode, sel.Now)
	if err != nil {
		return res, err
	}
	plan := &planner{sel: sel, locator: d.Locator, shared: shared}
	var next exportops.Cursor
	for {
		page, after, err := d.Store.Candidates(ctx, sel, next, dryPage)
		if err != nil {
			return res, err
		}
		later := tally(&res, page, plan.decide(page))
		if err := d.lookExactly(ctx, plan, later, &res); err != nil {
			return res, err
		}
		if next = after; next == "" || d.ended() {
			res.Complete = next == ""
			sumUp(&res)
			return res, nil
		}
	}
}

// lookExactly decides about the exports that share a key with another.
func (d DryRun) lookExactly(ctx context.Context, plan *planner, part []postponed, res *exportops.FileCleanupResult) error {
	if len(part) == 0 {
		return nil
	}
	l, err := newLook(ctx, d.Store, d.Files, plan, part, plan.sel.Now)
	if err != nil {
		return err
	}
	for _, batch := range l.batches(part, dryPage) {
		ids, watch := l.names(batch)
		page, err := d.Store.CandidatesByID(ctx, ids)
		if err != nil {
			return err
		}
		others, err := d.Store.CandidatesByID(ctx, watch)
		if err != nil {
			return err
		}
		tally(res, page, l.decide(page, others))
	}
	return nil
}

// tally counts decisions as what they would lead to, and returns those that
// need an exact look.
func tally(res *exportops.FileCleanupResult, page []exportops.Candidate, decisions []exportops.Decision) (later []postponed) {
	for i, d := range decisions {
		switch d.Verdict {
		case exportops.Claim:
			res.WouldDelete++
		case exportops.Expire:
			res.NoFile++
		case exportops.Refuse:
			res.FailedCount++
			addError(res, page[i].ExportID, d.Reason)
		case exportops.Postpone:
			later = append(later, postponed{exportID: page[i].ExportID, reason: d.Reason})
		case exportops.PassOver:
			countPassed(res, page[i], d.Reason)
		}
	}
	return later
}

// CleanLogs counts what Cleaner.CleanLogs would do now. A row whose file would
// be dealt with first, or whose hour would be rolled up first, would go.
func (d DryRun) CleanLogs(ctx context.Context, w LogWork, now exportops.Time) (exportops.LogCleanupResult, error) {
	res := exportops.LogCleanupResult{DryRun: true}
	plan := &planner{sel: w.fileSelection(now), locator: d.Locator}
	sel := exportops.LogSelection{Cut: w.Cut, UserID: w.UserID}
	var next exportops.Cursor
	for {
		page, after, err := d.Store.LogRows(ctx, sel, next, dryPage)
		if err != nil {
			return res, err
		}
		for _, row := range page {
			v := exportops.JudgeRow(row, d.Locator.Resolve(row.FileURL, row.UserID).NoFile, sel.Cut)
			switch {
			case v == exportops.DeleteRow, v == exportops.KeepUncounted,
				v == exportops.KeepFileMayExist && plan.decideOne(row.Candidate).Verdict == exportops.Claim:
				res.WouldDelete++
			default:
				countRow(&res, row, v, "")
			}
		}
		if next = after; next == "" || d.ended() {
			res.Complete = next == ""
			sumUpLogs(&res)
			return res, nil
		}
	}
}
