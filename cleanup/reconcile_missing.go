package cleanup

import (
	"context"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// missingAtOnce bounds how many exports one pass over the rows picks.
const missingAtOnce = 20_000

// findMissing looks for the rows whose keys lie between two places, and that the
// walk did not come across. It reports whether it came to the end.
func (r *reconciliation) findMissing(ctx context.Context, from, to string) (bool, error) {
	for {
		ids, keys, more, err := r.pickUnmet(ctx, from, to)
		if err != nil {
			return false, reading(ctx, "read which files rows name", err)
		}
		for part := range slices.Chunk(ids, min(r.files.MaxBatch(), 500)) {
			if r.ended(ctx) {
				return false, nil
			}
			if err := r.lookForMissing(ctx, part); err != nil {
				return false, err
			}
		}
		for key := range keys {
			r.known.meet(key) // dealt with
		}
		if !more {
			return true, nil
		}
	}
}

// pickUnmet picks exports whose files were not met, and says whether there are
// more. Of a key, all or none.
func (r *reconciliation) pickUnmet(ctx context.Context, from, to string) (ids []string, keys map[string]bool, more bool, err error) {
	keys = map[string]bool{}
	for row, err := range r.store.KeyRows(ctx, exportops.Time{}) {
		if err != nil {
			return nil, nil, false, err
		}
		at := r.locator.Resolve(&row.FileURL, row.UserID)
		switch {
		case row.Status != exportops.Completed || at.NoFile || at.Refused != "":
		case at.Key <= from || (to != "" && at.Key > to):
		case !r.known.unmet(at.Key) || (at.Literal != "" && !r.known.unmet(at.Literal)):
		case len(ids) >= missingAtOnce && !keys[at.Key]:
			more = true
		default:
			ids, keys[at.Key] = append(ids, row.ExportID), true
		}
	}
	return ids, keys, more, nil
}

// lookForMissing looks at the files of exports, and keeps those that are missing:
// of rows that are live before and after the look.
func (r *reconciliation) lookForMissing(ctx context.Context, ids []string) error {
	before, err := r.live(ctx, ids)
	if err != nil || len(before) == 0 {
		return err
	}
	if err := r.pace.passed(ctx, len(before)); err != nil {
		return err
	}
	absent, err := r.absent(ctx, before)
	if err != nil || len(absent) == 0 {
		return err
	}
	after, err := r.live(ctx, absent)
	if err != nil {
		return err
	}
	var missing []exportops.MissingFile
	for id, c := range after {
		was := before[id]
		m := exportops.MissingFile{
			ExportID: id, Store: r.files.ID(), Key: r.locator.Resolve(c.FileURL, c.UserID).Key,
			FileURL: c.FileURL, ExpiresAt: c.ExpiresAt, FirstSeen: r.at(), LastSeen: r.at(),
		}
		if m.Of(was) {
			missing = append(missing, m)
		}
	}
	slices.SortFunc(missing, func(a, b exportops.MissingFile) int {
		if a.ExportID < b.ExportID {
			return -1
		}
		return 1
	})
	r.res.MissingFiles += int64(len(missing))
	for _, m := range missing {
		r.res.Missing = first(r.res.Missing, m)
	}
	return r.keep.missing(ctx, missing)
}

// live reads those exports whose files should be there: completed and not
// expired, of some age, and neither claimed nor confirmed gone.
func (r *reconciliation) live(ctx context.Context, ids []string) (map[string]exportops.Candidate, error) {
	rows, err := r.store.CandidatesByID(ctx, ids)
	if err != nil {
		return nil, reading(ctx, "read exports", err)
	}
	expiry := exportops.Selection{Mode: exportops.ByExpiry, Now: r.at()}
	out := make(map[string]exportops.Candidate, len(rows))
	for _, c := range rows {
		created, ok := exportops.ParseStoredTime(c.CreatedAt)
		at := r.locator.Resolve(c.FileURL, c.UserID)
		switch {
		case c.Status != exportops.Completed || expiry.Judge(c) == exportops.Due || at.NoFile || at.Refused != "":
		case !ok || created.After(r.started.Add(-justWritten)):
		case c.Prior != nil && (c.Prior.State == exportops.DeletionClaimed || c.Prior.State.Confirmed()):
		default:
			out[c.ExportID] = c
		}
	}
	return out, nil
}

// absent returns the exports whose file is not there, in either reading of its
// name.
func (r *reconciliation) absent(ctx context.Context, rows map[string]exportops.Candidate) ([]string, error) {
	var ids, keys []string
	for id, c := range rows {
		at := r.locator.Resolve(c.FileURL, c.UserID)
		ids, keys = append(ids, id), append(keys, at.Key)
		if at.Literal != "" {
			ids, keys = append(ids, id), append(keys, at.Literal)
		}
	}
	there := map[string]bool{}
	for n := 0; n < len(keys); {
		end := min(n+r.files.MaxBatch(), len(keys))
		infos, err := r.files.Stat(ctx, keys[n:end])
		if err != nil {
			return nil, reading(ctx, "look at files", err)
		}
		for i, info := range infos {
			if id := ids[n+i]; info.Exists {
				if info.Err != nil && !there[id] {
					r.fail(id, info.Err.Error())
				}
				there[id] = true
			}
		}
		n = end
	}
	var out []string
	for id := range rows {
		if !there[id] {
			out = append(out, id)
		}
	}
	return out, nil
}

// lookAgainAtMissing ends the records of exports that were missing their file and
// were not found so again. What could not be looked at may still be missing.
func (r *reconciliation) lookAgainAtMissing(ctx context.Context) error {
	if r.res.FailedCount > 0 {
		return nil
	}
	f := exportops.MissingFilter{SeenBefore: r.res.BeganAt, Limit: exportops.MaxPage}
	for {
		page, err := r.store.MissingFiles(ctx, f)
		if err != nil {
			return reading(ctx, "read missing files", err)
		}
		var ids []string
		for _, m := range page {
			ids, f.After = append(ids, m.ExportID), m.ExportID
		}
		counted := *r.res // everything is compared
		counted.MissingCleared += int64(len(ids))
		if err := r.keep.found(ctx, ids, counted); err != nil {
			return err
		}
		*r.res = counted
		if len(page) < f.Limit {
			return nil
		}
	}
}

// failStuck turns exports to failed that have been in progress for too long. It
// reports whether it came to the end.
func (r *reconciliation) failStuck(ctx context.Context) (bool, error) {
	if r.restored {
		return true, nil
	}
	const atOnce = 200
	cut := exportops.At(r.started.Add(-r.StuckAfter))
	for after := exportops.Cursor(""); ; {
		if r.ended(ctx) {
			return false, nil
		}
		page, next, err := r.store.StuckExports(ctx, cut, after, atOnce)
		if err != nil {
			return false, reading(ctx, "read exports in progress", err)
		}
		page = slices.DeleteFunc(page, func(e exportops.StuckExport) bool { return !e.Stuck(cut) })
		if err := r.failSome(ctx, page); err != nil {
			return false, err
		}
		if after = next; after == "" {
			return true, nil
		}
	}
}

func (r *reconciliation) failSome(ctx context.Context, page []exportops.StuckExport) error {
	if len(page) == 0 {
		return nil
	}
	count := func(failed []bool) exportops.ReconcileResult {
		counted := *r.res
		counted.Stuck = slices.Clone(counted.Stuck)
		for i, e := range page {
			switch {
			case failed == nil:
				counted.WouldFailStuck++
			case !failed[i]:
				counted.StuckMovedOn++
				continue
			default:
				counted.StuckFailed++
			}
			counted.Stuck = first(counted.Stuck, e.ExportID)
		}
		return counted
	}
	failed, err := r.keep.stuck(ctx, page, "Stuck: no outcome within "+r.StuckAfter.Round(time.Second).String(), count)
	if err != nil {
		return err
	}
	if *r.res = count(failed); failed == nil {
		return nil
	}
	return r.come(ctx)
}
