package main

import (
	"errors"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

type runsCmd struct {
	List   runsListCmd   `cmd:"" default:"withargs" help:"List runs of jobs, or show one."`
	Cancel runsCancelCmd `cmd:"" help:"Ask an active run to stop before its next batch."`
}

type runsCancelCmd struct {
	ID string `arg:"" name:"run-id" help:"the run"`
}

// Run asks a run to stop. Its holder, in whichever process, ends it as partial.
func (c *runsCancelCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		r, err := s.CancelRun(e.ctx, strings.ToLower(c.ID), operator(), exportops.At(time.Now()))
		if err != nil {
			return err
		}
		return e.show(r, func() { e.drawRun(r) })
	})
}

// operator names who uses the program, for what is recorded of it.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return "cli:" + name
}

type runsListCmd struct {
	ID     string `arg:"" optional:"" name:"run-id" help:"show this one"`
	Job    string `name:"job" placeholder:"JOB" help:"metrics-aggregate, file-cleanup, log-cleanup, user-log-cleanup, erase-user, reconcile, unknown-cleanup, retention-apply or archive-register"`
	State  string `name:"state" placeholder:"STATE" help:"running, done, partial, failed, refused, skipped or missed"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

func (c *runsListCmd) filter() (exportops.RunFilter, error) {
	f := exportops.RunFilter{Job: exportops.Job(c.Job), State: exportops.RunState(c.State), Limit: c.Limit, Cursor: c.Cursor}
	var errs []error
	if c.Job != "" && !slices.Contains(exportops.Jobs, f.Job) {
		errs = append(errs, exportops.Invalid("--job", "%q is no job", shorten(c.Job, 64)))
	}
	if c.State != "" && !slices.Contains(exportops.RunStates, f.State) {
		errs = append(errs, exportops.Invalid("--state", "%q is no state of a run", shorten(c.State, 64)))
	}
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		errs = append(errs, exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage))
	}
	return f, errors.Join(errs...)
}

// Run lists runs, newest first, or shows one.
func (c *runsListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return &usageError{err}
	}
	return e.withStore(func(s exportops.Database) error {
		if c.ID != "" {
			r, err := s.Run(e.ctx, c.ID)
			if err != nil {
				return err
			}
			return e.show(r, func() { e.drawRun(r) })
		}
		page, next, err := s.Runs(e.ctx, f)
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Run{}
		}
		answer := struct {
			Runs       []exportops.Run `json:"runs"`
			NextCursor string          `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, r := range page {
				rows[i] = []string{r.ID, string(r.Job), string(r.State), string(r.Trigger), instant(&r.StartedAt), took(r), shorten(r.Error, 50)}
			}
			e.table("runs", strings.Split("run,job,state,trigger,started,took,error", ","), rows)
			e.drawNext(next)
		})
	})
}

func took(r exportops.Run) string {
	if r.FinishedAt == nil || r.StartedAt.IsZero() {
		return "–"
	}
	return r.FinishedAt.Sub(r.StartedAt.Time).String()
}

func (e *env) drawRun(r exportops.Run) {
	rows := [][]string{
		{"job", string(r.Job)},
		{"state", string(r.State)},
		{"trigger", string(r.Trigger)},
		{"slot", instant(r.Slot)},
		{"holder", r.Holder},
		{"started", instant(&r.StartedAt)},
		{"finished", instant(r.FinishedAt)},
		{"parameters", string(r.Params)},
		{"result", string(r.Result)},
	}
	if r.Forced {
		rows = append(rows, []string{"forced", "yes"})
	}
	if r.CancelledAt != nil {
		rows = append(rows, []string{"cancelled", instant(r.CancelledAt) + " by " + r.CancelledBy})
	}
	if r.Error != "" {
		rows = append(rows, []string{"error", r.Error})
	}
	e.table("run "+r.ID, nil, rows)
}
