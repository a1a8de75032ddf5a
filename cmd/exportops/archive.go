package main

import (
	"strconv"
	"strings"

	"github.com/exportops/exportops"
)

type archiveCmd struct {
	Ls      archiveLsCmd      `cmd:"" help:"List archives."`
	Verify  archiveVerifyCmd  `cmd:"" help:"Read archives back and compare them with what was written."`
	Search  archiveSearchCmd  `cmd:"" help:"Find archived log rows."`
	Restore archiveRestoreCmd `cmd:"" help:"Write archived log rows, or put them back."`

	DropTable archiveDropTableCmd `cmd:"" name:"drop-table" help:"Drop a table that restore --beside made."`

	Lost archiveLostCmd `cmd:"" help:"Record that the object of an archive is gone for good."`

	Register archiveRegisterCmd `cmd:"" help:"Record archives that the database does not know, as after it was restored from a backup."`
}

type archiveLsCmd struct {
	State  string `name:"state" placeholder:"STATE" help:"intended, written, verified, deleting, done, abandoned, replaced, removed or lost"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists archives, newest first. It needs the database alone.
func (c *archiveLsCmd) Run(e *env) error {
	f := exportops.ArchiveFilter{State: exportops.ArchiveState(c.State), Limit: c.Limit}
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		return &usageError{exportops.Invalid("--limit", "%d is not from 1 to %d", c.Limit, exportops.MaxPage)}
	}
	if c.State != "" && !knownArchiveState(f.State) {
		return &usageError{exportops.Invalid("--state", "%q is no state of an archive", c.State)}
	}
	if c.Cursor != "" {
		before, err := strconv.ParseInt(c.Cursor, 10, 64)
		if err != nil || before < 1 {
			return &usageError{exportops.Invalid("--cursor", "%q came with no page", c.Cursor)}
		}
		f.Before = before
	}
	return e.withStore(func(s exportops.Database) error {
		page, err := s.Archives(e.ctx, f)
		if err != nil {
			return err
		}
		next, err := c.next(e, s, f, page)
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Archive{}
		}
		answer := struct {
			Archives   []exportops.Archive `json:"archives"`
			NextCursor string              `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, a := range page {
				rows[i] = []string{
					number(a.ID), string(a.State), a.Key, number(a.Rows), number(a.Deleted), byteSize(float64(a.Bytes)),
					instant(a.Oldest), instant(a.Newest), idOrNone(a.Replaces), idOrNone(a.ReplacedBy), shorten(a.Error, 50),
				}
			}
			e.table("archives", strings.Split("id,state,key,rows,deleted,size,oldest,newest,replaces,replaced by,error", ","), rows)
			e.drawNext(next)
		})
	})
}

// next is the cursor of the page that follows, "" where none does.
func (c *archiveLsCmd) next(e *env, s exportops.Database, f exportops.ArchiveFilter, page []exportops.Archive) (string, error) {
	if len(page) < c.Limit {
		return "", nil
	}
	f.Before, f.Limit = page[len(page)-1].ID, 1
	more, err := s.Archives(e.ctx, f)
	if err != nil || len(more) == 0 {
		return "", err
	}
	return strconv.FormatInt(f.Before, 10), nil
}

func knownArchiveState(s exportops.ArchiveState) bool {
	for _, known := range exportops.ArchiveStates {
		if s == known {
			return true
		}
	}
	return false
}

// idOrNone is an id, and nothing where there is none.
func idOrNone(id int64) string {
	if id == 0 {
		return ""
	}
	return number(id)
}
