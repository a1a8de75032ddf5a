package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/config"
)

// AlertRules are those of the settings, or the default ones.
func AlertRules(c config.Config) []exportops.AlertRule {
	if c.Rules == nil {
		return alerting.DefaultRules()
	}
	return c.Rules
}

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
		if err := a.Alerts.Evaluate(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("alert rules could not be checked", slog.Any("error", err))
		}
	}
}
