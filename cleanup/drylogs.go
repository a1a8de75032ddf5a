package cleanup

import (
	"context"

	"github.com/exportops/exportops"
)

// CleanLogs counts what Cleaner.CleanLogs would do now, and tells Plan of each row. A
// row whose file would be dealt with first, or whose hour would be rolled up first,
// would go.
func (d DryRun) CleanLogs(ctx context.Context, w LogWork, now exportops.Time) (exportops.LogCleanupResult, error) {
	res := exportops.LogCleanupResult{DryRun: true}
	plan, err := d.plan(ctx, w.FileSelection(now))
	if err != nil {
		return res, err
	}
	sel := exportops.LogSelection{Cut: w.Cut, UserID: w.UserID}
	m := d.measure(&res)
	var next exportops.Cursor
	for {
		page, after, err := d.Store.LogRows(ctx, sel, next, dryPage)
		if err != nil {
			return res, err
		}
		judged, err := d.judgeRows(ctx, plan, w, page, &res)
		if err == nil {
			err = m.add(ctx, judged)
		}
		if err != nil {
			return res, err
		}
		if d.Plan != nil {
			d.Plan.judged(judged)
		}
		if next = after; next == "" || d.ended() || d.enough(res.WouldDelete) {
			res.Complete = next == ""
			err := m.end()
			sumUpLogs(&res)
			return res, err
		}
	}
}

// measured adds up what would be archived of the rows that would go.
type measured struct {
	res     *exportops.LogCleanupResult
	measure exportops.ArchiveMeasure // nil where rows go without
}

func (d DryRun) measure(res *exportops.LogCleanupResult) measured {
	if d.Archives == nil {
		return measured{res: res}
	}
	return measured{res, d.Archives.Measure()}
}

// add measures the rows that would go. One that could not be archived would not.
func (m measured) add(ctx context.Context, page []judgedRow) error {
	if m.measure == nil {
		return nil
	}
	var ids []string
	for _, j := range page {
		if j.why == "" {
			ids = append(ids, j.row.ID)
		}
	}
	left, err := m.measure.Add(ctx, ids)
	if err != nil {
		return err
	}
	unfit := make(map[string]bool, len(left))
	for _, id := range left {
		unfit[id] = true
	}
	for i := range page {
		switch j := &page[i]; {
		case j.why != "":
		case unfit[j.row.ID]:
			j.why = becauseUnfit
			m.res.WouldDelete--
			m.res.FailedCount++
			m.res.ErrorsTotal++
		default:
			m.res.ArchivedCount++
		}
	}
	return nil
}

func (m measured) end() (err error) {
	if m.measure != nil {
		m.res.ArchivedSizeBytes, err = m.measure.Bytes()
	}
	return err
}

// judgedRow is a row, and what would become of it.
type judgedRow struct {
	row exportops.LogRow
	key string // of the file that would go before it
	why string // it would stay; "" for one that would go
}

// judgeRows counts one page, and returns the rows that are due.
func (d DryRun) judgeRows(ctx context.Context, plan *planner, w LogWork, page []exportops.LogRow,
	res *exportops.LogCleanupResult,
) (judged []judgedRow, err error) {
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
		return nil, err
	}
	for i, row := range page {
		v, file := verdicts[i], decisions[row.ExportID]
		j := judgedRow{row: row, why: whyKept(v)}
		switch {
		case v == exportops.KeepNotDue:
			continue
		case v == exportops.DeleteRow, v == exportops.KeepUncounted, v == exportops.KeepFileMayExist && file.Verdict == exportops.Claim:
			res.WouldDelete++
			j.key, j.why = file.Location.Key, ""
		case v == exportops.KeepFileMayExist && file.Verdict == exportops.Refuse:
			failRow(res, row, file.Reason)
			j.why = file.Reason
		default:
			if countRow(res, row, v, ""); file.Reason != "" {
				j.why = file.Reason
			}
		}
		judged = append(judged, j)
	}
	return judged, nil
}

// decideFiles decides about the files of rows, by export.
func (d DryRun) decideFiles(ctx context.Context, plan *planner, rows []exportops.Candidate) (
	map[string]exportops.Decision, error,
) {
	out := make(map[string]exportops.Decision, len(rows))
	var later []postponed
	for i, dec := range plan.decide(rows, nil) {
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
