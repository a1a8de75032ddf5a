package main

import (
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/jobs"
)

type reconcileCmd struct {
	Now reconcileNowCmd  `cmd:"" name:"now" default:"withargs" help:"Compare files and rows now; this is what happens without a word."`
	Ls  reconcileListCmd `cmd:"" name:"ls" help:"List unknown and missing files, as last compared."`
}

type reconcileNowCmd struct {
	DryRun     bool          `name:"dry-run" help:"say what would be found, and keep nothing"`
	LimitRate  int           `name:"limit-rate" placeholder:"N" help:"walk through at most N files a second (10000)"`
	StuckAfter time.Duration `name:"stuck-after" placeholder:"DURATION" help:"fail exports that are queued or processing for longer (24h)"`
	Budget     time.Duration `name:"budget" placeholder:"DURATION" help:"stop after this long; the next run goes on there"`
	PlanOut    string        `name:"plan-out" placeholder:"FILE" help:"write which quarantined files may be deleted, and which are kept and why, to this file; compares nothing"`
	Plan       string        `name:"plan" placeholder:"FILE" help:"delete the quarantined files that this plan lists, as far as no row names them by now and they have not changed"`
	Force      bool          `name:"force" help:"go on although a guard refuses; this is recorded"`
}

// Run compares what storage holds with the rows.
func (c *reconcileNowCmd) Run(e *env) error {
	if c.Budget < 0 {
		return &usageError{exportops.Invalid("--budget", "%s is negative", c.Budget)}
	}
	if c.PlanOut != "" || c.Plan != "" {
		return c.planned(e)
	}
	req := jobs.Request{
		Job: exportops.Reconcile, Trigger: exportops.ByCommand, DryRun: c.DryRun, Rate: c.LimitRate,
		StuckAfter: c.StuckAfter, Budget: c.Budget, Force: c.Force,
	}
	if err := req.Validate(); err != nil {
		return &usageError{err}
	}
	return e.runJob(req)
}

// planned makes a plan of the quarantined files, or applies one.
func (c *reconcileNowCmd) planned(e *env) error {
	if (c.Plan == "") == (c.PlanOut == "") || c.StuckAfter != 0 || c.LimitRate != 0 ||
		(c.DryRun && c.Plan != "") || (c.Force && c.Plan == "") {
		return &usageError{exportops.Invalid("--plan", "--plan FILE goes with --force and --budget alone, --plan-out FILE with --dry-run and --budget")}
	}
	req := jobs.Request{Job: exportops.UnknownCleanup, Trigger: exportops.ByCommand, Force: c.Force, Budget: c.Budget}
	if c.PlanOut != "" {
		req.DryRun = true
		return e.makePlan(c.PlanOut, req)
	}
	return e.applyPlan(c.Plan, req)
}

func (e *env) drawUnknown(r *exportops.UnknownCleanupResult) {
	title := "unknown files"
	if r.DryRun {
		title += " (dry run: nothing was deleted)"
	}
	e.table(title, nil, counts(
		"listed", r.TotalFound, "deleted", r.DeletedCount, "failed", r.FailedCount, "would be deleted", r.WouldDelete,
		"already absent", r.AlreadyAbsent, "changed meanwhile", r.Changed, "kept: a row names it", r.KeptNamed,
		"kept: perhaps of a row that cannot be read", r.KeptUnclear, "kept: held", r.KeptHeld, "kept: claimed", r.KeptClaimed,
		"kept: may be an archive", r.KeptArchive, "kept: outside the prefix", r.KeptNotOurs, "kept: not quarantined", r.KeptInGrace,
		"remaining", r.Remaining, "claims of dead runs closed", r.Closed,
	))
	e.stdout.printf("%s freed in %s\n", byteSize(float64(r.BytesFreed)), millis(float64(r.DurationMS)))
	for _, x := range r.Errors {
		e.stdout.printf("  %s: %s\n", oneLine(x.Key), oneLine(x.Error))
	}
	e.drawGuards(r.Guards, r.DryRun)
	e.drawRest(r.ErrorsTotal-int64(len(r.Errors)), r.Complete)
}

func (e *env) drawReconcile(r *exportops.ReconcileResult) {
	title := "reconcile"
	if r.DryRun {
		title += " (dry run: nothing was kept)"
	}
	e.table(title, nil, counts(
		"files", r.FilesSeen, "known to a row", r.FilesKnown, "unknown, in their grace", r.UnknownSeen,
		"unknown, quarantined", r.Quarantined, "unknown, perhaps of a row that cannot be read", r.UnknownHeldUp,
		"too new to say", r.FilesRecent, "unknown before, known now", r.Adopted, "unknown before, gone now", r.Gone, "no files of exports", r.OddCount,
		"missing files", r.MissingFiles, "missing no more", r.MissingCleared, "stuck exports failed", r.StuckFailed,
		"stuck exports that would be failed", r.WouldFailStuck, "stuck exports that moved on", r.StuckMovedOn,
		"rows that cannot be read", r.UnreadableRows, "could not be looked at", r.FailedCount,
	))
	for _, m := range r.Missing {
		e.stdout.printf("  missing: %s of export %s\n", oneLine(m.Key), m.ExportID)
	}
	for _, u := range r.Unknown {
		e.stdout.printf("  unknown, %s: %s\n", u.State, oneLine(u.Key))
	}
	for _, o := range r.Odd {
		e.stdout.printf("  %s: %s\n", oneLine(o.Key), oneLine(o.Why))
	}
	for _, x := range r.Errors {
		e.stdout.printf("  %s: %s\n", oneLine(x.ExportID), oneLine(x.Error))
	}
	e.drawGuards(r.Guards, r.DryRun)
	e.drawRest(0, r.Complete)
}

type reconcileListCmd struct {
	State string `name:"state" enum:",seen,quarantined,adopted,gone" default:"" placeholder:"STATE" help:"unknown files in this state: seen, quarantined, adopted or gone (seen and quarantined)"`
	Limit int    `name:"limit" default:"50" placeholder:"N" help:"at most so many of each kind, 1 to 500 (${default})"`
	After string `name:"after" placeholder:"KEY" help:"unknown files whose key comes after this one"`
}

// Run lists what is known of unknown and missing files.
func (c *reconcileListCmd) Run(e *env) error {
	return e.with(func(a *app.App) error {
		answer := struct {
			Unknown []exportops.UnknownFile `json:"unknown"`
			Missing []exportops.MissingFile `json:"missing"`
		}{[]exportops.UnknownFile{}, []exportops.MissingFile{}}
		states := []exportops.UnknownState{exportops.UnknownQuarantined, exportops.UnknownSeen}
		if c.State != "" {
			states = []exportops.UnknownState{exportops.UnknownState(c.State)}
		}
		for _, state := range states {
			page, err := a.Store.UnknownFiles(e.ctx, exportops.UnknownFilter{
				Store: a.Files.ID(), State: state, After: c.After, Limit: c.Limit,
			})
			if err != nil {
				return err
			}
			answer.Unknown = append(answer.Unknown, page...)
		}
		missing, err := a.Store.MissingFiles(e.ctx, exportops.MissingFilter{Limit: c.Limit})
		if err != nil {
			return err
		}
		answer.Missing = append(answer.Missing, missing...)
		return e.show(answer, func() {
			rows := make([][]string, len(answer.Unknown))
			for i, u := range answer.Unknown {
				rows[i] = []string{u.Key, string(u.State), byteSize(float64(u.Size)), instant(&u.Modified), instant(&u.FirstSeen)}
			}
			e.table("files that no row names", strings.Split("key,state,size,written,unknown since", ","), rows)
			rows = make([][]string, len(answer.Missing))
			for i, m := range answer.Missing {
				rows[i] = []string{m.ExportID, m.Key, instant(&m.FirstSeen)}
			}
			e.table("exports whose file is missing", strings.Split("export,key,missing since", ","), rows)
		})
	})
}
