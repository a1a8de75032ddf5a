package jobs

import (
	"fmt"

	"github.com/exportops/exportops"
)

// Heartbeats are told of the runs that this process holds. They neither block nor
// fail.
type Heartbeats interface {
	// Began is told of a run that begins, or that was taken over.
	Began(run exportops.Run)
	// Ended is told how a run ended, with its figures in a line.
	Ended(run exportops.Run, figures string)
}

// began tells of a run that is ours from here on.
func (r *Runner) began(run exportops.Run) {
	if r.Heartbeats != nil {
		r.Heartbeats.Began(run)
	}
}

// ended tells how a run ended.
func (r *Runner) ended(run exportops.Run, result Result) {
	if r.Heartbeats != nil {
		r.Heartbeats.Ended(run, result.figures())
	}
}

// unrecorded tells of a run whose end could not be recorded. Where another process
// goes on with it, that one says how it ends.
func (r *Runner) unrecorded(run exportops.Run, result Result, err error) {
	run.State, run.Error = exportops.RunFailed, sentence(err)
	r.ended(run, result)
}

// figures says in a line what was done; "" for the jobs that have no heartbeat.
func (r Result) figures() string {
	switch {
	case r.Files != nil:
		return fmt.Sprintf("%d files found, %d deleted, %d already absent, %d failed, %d bytes freed",
			r.Files.TotalFound, r.Files.DeletedCount, r.Files.AlreadyAbsent, r.Files.FailedCount, r.Files.BytesFreed)
	case r.Logs != nil:
		return fmt.Sprintf("%d log rows found, %d deleted, %d archived, %d failed",
			r.Logs.TotalFound, r.Logs.DeletedCount, r.Logs.ArchivedCount, r.Logs.FailedCount)
	case r.Rolls != nil:
		return fmt.Sprintf("%d hours closed, %d exports observed", r.Rolls.HoursClosed, r.Rolls.Observed)
	case r.Recon != nil:
		return fmt.Sprintf("%d files compared, %d failed", r.Recon.FilesSeen, r.Recon.FailedCount)
	}
	return ""
}
