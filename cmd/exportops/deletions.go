package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

type deletionsCmd struct {
	List   deletionsListCmd   `cmd:"" default:"withargs" help:"List entries of the ledger, newest first."`
	Show   deletionsShowCmd   `cmd:"" help:"Show one entry: what was deleted, why, by which run, and what comes next."`
	Retry  deletionsRetryCmd  `cmd:"" help:"Have failed or quarantined entries tried again by the next run."`
	Verify deletionsVerifyCmd `cmd:"" help:"Verify that no entry of the ledger was changed or taken away."`
}

type deletionsListCmd struct {
	Export string `name:"export" placeholder:"ID" help:"of this export"`
	OfRun  string `name:"run" placeholder:"ID" help:"that this run claimed last"`
	State  string `name:"state" placeholder:"STATE" help:"claimed, deleted, absent, failed, quarantined or changed"`
	From   string `name:"from" placeholder:"TIME" help:"claimed at this instant or later"`
	To     string `name:"to" placeholder:"TIME" help:"claimed before this instant"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists entries of the ledger, newest first.
func (c *deletionsListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		page, next, err := exportops.DeletionPage(e.ctx, s, f, c.Cursor)
		if err != nil {
			return err
		}
		answer := struct {
			Deletions  []exportops.DeletionEntry `json:"deletions"`
			NextCursor string                    `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, d := range page {
				rows[i] = []string{
					number(d.ID), d.ExportID, string(d.State), string(d.Mode), shorten(d.Key, 40), byteSize(float64(d.Bytes)),
					instant(&d.ClaimedAt), instant(d.FinishedAt), d.RunID, shorten(d.Error, 50),
				}
			}
			e.table("deletions", strings.Split("entry,export,state,mode,key,bytes,claimed,ended,run,error", ","), rows)
			e.drawNext(next)
		})
	})
}

func (c *deletionsListCmd) filter() (exportops.DeletionFilter, error) {
	f := exportops.DeletionFilter{RunID: c.OfRun, State: exportops.DeletionState(c.State), Limit: c.Limit}
	var errs []error
	if c.Export != "" {
		id, err := exportops.ParseID("--export", c.Export)
		errs = append(errs, err)
		f.ExportID = id
	}
	if c.State != "" && !slices.Contains(exportops.DeletionStates, f.State) {
		errs = append(errs, exportops.Invalid("--state", "%q is not one of claimed, deleted, absent, failed, quarantined, changed", shorten(c.State, 64)))
	}
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		errs = append(errs, exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage))
	}
	errs = append(errs, between(c.From, c.To, &f.From, &f.To))
	return f, errors.Join(errs...)
}

// between reads the bounds of an interval, each of which may be left out.
func between(from, to string, fromInto, toInto *exportops.Time) error {
	var errs []error
	for _, x := range []struct {
		flag, given string
		into        *exportops.Time
	}{{"--from", from, fromInto}, {"--to", to, toInto}} {
		if x.given == "" {
			continue
		}
		t, err := when(x.flag, x.given, time.Now(), 0)
		errs = append(errs, err)
		*x.into = t
	}
	return errors.Join(errs...)
}

type deletionsShowCmd struct {
	ID int64 `arg:"" name:"entry" help:"its number in the list"`
}

// Run shows one entry of the ledger.
func (c *deletionsShowCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		d, err := exportops.DeletionByID(e.ctx, s, c.ID)
		if err != nil {
			return err
		}
		return e.show(d, func() { e.drawDeletion(d) })
	})
}

// why says in words what made a run claim a file.
var why = map[exportops.Mode]string{
	exportops.ByExpiry:     "the export had expired",
	exportops.ByAge:        "the export was older than a cleanup by age allowed",
	exportops.ByLogCleanup: "its log row was due, and nobody had confirmed that the file was gone",
	exportops.ByErasure:    "what its user left was to be deleted",
}

func (e *env) drawDeletion(d exportops.DeletionEntry) {
	text := func(s *string) string {
		if s == nil || *s == "" {
			return "–"
		}
		return *s
	}
	e.table("entry "+strconv.FormatInt(d.ID, 10), nil, [][]string{
		{"state", string(d.State)},
		{"what comes next", d.NextStep},
		{"why", string(d.Mode) + ": " + why[d.Mode]},
		{"export", text(&d.ExportID)},
		{"user", text(&d.UserID)},
		{"store", d.Store},
		{"bucket", text(&d.Bucket)},
		{"key", text(&d.Key)},
		{"file_url", text(d.FileURL)},
		{"expiry", text(d.ExpiresAt)},
		{"size as claimed", size(d.FileSize)},
		{"bytes freed", byteSize(float64(d.Bytes))},
		{"run", d.RunID},
		{"attempts", strconv.Itoa(d.Attempts)},
		{"failures in a row", strconv.Itoa(d.Failures)},
		{"tried again on request", instant(d.RetriedAt)},
		{"evidence", text(&d.Evidence)},
		{"error", text(&d.Error)},
		{"claimed", instant(&d.ClaimedAt)},
		{"ended", instant(d.FinishedAt)},
	})
}
