package cleanup

import (
	"context"
	"fmt"
	"strings"

	"github.com/exportops/exportops"
)

// A user's own log cleanup meets archives that dead runs have begun for others. Their
// rows go as a log cleanup has them go, which the user's wish says nothing about, and
// are no part of the result.

// theirs reports whether a row is of another user than the run is about.
func (r *logRun) theirs(row exportops.LogRow) bool {
	return r.sel.UserID != "" && !strings.EqualFold(row.UserID, r.sel.UserID)
}

// decides returns what decides about a row that was archived before.
func (r *logRun) decides(row exportops.LogRow) LogWork {
	if r.theirs(row) {
		return r.finish
	}
	return r.sel
}

// noteOthers notes which of some members are rows of others.
func (r *archiveRun) noteOthers(ctx context.Context, members []exportops.ArchiveMember) error {
	r.others = nil
	if !r.earlier || r.sel.UserID == "" {
		return nil // what the run archives itself is all the user's
	}
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.RowID
	}
	rows, err := r.Store.LogRowsByID(ctx, ids)
	if err != nil {
		return fmt.Errorf("read archived log rows: %w", err)
	}
	r.others = make(map[string]bool, len(rows))
	for _, row := range rows {
		r.others[row.ID] = r.theirs(row)
	}
	return nil
}

// countArchived counts an archive that was proven. Of one that a dead run has begun, a
// user's part counts: the rows, and as much of the size.
func (r *archiveRun) countArchived(ctx context.Context, a exportops.Archive, res *exportops.LogCleanupResult) error {
	rows, size := a.Rows, a.Bytes
	if r.earlier && r.sel.UserID != "" {
		n, err := r.Archives.Holding(ctx, a, r.sel.UserID)
		if err != nil {
			return err
		}
		if n < rows {
			rows, size = n, size*n/rows
		}
	}
	res.ArchivedCount += rows
	res.ArchivedSizeBytes += size
	return nil
}
