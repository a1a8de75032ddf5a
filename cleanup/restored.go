package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// After a database was restored from a backup, its rows are older than the files in
// storage. An export may have been made again since, under the key that a row of the
// backup names, or another one whose row is lost may lie there: such a file is younger
// than the backup, and what the backup says of its expiry is not about it. So a row
// that may be in the backup has its file deleted only while that was written before it,
// too. An erasure takes all of a user's files, whenever they were written.

// errYounger is why a file was left alone.
var errYounger = errors.New("it was written after the backup that the database was restored from; it was left alone")

// backupTakes is how much later than is said the backup may have been made, which is told
// a little earlier rather than later. Rows of after the restoration are younger by far.
const backupTakes = time.Hour

// predates reports whether a row may be in the backup. A time that cannot be read is no
// proof that it is not.
func predates(c exportops.Candidate, backup exportops.Time) bool {
	created, ok := exportops.ParseStoredTime(c.CreatedAt)
	return !backup.IsZero() && (!ok || created.Before(backup.Add(backupTakes)))
}

// noteAge remembers of an export that was claimed that it is in the backup. The mode is
// that of the claim: an erasure recovers those of other jobs, about other users.
func (r *fileRun) noteAge(c exportops.Candidate, claimed exportops.Mode) {
	if claimed != exportops.ByErasure && predates(c, r.RestoredFrom) {
		r.older[c.ExportID] = true
	}
}

// spare keeps files from being deleted that are younger than the backup, and returns
// the exports that it may keep them of.
func (r *fileRun) spare(claims []*exportops.Deletion, refs []exportops.FileRef) map[string]bool {
	spared := map[string]bool{}
	for i, d := range claims {
		if !r.older[d.ExportID] {
			continue
		}
		delete(r.older, d.ExportID) // its claim comes here once
		var g exportops.FileGuard
		if refs[i].Guard != nil {
			g = *refs[i].Guard
		}
		if g.NotAfter.IsZero() || g.NotAfter.After(r.RestoredFrom.Time) {
			g.NotAfter = r.RestoredFrom
			spared[d.ExportID] = true
		}
		refs[i].Guard = &g
	}
	return spared
}

// spare finds which files a real run would leave alone for being younger than the
// backup, and changes the decisions about them.
func (d DryRun) spare(ctx context.Context, sel exportops.Selection, page []exportops.Candidate, decisions []exportops.Decision) error {
	if d.RestoredFrom.IsZero() || sel.Mode == exportops.ByErasure {
		return nil
	}
	var at []int
	var keys []string
	for i, c := range page {
		if decisions[i].Verdict == exportops.Claim && predates(c, d.RestoredFrom) {
			at, keys = append(at, i), append(keys, decisions[i].Location.Key)
		}
	}
	for len(keys) > 0 {
		n := min(len(keys), d.Files.MaxBatch())
		infos, err := d.Files.Stat(ctx, keys[:n])
		if err != nil {
			return fmt.Errorf("look at files: %w", err)
		}
		for k, info := range infos {
			if info.Exists && info.Err == nil && info.Modified.After(d.RestoredFrom.Time) {
				decisions[at[k]] = exportops.Decision{Verdict: exportops.PassOver, Reason: becauseYounger}
			}
		}
		at, keys = at[n:], keys[n:]
	}
	return nil
}
