package cleanup

import (
	"context"
	"iter"
	"time"

	"github.com/exportops/exportops"
)

// FileReader is the part of a file store that changes nothing.
type FileReader interface {
	ID() string
	Check(ctx context.Context) (empty bool, err error)
	Stat(ctx context.Context, keys []string) ([]exportops.FileInfo, error)
	Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error]
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
	// Archives measures what would be archived; nil where that is off.
	Archives ArchiveMeasurer
	// Most ends it likewise, once more than so much would be deleted; 0 for no
	// end.
	Most int64
	// RestoredFrom is that of the Cleaner.
	RestoredFrom exportops.Time
	// Plan, where set, is told each decision about a file.
	Plan *PlanWriter
}

func (d DryRun) ended() bool { return !d.Deadline.IsZero() && !d.Now().Before(d.Deadline) }

// dryPage is how many rows are read at once.
const dryPage = 1000

// plan makes the planner of a selection, once the root is seen to be there.
func (d DryRun) plan(ctx context.Context, sel exportops.Selection) (*planner, error) {
	if err := checkRoot(ctx, d.Store, d.Files, d.Locator, sel); err != nil {
		return nil, err
	}
	shared, err := readSharedKeys(ctx, d.Store, d.Locator, sel.Mode, sel.Now)
	return &planner{sel: sel, locator: d.Locator, shared: shared}, err
}

// CleanFiles counts what Cleaner.CleanFiles would do now.
func (d DryRun) CleanFiles(ctx context.Context, sel exportops.Selection) (exportops.FileCleanupResult, error) {
	res := exportops.FileCleanupResult{DryRun: true}
	plan, err := d.plan(ctx, sel)
	if err != nil {
		return res, err
	}
	var next exportops.Cursor
	var later []postponed
	count := func(page []exportops.Candidate, ds []exportops.Decision) {
		later = append(later, tally(&res, page, ds)...)
		if d.Plan != nil {
			d.Plan.decided(page, ds)
		}
	}
	for {
		page, after, err := d.Store.Candidates(ctx, sel, next, dryPage)
		if err != nil {
			return res, err
		}
		decisions := plan.decide(page, nil)
		if err := d.spare(ctx, sel, page, decisions); err != nil {
			return res, err
		}
		count(page, decisions)
		next = after
		end := next == "" || d.ended() || d.enough(res.WouldDelete+res.NoFile)
		if end || len(later) >= postponedAtOnce {
			part := later
			later = nil
			if err := d.lookExactly(ctx, plan, part, count); err != nil {
				return res, err
			}
		}
		if end {
			res.Complete = next == ""
			sumUp(&res)
			return res, nil
		}
	}
}

func (d DryRun) enough(n int64) bool { return d.Most > 0 && n > d.Most }

// lookExactly decides about the exports that share a key with another, and
// hands the decisions on.
func (d DryRun) lookExactly(ctx context.Context, plan *planner, part []postponed,
	decided func([]exportops.Candidate, []exportops.Decision),
) error {
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
		decisions := l.decide(page, others)
		if err := d.spare(ctx, plan.sel, page, decisions); err != nil {
			return err
		}
		decided(page, decisions)
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
