package cleanup

import (
	"context"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// segment walks on from the cursor, and ends with what is missing, gone or
// adopted among the keys it passed. Cut short, it is walked again.
func (r *reconciliation) segment(ctx context.Context) error {
	from, half := r.res.Cursor, r.halfTime()
	n, last, end := 0, from, true
	page := make([]exportops.WalkedFile, 0, walkPage)
	for f, err := range r.files.Walk(ctx, from) {
		if err != nil {
			return reading(ctx, "walk through the files", err)
		}
		page, last = append(page, f), f.Key
		if n++; len(page) < walkPage {
			continue
		}
		if err := r.compare(ctx, page); err != nil {
			return err
		}
		page = page[:0]
		if n >= segment || (!half.IsZero() && !r.now().Before(half)) {
			end = false
			break
		}
	}
	if err := r.compare(ctx, page); err != nil {
		return err
	}
	if r.ended(ctx) {
		return nil
	}
	// Files that seem to be gone may be behind a root that has gone.
	if err := r.checkRoot(ctx); err != nil {
		return err
	}
	to := last
	if end {
		to = ""
	}
	if done, err := r.findMissing(ctx, from, to); err != nil || !done {
		return err
	}
	if err := r.closeUnknown(ctx, from, to); err != nil {
		return err
	}
	if r.res.Walked = end; !end {
		r.res.Cursor = last
	}
	return r.come(ctx)
}

// halfTime is when a segment must end, so that there is time to look for what is
// missing in it: a run of little time would come to nothing otherwise.
func (r *reconciliation) halfTime() time.Time {
	if r.deadline.IsZero() {
		return time.Time{}
	}
	now := r.now()
	return now.Add(r.deadline.Sub(now) / 2)
}

// compare finds which files of a page no row names, and keeps them.
func (r *reconciliation) compare(ctx context.Context, page []exportops.WalkedFile) error {
	if len(page) == 0 {
		return nil
	}
	if err := r.pace.passed(ctx, len(page)); err != nil {
		return err
	}
	var unknown []exportops.WalkedFile
	for _, f := range page {
		r.res.FilesSeen++
		switch known := f.Odd == "" && r.known.meet(f.Key); {
		case f.Odd != "":
			r.res.OddCount++
			r.res.Odd = first(r.res.Odd, exportops.OddFile{Key: f.Key, Why: f.Odd})
		case known:
			r.res.FilesKnown++
		case f.Modified.After(r.started.Add(-justWritten)):
			r.res.FilesRecent++
		default:
			unknown = append(unknown, f)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	// Rows that came since may name them.
	if err := r.known.topUp(ctx, r.store, r.at()); err != nil {
		return reading(ctx, "read which files rows name", err)
	}
	return r.recordUnknown(ctx, unknown)
}

func (r *reconciliation) recordUnknown(ctx context.Context, found []exportops.WalkedFile) error {
	keys := make([]string, len(found))
	for i, f := range found {
		keys[i] = f.Key
	}
	before, err := r.store.UnknownFiles(ctx, exportops.UnknownFilter{Store: r.files.ID(), Keys: keys})
	if err != nil {
		return reading(ctx, "read unknown files", err)
	}
	was := make(map[string]exportops.UnknownFile, len(before))
	for _, u := range before {
		was[u.Key] = u
	}
	var records []exportops.UnknownFile
	for _, f := range found {
		if r.known.has(f.Key) {
			r.res.FilesKnown++
			continue
		}
		old := was[f.Key]
		if r.restored { // its grace begins when that is settled
			old = exportops.UnknownFile{}
		}
		records = append(records, old.Found(r.files.ID(), f, !r.restored && !r.known.unclear(f.Key), r.at()))
	}
	if records, err = r.reallyThere(ctx, records, was); err != nil {
		return err
	}
	for _, u := range records {
		switch {
		case u.State == exportops.UnknownQuarantined:
			r.res.Quarantined++
		case r.known.unclear(u.Key):
			r.res.UnknownHeldUp++
		default:
			r.res.UnknownSeen++
		}
		r.res.Unknown = first(r.res.Unknown, u)
	}
	return r.keep.unknown(ctx, records)
}

// reallyThere looks at files that are recorded for the first time, or anew: a
// list may be behind, or have taken a folder's name for a pattern.
func (r *reconciliation) reallyThere(ctx context.Context, records []exportops.UnknownFile, was map[string]exportops.UnknownFile) (
	[]exportops.UnknownFile, error,
) {
	var kept []exportops.UnknownFile
	var look []exportops.UnknownFile
	for _, u := range records {
		if old, ok := was[u.Key]; ok && old.FirstSeen.Equal(u.FirstSeen.Time) {
			kept = append(kept, u)
			continue
		}
		look = append(look, u)
	}
	err := r.look(ctx, look, func(u exportops.UnknownFile, info exportops.FileInfo) {
		switch {
		case info.Err != nil:
			r.fail("", u.Key+": "+info.Err.Error())
		case info.Exists:
			kept = append(kept, u)
		}
	})
	return kept, err
}

func (r *reconciliation) fail(exportID, why string) {
	r.res.FailedCount++
	r.res.Errors = first(r.res.Errors, exportops.ExportError{ExportID: exportID, Error: why})
}

// closeUnknown ends the records of files between two keys that the walk did not
// find unknown again.
func (r *reconciliation) closeUnknown(ctx context.Context, from, to string) error {
	f := exportops.UnknownFilter{
		Store: r.files.ID(), After: from, To: to, SeenBefore: r.started, Limit: exportops.MaxPage,
	}
	for {
		page, err := r.store.UnknownFiles(ctx, f)
		if err != nil {
			return reading(ctx, "read unknown files", err)
		}
		var closed, lost []exportops.UnknownFile
		counted := r.counted
		for _, u := range page {
			f.After = u.Key
			switch {
			case u.State == exportops.UnknownGone || u.State == exportops.UnknownAdopted:
			case r.known.has(u.Key):
				u.State = exportops.UnknownAdopted
				closed = append(closed, u)
				counted.Adopted++
			default:
				u.State = exportops.UnknownGone
				lost = append(lost, u)
			}
		}
		if lost, err = r.notThere(ctx, lost); err != nil {
			return err
		}
		counted.Gone += int64(len(lost))
		closed = append(closed, lost...)
		for i := range closed {
			closed[i].LastSeen = r.at()
		}
		if err := r.keep.closed(ctx, closed, counted); err != nil {
			return err
		}
		r.res.Adopted += counted.Adopted - r.counted.Adopted
		r.res.Gone += counted.Gone - r.counted.Gone
		r.counted = counted
		if len(page) < f.Limit {
			return nil
		}
	}
}

// notThere keeps those files that storage says are not there: what was written just now
// is not recorded, nor is what cannot be looked at.
func (r *reconciliation) notThere(ctx context.Context, files []exportops.UnknownFile) (gone []exportops.UnknownFile, err error) {
	err = r.look(ctx, files, func(u exportops.UnknownFile, info exportops.FileInfo) {
		if !info.Exists {
			gone = append(gone, u)
		}
	})
	return gone, err
}

// look calls fn with what storage says of each file.
func (r *reconciliation) look(ctx context.Context, files []exportops.UnknownFile, fn func(exportops.UnknownFile, exportops.FileInfo)) error {
	for part := range slices.Chunk(files, r.files.MaxBatch()) {
		keys := make([]string, len(part))
		for i, u := range part {
			keys[i] = u.Key
		}
		infos, err := r.files.Stat(ctx, keys)
		if err != nil {
			return reading(ctx, "look at files", err)
		}
		for i, info := range infos {
			fn(part[i], info)
		}
	}
	return nil
}

// first adds to a list while it has room.
func first[T any](list []T, v T) []T {
	if len(list) < exportops.MaxErrors {
		list = append(list, v)
	}
	return list
}
