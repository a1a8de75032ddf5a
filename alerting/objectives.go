package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// Objectives says how the objectives are kept. Exports are read from rollups, file
// cleanups from the results of their runs.
func (s *Service) Objectives(ctx context.Context) ([]exportops.ObjectiveState, error) {
	windows := make([]exportops.Window, len(exportops.ObjectiveWindows))
	for n, last := range exportops.ObjectiveWindows {
		windows[n].Last = last
	}
	all, err := s.Figures.Figures(ctx, windows...)
	if err != nil {
		return nil, err
	}
	over := make([]exportops.ObjectiveFigures, len(all))
	for n, f := range all {
		over[n].Exports = f
	}
	if err := s.cleanups(ctx, over); err != nil {
		return nil, err
	}
	return exportops.JudgeObjectives(over), nil
}

// cleanups adds up what the file cleanups that ended in each window did.
func (s *Service) cleanups(ctx context.Context, over []exportops.ObjectiveFigures) error {
	now := s.Now()
	// Runs come in the order in which they began: one that ended in time may have begun
	// a little before.
	oldest := now.Add(-slices.Max(exportops.ObjectiveWindows) - day)
	f := exportops.RunFilter{Job: exportops.FileCleanup, Limit: exportops.MaxPage}
	for {
		page, next, err := s.Runs.Runs(ctx, f)
		if err != nil {
			return err
		}
		for _, run := range page {
			if run.StartedAt.Before(oldest) {
				return nil
			}
			if run.FinishedAt == nil || len(run.Result) == 0 {
				continue
			}
			var did exportops.FileCleanupResult
			if err := json.Unmarshal(run.Result, &did); err != nil {
				return fmt.Errorf("read the result of run %s: %w", run.ID, err)
			}
			addCleanup(over, now.Sub(run.FinishedAt.Time), did)
		}
		if next == "" {
			return nil
		}
		f.Cursor = next
	}
}

// addCleanup counts a cleanup in the windows that reach back to its end.
func addCleanup(over []exportops.ObjectiveFigures, ago time.Duration, did exportops.FileCleanupResult) {
	for n, window := range exportops.ObjectiveWindows {
		if ago <= window {
			over[n].Gone += did.DeletedCount + did.AlreadyAbsent
			over[n].NotGone += did.FailedCount
		}
	}
}
