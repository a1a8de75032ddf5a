package main

import (
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

type eraseUserCmd struct {
	User   string        `arg:"" name:"user-id" help:"the user"`
	DryRun bool          `name:"dry-run" help:"say which files and rows would be deleted, and delete nothing"`
	Budget time.Duration `name:"budget" placeholder:"DURATION" help:"stop after this long; run it again to go on"`
}

// Help says more of it.
func (eraseUserCmd) Help() string {
	return `Deletes the user's files, log rows and metrics, takes the user out of hourly counts, the
ledger and every other record, and keeps a receipt that names nobody.

Each archive that holds the user is written anew without the user, read back and compared
row by row; then the old object is deleted, and seen to be gone. An archive of nobody else
is deleted. Tables that archive restore --beside made lose the user's rows. Archives that
a log cleanup gave up are deleted, and what a dead one began is finished first. Other runs
that are at work may have read what is gone: they are waited for, up to a minute. It refuses
while a hold covers the user or an export of the user's.`
}

// Run erases the user. What is interrupted goes on where it stopped when it is run
// again.
func (c *eraseUserCmd) Run(e *env) error {
	req := jobs.Request{
		Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: strings.ToLower(c.User), DryRun: c.DryRun, Budget: c.Budget,
	}
	if c.Budget < 0 {
		return &usageError{exportops.Invalid("--budget", "%s is negative", c.Budget)}
	}
	if err := req.Validate(); err != nil {
		return &usageError{err}
	}
	return e.runJob(req)
}

func (e *env) drawErased(r *exportops.ErasureResult) {
	title := "erasure"
	if r.DryRun {
		title += " (dry run: nothing was deleted)"
	}
	e.table(title, nil, counts(
		"files deleted", r.FilesDeleted+r.FilesAbsent, "rows deleted", r.DeletedCount, "still naming the user", r.Left,
		"would be deleted", r.WouldDelete, "metrics without a row", r.LoneMetrics, "hourly counts", r.Counters,
		"ledger entries", r.Entries, "other records", r.Records,
		"archives replaced", r.Archives, "archived rows", r.Archived,
		"rows of restored tables", r.Restored, "kept: in progress", r.KeptInProgress,
		"kept: file may exist", r.KeptFileMayExist, "kept: held", r.KeptHeld, "failed", r.FailedCount, "remaining", r.Remaining,
	))
	for _, x := range r.Errors {
		e.stdout.printf("  %s: %s\n", oneLine(x.LogID), oneLine(x.Error))
	}
	e.drawRest(r.ErrorsTotal-int64(len(r.Errors)), r.Complete || r.Left > 0)
	if r.Receipt != nil {
		e.stdout.printf("nothing is left of the user; the receipt is %s\n", r.Receipt.ID)
	}
}

type erasuresCmd struct {
	Ls    erasuresLsCmd    `cmd:"" name:"ls" default:"withargs" help:"List receipts; this is what happens without a word."`
	Match erasuresMatchCmd `cmd:"" help:"Find users that receipts say were erased, as after a backup was restored."`
}

type erasuresLsCmd struct {
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists receipts, newest first. One that was altered is an error.
func (c *erasuresLsCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		page, next, err := s.Erasures(e.ctx, c.Cursor, c.Limit)
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Erasure{}
		}
		answer := struct {
			Erasures   []exportops.Erasure `json:"erasures"`
			NextCursor string              `json:"next_cursor"`
		}{page, next}
		err = e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, r := range page {
				rows[i] = []string{
					r.ID, instant(&r.FinishedAt), number(r.Files), number(r.Rows), number(r.Metrics), number(r.Counters), number(r.Entries),
					number(r.Records), number(r.Archives), number(r.ArchivedRows), number(r.RestoredRows),
				}
			}
			e.table("erasures", strings.Split("receipt,finished,files,rows,metrics,hourly counts,ledger,other,archives,archived rows,restored rows", ","), rows)
			e.drawNext(next)
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if !r.Intact() {
				return &exportops.Error{Kind: exportops.KindInternal, Message: "the receipt " + r.ID + " was altered: its digest does not fit"}
			}
		}
		return nil
	})
}
