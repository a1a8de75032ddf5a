package cleanup

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// StatisticsReader is what Statistics reads.
type StatisticsReader interface {
	LogRows(ctx context.Context, s exportops.LogSelection, after exportops.Cursor, limit int) (
		[]exportops.LogRow, exportops.Cursor, error)
	LogStatistics(ctx context.Context, cut exportops.Time) (exportops.LogStatistics, error)
}

// Statistics says what a log cleanup would find under a policy. Every row past
// the shortest retention is held against the rules, as the cleanup does.
type Statistics struct {
	Store  StatisticsReader
	Policy *exportops.Policy
	Now    func() time.Time
}

// LogStatistics counts what exportops.LogStore counts and the policy lets go. The
// size is that of all rows before the cut, in proportion.
func (s Statistics) LogStatistics(ctx context.Context, cut exportops.Time) (exportops.LogStatistics, error) {
	now := exportops.At(s.Now())
	if latest := exportops.At(now.Add(-s.Policy.ShortestLogs().OrCentury())); cut.After(latest.Time) {
		cut = latest
	}
	out, err := s.Store.LogStatistics(ctx, cut)
	if err != nil || out.EligibleForCleanup == 0 {
		return out, err
	}
	var due int64
	var next exportops.Cursor
	for {
		page, after, err := s.Store.LogRows(ctx, exportops.LogSelection{Cut: cut}, next, dryPage)
		if err != nil {
			return out, err
		}
		for _, r := range page {
			if finished(r.Candidate) && s.Policy.LogDue(r.Candidate, now) {
				due++
			}
		}
		if next = after; next == "" {
			break
		}
	}
	out.TotalSizeEstimateMB *= float64(due) / float64(out.EligibleForCleanup)
	out.EligibleForCleanup = due
	return out, nil
}

// finished is what LogStatistics of a store counts.
func finished(c exportops.Candidate) bool {
	switch c.Status {
	case exportops.Expired, exportops.Failed:
		return true
	case exportops.Completed:
		return c.FileURL == nil || *c.FileURL == ""
	}
	return false
}
