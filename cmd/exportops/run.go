package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/jobs"
)

type runCmd struct {
	Job            string        `arg:"" enum:"metrics-aggregate,file-cleanup,log-cleanup" help:"metrics-aggregate, file-cleanup or log-cleanup"`
	DryRun         bool          `name:"dry-run" help:"say what would be deleted, and delete nothing"`
	PlanOut        string        `name:"plan-out" placeholder:"FILE" help:"file-cleanup or log-cleanup --dry-run: write what would be deleted, and what is kept and why, to this file"`
	Plan           string        `name:"plan" placeholder:"FILE" help:"file-cleanup or log-cleanup: delete what this plan lists, as far as it has not changed since"`
	Force          bool          `name:"force" help:"run although a guard refuses; this is recorded"`
	ByAge          bool          `name:"by-age" help:"file-cleanup: delete by age, whatever the expiry or a retention policy says"`
	RetentionHours *int          `name:"retention-hours" placeholder:"N" help:"file-cleanup: by age, of exports created more than N hours ago (EXPORT_FILE_RETENTION)"`
	RetentionDays  *int          `name:"retention-days" placeholder:"N" help:"log-cleanup: of rows more than N days old (EXPORT_LOG_RETENTION); under a retention policy, of those it lets go"`
	User           string        `name:"user" placeholder:"ID" help:"log-cleanup: of every finished export of this user, whatever its age"`
	Budget         time.Duration `name:"budget" placeholder:"DURATION" help:"stop after this long, with the rest left for the next run"`
}

func (c *runCmd) request(cfg retentions) (jobs.Request, error) {
	r := jobs.Request{
		Job: exportops.Job(c.Job), Trigger: exportops.ByCommand, RetentionHours: c.RetentionHours,
		RetentionDays: c.RetentionDays, DryRun: c.DryRun, Force: c.Force, Budget: c.Budget,
	}
	if c.ByAge && c.RetentionHours == nil {
		if cfg.policy {
			return r, &exportops.Error{
				Kind: exportops.KindInvalid, Field: "--by-age", Message: "under a retention policy no single age holds for all files",
				Hint: "name the age with --retention-hours",
			}
		}
		// A part of an hour keeps a file for the whole of it.
		hours := int((cfg.file + time.Hour - 1) / time.Hour)
		r.RetentionHours = &hours
	}
	if c.User != "" {
		if r.Job != exportops.LogCleanup || c.RetentionDays != nil {
			return r, exportops.Invalid("--user", "it goes with log-cleanup, and without --retention-days")
		}
		r.Job, r.UserID = exportops.UserLogCleanup, c.User
	}
	planned := r.Job == exportops.FileCleanup || r.Job == exportops.LogCleanup
	if c.PlanOut != "" && (!c.DryRun || !planned) {
		return r, exportops.Invalid("--plan-out", "it goes with file-cleanup --dry-run and log-cleanup --dry-run, without --user")
	}
	if c.Plan != "" && (!planned || c.DryRun || c.ByAge || c.RetentionHours != nil || c.RetentionDays != nil) {
		return r, exportops.Invalid("--plan", "it goes with file-cleanup and log-cleanup, and says itself what is deleted: "+
			"without --dry-run, --by-age, --retention-hours, --retention-days and --user")
	}
	if c.Budget < 0 {
		return r, exportops.Invalid("--budget", "%s is negative", c.Budget)
	}
	return r, r.Validate()
}

type retentions struct {
	file   time.Duration
	policy bool // there is one
}

// Run runs the job, or joins a run of it that is going on elsewhere.
func (c *runCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	req, err := c.request(retentions{cfg.FileRetention, cfg.Policy != nil})
	if err != nil {
		return &usageError{err}
	}
	switch {
	case c.PlanOut != "":
		return e.makePlan(c.PlanOut, req)
	case c.Plan != "":
		return e.applyPlan(c.Plan, req)
	}
	return e.runJob(req)
}

// runJob runs a job and shows how it went on, and how it ended.
func (e *env) runJob(req jobs.Request) error {
	shown := e.stderr.terminal()
	if shown {
		req.OnProgress = func(r jobs.Result) { e.stderr.printf("\r\033[K%s", progress(r)) }
	}
	return e.with(func(a *app.App) error {
		answer, err := a.Jobs.Run(e.ctx, req)
		if shown {
			e.stderr.printf("\r\033[K")
		}
		return e.showEnd(answer, err)
	})
}

// showEnd shows how a run ended, and returns what the command ends with.
func (e *env) showEnd(answer jobs.Answer, err error) error {
	if err != nil && exportops.IsKind(err, exportops.KindRefused) && e.asJSON() {
		err = errors.Join(err, e.showRun(answer)) // its figures
	}
	if err != nil {
		return err
	}
	if err := e.showRun(answer); err != nil {
		return err
	}
	if answer.Failure != "" {
		e.stderr.printf("error: %s\n", oneLine(answer.Failure))
		return errSaid
	}
	if e.ctx.Err() != nil {
		return errors.New("interrupted; run it again to go on")
	}
	return nil
}

func progress(r jobs.Result) string {
	switch {
	case r.Files != nil:
		return fmt.Sprintf("%d files deleted, %d failed", r.Files.DeletedCount, r.Files.FailedCount)
	case r.Logs != nil:
		return fmt.Sprintf("%d log rows deleted, %d failed", r.Logs.DeletedCount, r.Logs.FailedCount)
	case r.Erased != nil && r.Erased.AtWork > 0:
		return fmt.Sprintf("waiting for %d runs that are at work to end", r.Erased.AtWork)
	case r.Erased != nil:
		return fmt.Sprintf("%d log rows deleted, %d failed", r.Erased.DeletedCount, r.Erased.FailedCount)
	case r.Rolls != nil:
		return fmt.Sprintf("%d hours closed", r.Rolls.HoursClosed)
	case r.Expiry != nil:
		return fmt.Sprintf("%d expiries changed", r.Expiry.ChangedCount)
	case r.Unknown != nil:
		return fmt.Sprintf("%d files deleted, %d failed", r.Unknown.DeletedCount, r.Unknown.FailedCount)
	case r.Recon != nil:
		return fmt.Sprintf("%d files compared", r.Recon.FilesSeen)
	}
	return ""
}

// showRun shows the result; of a run that is still going on, the run.
func (e *env) showRun(a jobs.Answer) error {
	switch {
	case a.Pending:
		return e.show(a.Run, func() { e.stdout.printf("run %s is still going on\n", a.Run.ID) })
	case a.Result.Files != nil:
		return e.show(a.Result.Files, func() { e.drawFiles(a.Result.Files) })
	case a.Result.Logs != nil:
		return e.show(a.Result.Logs, func() { e.drawLogs(a.Result.Logs) })
	case a.Result.Known != nil:
		return e.show(a.Result.Known, func() { e.drawRegistered(a.Result.Known) })
	case a.Result.Erased != nil:
		return e.show(a.Result.Erased, func() { e.drawErased(a.Result.Erased) })
	case a.Result.Recon != nil:
		return e.show(a.Result.Recon, func() { e.drawReconcile(a.Result.Recon) })
	case a.Result.Expiry != nil:
		return e.show(a.Result.Expiry, func() { e.drawExpiry(a.Result.Expiry) })
	case a.Result.Unknown != nil:
		return e.show(a.Result.Unknown, func() { e.drawUnknown(a.Result.Unknown) })
	case a.Result.Rolls != nil:
		return e.show(a.Result.Rolls, func() { e.drawRolls(a.Result.Rolls) })
	}
	return nil
}

func (e *env) drawFiles(r *exportops.FileCleanupResult) {
	title := "file cleanup"
	if r.DryRun {
		title += " (dry run: nothing was deleted)"
	}
	e.table(title, nil, counts(
		"found", r.TotalFound, "deleted", r.DeletedCount, "failed", r.FailedCount, "would be deleted", r.WouldDelete, "already absent", r.AlreadyAbsent,
		"without a file", r.NoFile, "changed meanwhile", r.Changed, "file shared with a live export", r.Shared, "kept: held", r.Held,
		"implausible expiry", r.Implausible, "quarantined", r.Quarantined, "claimed by another run", r.InFlight,
		"remaining", r.Remaining, "rows expired", r.LogsUpdated,
	))
	e.stdout.printf("%s freed in %s\n", byteSize(float64(r.BytesFreed)), millis(float64(r.DurationMS)))
	for _, x := range r.Errors {
		e.stdout.printf("  %s: %s\n", oneLine(x.ExportID), oneLine(x.Error))
	}
	e.drawGuards(r.Guards, r.DryRun)
	e.drawRest(r.ErrorsTotal-int64(len(r.Errors)), r.Complete)
}

// drawGuards says which guards refused a run that went on, or would refuse one.
func (e *env) drawGuards(g *exportops.Guards, dry bool) {
	if g == nil || len(g.RefusedBy) == 0 {
		return
	}
	names := make([]string, len(g.RefusedBy))
	for i, n := range g.RefusedBy {
		names[i] = string(n)
	}
	by := strings.Join(names, ", ")
	switch {
	case g.OverriddenBy != "":
		e.stdout.printf("refused by the guard of: %s; overridden by: %s\n", by, g.OverriddenBy)
	case dry:
		e.stdout.printf("a run would be refused by the guard of: %s\n", by)
	}
}

func (e *env) drawLogs(r *exportops.LogCleanupResult) {
	title := "log cleanup"
	if r.DryRun {
		title += " (dry run: nothing was deleted)"
	}
	e.table(title, nil, counts(
		"found", r.TotalFound, "deleted", r.DeletedCount, "failed", r.FailedCount, "would be deleted", r.WouldDelete, "kept: in progress", r.KeptInProgress,
		"kept: file may exist", r.KeptFileMayExist, "kept: held", r.KeptHeld, "kept: by the retention policy", r.KeptByPolicy, "changed meanwhile", r.Changed, "remaining", r.Remaining,
		"files deleted", r.FilesDeleted, "files absent", r.FilesAbsent, "archived", r.ArchivedCount,
		"archives of dead runs left open", r.ArchivesLeft,
	))
	for _, x := range r.Errors {
		e.stdout.printf("  %s: %s\n", oneLine(x.LogID), oneLine(x.Error))
	}
	e.drawGuards(r.Guards, r.DryRun)
	e.drawRest(r.ErrorsTotal-int64(len(r.Errors)), r.Complete)
}

func (e *env) drawRolls(r *exportops.AggregateResult) {
	e.drawSummary(r.Metrics)
	e.table("rollups", nil, [][]string{{"hours closed", number(r.HoursClosed)}, {"exports observed", number(r.Observed)}})
	if r.FailureAlert != nil && r.FailureAlert.Alert {
		e.stdout.printf("the failure rate of %s is above %s\n", percent(r.FailureAlert.FailureRate), percent(r.FailureAlert.Threshold))
	}
	e.drawRest(0, r.Complete)
}

func (e *env) drawRest(errs int64, complete bool) {
	if errs > 0 {
		e.stdout.printf("  and %d more\n", errs)
	}
	if !complete {
		e.stdout.printf("not complete: run it again to go on\n")
	}
}

// counts makes rows of names and numbers. What is zero is left out, the first
// three aside.
func counts(pairs ...any) [][]string {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		n, _ := pairs[i+1].(int64)
		if n != 0 || i < 6 {
			rows = append(rows, []string{name, number(n)})
		}
	}
	return rows
}
