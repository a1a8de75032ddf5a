package app

import (
	"context"
	"log/slog"
	"time"
)

// evaluateWithin bounds one look at the alert rules.
const evaluateWithin = 30 * time.Second

// watch holds the alert rules against the figures at an interval until ctx ends.
// Every replica does: an incident is that of the first one that sees it.
func (a *App) watch(ctx context.Context) {
	if a.config.AlertInterval <= 0 {
		return
	}
	tick := time.NewTicker(a.config.AlertInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		bounded, cancel := context.WithTimeout(ctx, evaluateWithin)
		err := a.Alerts.Evaluate(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			a.log.Error("alert rules could not be checked", slog.Any("error", err))
		}
	}
}
