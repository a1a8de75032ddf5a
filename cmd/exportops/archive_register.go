package main

import (
	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

type archiveRegisterCmd struct {
	DryRun bool `name:"dry-run" help:"say what would be registered, and record nothing"`
}

// Help says more of it.
func (archiveRegisterCmd) Help() string {
	return `Each archive is read and compared with the manifest beside it before it is recorded.
Rows of it that are in the export logs again, and are the same, are deleted by the next
log cleanup and not archived a second time. An archive that was recorded as lying in
another storage, and was copied here with its manifest, is recorded as lying here; what
is left of it there is nobody's, and yours to delete. What cannot be registered is named,
and makes the exit status 1.`
}

// Run registers archives.
func (c *archiveRegisterCmd) Run(e *env) error {
	return e.runJob(jobs.Request{Job: exportops.RegisterArchives, Trigger: exportops.ByCommand, DryRun: c.DryRun})
}

func (e *env) drawRegistered(r *exportops.RegisterResult) {
	title := "archives without a record"
	if r.DryRun {
		title += " (dry run: nothing was recorded)"
	}
	e.table(title, nil, counts(
		"found", r.Found, "registered", r.Registered, "of them from another storage", r.Moved, "their rows", r.Rows, "of them in the export logs again", r.RowsPresent, "left", r.LeftTotal,
	))
	for _, x := range r.Left {
		e.stdout.printf("  %s: %s\n", oneLine(x.Key), oneLine(x.Why))
	}
	e.drawRest(r.LeftTotal-int64(len(r.Left)), r.Complete)
}
