package cleanup

import (
	"context"

	"github.com/exportops/exportops"
)

// CleanLogs counts what Cleaner.CleanLogs would do now. A row whose file would
// be dealt with first, or whose hour would be rolled up first, would go.
func (d DryRun) CleanLogs(ctx context.Context, w LogWork, now exportops.Time) (exportops.LogCleanupResult, error) {
	res := exportops.LogCleanupResult{DryRun: true}
	plan, err := d.plan(ctx, w.fileSelection(now))
	if err != nil {
		return res, err
	}
	sel := exportops.LogSelection{Cut: w.Cut, UserID: w.UserID}
	var next exportops.Cursor
	for {
		page, after, err := d.Store.LogRows(ctx, sel, next, dryPage)
		if err != nil {
			return res, err
		}
		if err := d.judgeRows(ctx, plan, w, page, &res); err != nil {
			return res, err
		}
		if next = after; next == "" || d.ended() {
			res.Complete = next == ""
			sumUpLogs(&res)
			return res, nil
		}
	}
}

// judgeRows counts one page.
func (d DryRun) judgeRows(ctx context.Context, plan *planner, w LogWork, page []exportops.LogRow,
	res *exportops.LogCleanupResult,
) error {
	verdicts := make([]exportops.LogVerdict, len(page))
	var files []exportops.Candidate
	for i, row := range page {
		verdicts[i] = w.judge(row, d.Locator.Resolve(row.FileURL, row.UserID).NoFile)
		if verdicts[i] == exportops.KeepFileMayExist {
			files = append(files, row.Candidate)
		}
	}
	decisions, err := d.decideFiles(ctx, plan, files)
	if err != nil {
		return err
	}
	for i, row := range page {
		v, file := verdicts[i], decisions[row.ExportID]
		switch {
		case v == exportops.DeleteRow, v == exportops.KeepUncounted:
			res.WouldDelete++
		case v == exportops.KeepFileMayExist && file.Verdict == exportops.Claim:
			res.WouldDelete++
		case v == exportops.KeepFileMayExist && file.Verdict == exportops.Refuse:
			failRow(res, row, file.Reason)
		default:
			countRow(res, row, v, "")
		}
	}
	return nil
}

// decideFiles decides about the files of rows, by export.
func (d DryRun) decideFiles(ctx context.Context, plan *planner, rows []exportops.Candidate) (
	map[string]exportops.Decision, error,
) {
	out := make(map[string]exportops.Decision, len(rows))
	var later []postponed
	for i, dec := range plan.decide(rows) {
		if dec.Verdict == exportops.Postpone {
			later = append(later, postponed{exportID: rows[i].ExportID, reason: dec.Reason})
			continue
		}
		out[rows[i].ExportID] = dec
	}
	err := d.lookExactly(ctx, plan, later, func(page []exportops.Candidate, ds []exportops.Decision) {
		for i, dec := range ds {
			out[page[i].ExportID] = dec
		}
	})
	return out, err
}
