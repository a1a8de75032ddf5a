package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

// restored reminds of a restoration that is not settled.
func (d *doctor) restored(cfg config.Config) {
	const check = "restored backup"
	switch at := cfg.RestoredFrom; {
	case at.IsZero():
	case at.After(d.now):
		d.say(check, wrong, "give the time when the backup was made", "EXPORTOPS_RESTORED_FROM lies ahead of this machine's clock")
	default:
		d.say(check, note, "when that is settled, unset EXPORTOPS_RESTORED_FROM: see docs/restored-backup.md",
			"files that were written after %s stay where an older row names them, no unknown file is quarantined, and no export is failed for being stuck", at)
	}
}

// secrets looks at what guards the doors.
func (d *doctor) secrets(cfg config.Config) {
	const check, hint = "secrets", "make one with: openssl rand -hex 32"
	if err := cfg.CheckServe(false); err != nil {
		d.wrong(check, err)
	} else if cfg.CronSecret.Current != "" {
		d.say(check, fine, "", "CRON_SECRET is set; callers send it as Authorization: Bearer <CRON_SECRET>")
	}
	for _, x := range []struct {
		name    string
		secret  config.Rotated
		guarded string
	}{
		{"CRON_SECRET", cfg.CronSecret, ""},
		{"EXPORTOPS_INGEST_TOKEN", cfg.Ingest, "writing to /api/v1"},
		{"EXPORTOPS_READ_TOKEN", cfg.Read, "reading from /api/v1 without the admin token"},
		{"EXPORTOPS_ADMIN_TOKEN", cfg.Admin, "deleting through /api/v1"},
	} {
		switch s := x.secret.Current; {
		case s == "" && x.guarded != "":
			d.say(check, note, "set "+x.name+" to open it", "%s is not set: %s is closed", x.name, x.guarded)
		case len(s) >= config.MinSecret && guessable(s.Reveal()):
			d.say(check, wrong, hint, "%s is easy to guess", x.name)
		case len(s) >= config.MinSecret && len(s) < 32:
			d.say(check, note, hint, "%s is shorter than the 32 characters that are recommended", x.name)
		}
		if x.secret.Previous != "" {
			d.say(check, note, "remove it when every caller has the new one", "%s_PREVIOUS is still accepted", x.name)
		}
	}
}

// guessable takes secrets of few different characters, and examples out of
// documents, for what they are.
func guessable(s string) bool {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	lower := strings.ToLower(s)
	return len(seen) < 8 || strings.Contains(lower, "your-") || strings.Contains(lower, "secret-random") ||
		strings.Contains(lower, "changeme") || strings.Contains(lower, "password")
}

// database opens the database and shows that it can be written; nil when not.
func (d *doctor) database(cfg config.Config) exportops.Database {
	const check = "database"
	store, err := app.OpenStore(d.env.ctx, cfg)
	if err != nil {
		d.wrong(check, err)
		return nil
	}
	err = store.Rehearse(d.env.ctx, func(play exportops.Store) error {
		_, _, _, err := play.BeginRun(d.env.ctx, exportops.RunRequest{
			Job: exportops.MetricsAggregate, Lane: "doctor", Params: []byte(`{}`), Trigger: exportops.ByCommand,
			Holder: "doctor", Now: exportops.At(d.now), Lease: time.Minute,
		})
		return err
	})
	if err != nil {
		d.wrong(check, err)
	} else {
		d.say(check, fine, "", "%s can be read and written", store.Name())
	}
	return store
}

// table looks at the export logs.
func (d *doctor) table(cfg config.Config, store exportops.Database) {
	check := cfg.LogsTable
	x, err := store.Diagnose(d.env.ctx, exportops.At(d.now.Add(-2*24*time.Hour)))
	if err != nil {
		d.wrong(check, err)
		return
	}
	const skew = 5 * time.Minute
	switch off := x.Clock.Sub(d.now); {
	case off.Abs() > skew:
		d.say("clock", wrong, "synchronize the clocks", "the database's clock is %s off", off.Round(time.Second))
	case x.Newest != nil && x.Newest.Sub(d.now) > skew:
		d.say("clock", wrong, "look at the clocks of this machine and of what writes "+cfg.LogsTable,
			"there are entries from %s, which lies ahead of this machine's clock", x.Newest)
	default:
		d.say("clock", fine, "", "it agrees with the database")
	}
	if x.Rows == 0 {
		d.say(check, note, "let the application write to it, or name another table in EXPORT_LOGS_TABLE; until then metrics are zero",
			"it holds no export")
	} else {
		d.say(check, fine, "", "it holds %d exports", x.Rows)
	}
	for _, y := range []struct {
		n             int64
		l             level
		message, hint string
	}{
		{x.Unexpiring, note, "completed exports have no expires_at: their files are never deleted", "set it where files should go, or run file-cleanup --by-age"},
		{x.Unreadable, wrong, "completed exports have an expires_at that is not written as 2026-01-31T12:00:00.000Z: their files are never deleted", "correct what the application writes"},
		{x.Implausible, wrong, "completed exports expire before they were created: their files are never deleted", "correct what the application writes"},
		{x.Overdue, wrong, "completed exports expired more than two days ago and still have their files", "see exportops runs --job file-cleanup for why they stayed"},
		{x.Quarantined, wrong, "files could not be deleted in five runs and are given up on", "see the errors of exportops runs --job file-cleanup"},
	} {
		if y.n > 0 {
			d.say(check, y.l, y.hint, "%d %s", y.n, y.message)
		}
	}
	for _, ddl := range x.MissingIndexes {
		d.say(check, wrong, ddl, "an index is missing: jobs read the whole table instead")
	}
}

// held tells of a hold on everything, which nothing else shows to be there: what it keeps
// is not late.
func (d *doctor) held(store exportops.Database) {
	const check = "holds"
	page, err := store.Holds(d.env.ctx, exportops.HoldFilter{Scope: exportops.HoldAll, Limit: 1})
	if err != nil {
		d.wrong(check, err)
		return
	}
	for _, h := range page {
		d.say(check, note, fmt.Sprintf("when that is settled: exportops hold release %d", h.ID),
			"everything is held since %s by %s, and nothing is deleted: %s", h.PlacedAt, h.PlacedBy, h.Reason)
	}
}

// locations looks at what the newest completed exports name.
func (d *doctor) locations(cfg config.Config, store exportops.Database) {
	page, _, err := store.Exports(d.env.ctx, exportops.ExportFilter{Status: exportops.Completed, Limit: exportops.MaxPage})
	if err != nil {
		d.wrong(cfg.LogsTable, err)
		return
	}
	refused, first := 0, ""
	locator := app.Locator(cfg)
	for _, x := range page {
		if r := locator.Resolve(x.FileURL, x.UserID); r.Refused != "" {
			if refused++; first == "" {
				first = fmt.Sprintf("export %s: %s", x.ExportID, r.Refused)
			}
		}
	}
	if refused > 0 {
		d.say("locations", wrong, "correct EXPORT_STORAGE_URL (its bucket and prefix) or EXPORT_KEY_PREFIX, or what the application writes",
			"%d of the newest %d completed exports name a file outside the storage, which is never deleted; %s", refused, len(page), first)
	}
}

// storage writes and deletes a file.
func (d *doctor) storage(cfg config.Config) {
	const check = "storage"
	files, err := app.OpenFiles(d.env.ctx, cfg)
	if err != nil {
		d.wrong(check, err)
		return
	}
	empty, err := files.Check(d.env.ctx)
	if err == nil {
		err = files.Probe(d.env.ctx)
	}
	err = errors.Join(err, files.Close())
	switch {
	case err != nil:
		d.wrong(check, err)
	case empty && cfg.Storage.Root == "":
		d.say(check, fine, "", "a file was written to %s and deleted; it is empty", cfg.Storage.Name())
	case empty:
		d.say(check, note, "if a volume belongs there, mount it", "%s can be written and is empty", cfg.Storage.Name())
	default:
		d.say(check, fine, "", "a file was written to %s and deleted", cfg.Storage.Name())
	}
}

// jobs looks at when each job ran last, and runs next.
func (d *doctor) jobs(cfg config.Config, store exportops.Database) {
	for _, job := range append(exportops.ScheduledJobs[:len(exportops.ScheduledJobs):len(exportops.ScheduledJobs)], exportops.Reconcile) {
		if cfg.Schedules[job] == "" {
			continue
		}
		check := string(job)
		last, err := lastRun(d.env.ctx, store, job)
		if err != nil {
			d.wrong(check, err)
			continue
		}
		next := config.Next(cfg.Schedules[job], d.now)
		late := config.Next(cfg.Schedules[job], next).Sub(next) * 2
		how := "start exportops serve, which keeps the schedule"
		if !cfg.Scheduler {
			how = "EXPORTOPS_SCHEDULER is off: have your cron call the endpoint, or run exportops run " + check
		}
		switch {
		case last == nil:
			d.say(check, note, how, "it has not run yet; it is due at %s", exportops.At(next))
		case last.State == exportops.RunFailed || last.State == exportops.RunRefused:
			d.say(check, wrong, "see exportops runs "+last.ID, "its last run, at %s, %s: %s", last.StartedAt, last.State, last.Error)
		case d.now.Sub(last.StartedAt.Time) > late:
			d.say(check, wrong, how, "its last run was at %s, and it is due every %s", last.StartedAt, config.ShowDuration(late/2))
		default:
			d.say(check, fine, "", "its last run, at %s, is %s; the next is due at %s", last.StartedAt, last.State, exportops.At(next))
		}
	}
}

// lastRun returns the latest run of a job that is more than a slot, nil
// without one.
func lastRun(ctx context.Context, store exportops.Database, job exportops.Job) (*exportops.Run, error) {
	page, _, err := store.Runs(ctx, exportops.RunFilter{Job: job, Limit: exportops.MaxPage})
	if err != nil {
		return nil, err
	}
	for _, r := range page {
		if r.State != exportops.RunMissed && r.State != exportops.RunSkipped {
			return &r, nil
		}
	}
	return nil, nil
}
