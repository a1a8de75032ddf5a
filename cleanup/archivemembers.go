package cleanup

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/exportops/exportops"
)

// listMembers notes what the plan saw of an archive's rows, and reports whether there
// is anything to do with it: not where it has rows, and none of them is listed.
func (r *archiveRun) listMembers(ctx context.Context, a exportops.Archive) (bool, error) {
	if r.from == nil {
		return true, nil
	}
	ids := map[string]bool{}
	for from := int64(0); ; {
		members, err := r.Store.ArchiveMembers(ctx, a.ID, from, logPageSize)
		if err != nil {
			return false, fmt.Errorf("archive %s: %w", a.Key, err)
		}
		if len(members) == 0 {
			break
		}
		for _, m := range members {
			ids[m.RowID] = true
		}
		from = members[len(members)-1].Position + 1
	}
	var err error
	r.listed, err = r.from.listed(ids)
	return len(r.listed) > 0 || len(ids) == 0, err
}

// deleteMembers deletes the rows of an archive that was proven, in transactions that
// keep nobody waiting for long. It reports whether it came to the end. Members that
// the plan does not list stay, and the archive with them: for a run without one.
func (r *archiveRun) deleteMembers(ctx context.Context, a exportops.Archive) (bool, error) {
	working, cancel := finishing(ctx)
	defer cancel()
	left := false
	for from := int64(0); ; {
		members, err := r.Store.ArchiveMembers(working, a.ID, from, r.pace.size)
		if err != nil {
			return false, fmt.Errorf("archive %s: %w", a.Key, err)
		}
		if len(members) == 0 {
			break
		}
		if err := r.noteOthers(working, members); err != nil {
			return false, err
		}
		for _, part := range r.neighbours(members) {
			if r.ended(ctx, r.work) {
				return false, nil
			}
			if !r.lists(part[0]) {
				left = true
				continue
			}
			if err := r.deleteBatchOf(working, &a, part); err != nil {
				return false, err
			}
		}
		from = members[len(members)-1].Position + 1
	}
	if left {
		r.res.ArchivesLeft++
		return true, nil
	}
	return true, r.move(working, &a, exportops.ArchiveDone, "")
}

// lists reports whether a member is to go: without a plan all of them.
func (r *archiveRun) lists(m exportops.ArchiveMember) bool {
	_, ok := r.listed[m.RowID]
	return ok || r.from == nil
}

// neighbours parts members into those that lie together and are all to go, or all to
// stay, and are all of others, or none.
func (r *archiveRun) neighbours(members []exportops.ArchiveMember) (parts [][]exportops.ArchiveMember) {
	begin := 0
	for i := range members {
		if next := i + 1; next == len(members) || !r.alike(members[next], members[begin]) {
			parts, begin = append(parts, members[begin:next]), next
		}
	}
	return parts
}

func (r *archiveRun) alike(a, b exportops.ArchiveMember) bool {
	return r.lists(a) == r.lists(b) && r.others[a.RowID] == r.others[b.RowID]
}

// deleteBatchOf deletes the rows of some members. They were due when they were
// archived, and are the same, or they stay: to be judged again by a later run.
func (r *archiveRun) deleteBatchOf(ctx context.Context, a *exportops.Archive, members []exportops.ArchiveMember) error {
	cp, err := r.next()
	if err != nil {
		return err
	}
	goes := func(row exportops.LogRow) bool {
		noFile := r.Locator.Resolve(row.FileURL, row.UserID).NoFile
		if r.from != nil {
			return r.listed.has(row) && r.sel.judge(row, noFile) == exportops.DeleteRow
		}
		by := r.decides(row)
		return exportops.JudgeRow(row, noFile, exportops.Time{}) == exportops.DeleteRow && by.Policy.LogDue(row.Candidate, by.Now)
	}
	var counted exportops.LogCleanupResult
	d, err := r.Store.DeleteArchived(ctx, cp, a.ID, members, goes, func(d exportops.ArchivedDeletion) (json.RawMessage, error) {
		counted = *r.res
		if !r.others[members[0].RowID] {
			counted.DeletedCount += d.Deleted
		}
		return r.work.record(counted)
	})
	if err != nil {
		return fmt.Errorf("delete the rows of archive %s: %w", a.Key, err)
	}
	r.pace.tookFor(len(members), d.Took)
	*r.res = counted
	if !r.earlier { // rows that earlier archives keep are met again
		r.res.Remaining += d.Kept
		r.open -= int64(len(members))
	}
	a.Deleted += d.Deleted
	r.work.report(*r.res)
	return nil
}
