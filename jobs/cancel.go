package jobs

import (
	"context"
	"strings"
)

// stops returns what tells whether somebody asked a run to stop. Where that
// cannot be read the work goes on: it meets the trouble itself.
func (r *Runner) stops(runID string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		run, err := r.Store.Run(ctx, runID)
		return err == nil && run.CancelledAt != nil
	}
}

// withCancel adds to what is said of a run with work left that it was cancelled,
// and by whom.
func (r *Runner) withCancel(ctx context.Context, runID, message string) string {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer stop()
	run, err := r.Store.Run(ctx, runID)
	if err != nil || run.CancelledAt == nil {
		return message
	}
	return strings.TrimPrefix(message+"; cancelled by "+run.CancelledBy, "; ")
}
