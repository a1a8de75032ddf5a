package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// RootReader reads what the check of the root needs.
type RootReader interface {
	KeyReader
	Candidates(ctx context.Context, s exportops.Selection, after exportops.Cursor, limit int) (
		[]exportops.Candidate, exportops.Cursor, error)
	Deletions(ctx context.Context, f exportops.DeletionFilter) ([]exportops.Deletion, error)
}

// checkRoot refuses to go on where the files' root is missing, or empty while
// rows name files in it: a volume that is not mounted looks just like files
// that are all gone. Rows that are about to be taken for dealt with count as
// well as those that are live.
func checkRoot(ctx context.Context, r RootReader, files FileReader, l exportops.Locator, sel exportops.Selection) error {
	empty, err := files.Check(ctx)
	if err != nil || !empty {
		return err
	}
	claimed, err := openClaims(ctx, r, files.ID())
	if err != nil {
		return err
	}
	refuse := func(row exportops.KeyRow) error {
		at := l.Resolve(&row.FileURL, row.UserID)
		if at.Refused == "" && !at.NoFile && !claimed[at.Key] {
			return &exportops.Error{
				Kind: exportops.KindUnavailable, Field: "EXPORT_STORAGE_URL",
				Message: fmt.Sprintf("%s is empty, but export %s names a file in it", files.ID(), row.ExportID),
				Hint: "mount the volume or correct EXPORT_STORAGE_URL; if it is meant to be empty, " +
					"create the file .exportops-root in it",
			}
		}
		return nil
	}
	for row, err := range r.KeyRows(ctx, exportops.Time{}) {
		if err == nil && row.Status == exportops.Completed {
			err = refuse(row)
		}
		if err != nil {
			return err
		}
	}
	return eachDue(ctx, r, sel, refuse)
}

// eachDue calls fn for each row with a file that a selection finds due, until it
// returns an error.
func eachDue(ctx context.Context, r RootReader, sel exportops.Selection, fn func(exportops.KeyRow) error) error {
	const page = 500
	for next := exportops.Cursor(""); ; {
		rows, after, err := r.Candidates(ctx, sel, next, page)
		if err != nil {
			return err
		}
		for _, c := range rows {
			if c.FileURL == nil || sel.Judge(c) != exportops.Due {
				continue
			}
			if err := fn(exportops.KeyRow{ExportID: c.ExportID, UserID: c.UserID, Status: c.Status, FileURL: *c.FileURL}); err != nil {
				return err
			}
		}
		if next = after; next == "" {
			return nil
		}
	}
}

// openClaims returns the keys whose files a dead run may have deleted already:
// that those are gone is no surprise.
func openClaims(ctx context.Context, r RootReader, store string) (map[string]bool, error) {
	claimed := map[string]bool{}
	err := eachOpenClaim(ctx, r, func(d exportops.Deletion) {
		if d.Store == store {
			claimed[d.Key] = true
		}
	})
	return claimed, err
}

func eachOpenClaim(ctx context.Context, r RootReader, fn func(exportops.Deletion)) error {
	f := exportops.DeletionFilter{State: exportops.DeletionClaimed, Limit: exportops.MaxPage}
	for {
		page, err := r.Deletions(ctx, f)
		if err != nil {
			return err
		}
		for _, d := range page {
			f.Before = d.ID
			fn(d)
		}
		if len(page) < f.Limit {
			return nil
		}
	}
}
