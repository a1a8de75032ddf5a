package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/exportops/exportops"
)

var descriptions []*prometheus.Desc

func gauge(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("exportops_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

var (
	windowExports = gauge("window_exports", "Exports of the last hour or day, by where they stand.", "window", "format", "status")
	windowAverage = gauge("window_duration_average_seconds", "Average duration of the completed exports of the last hour or day.", "window", "format")
	windowP95     = gauge("window_duration_p95_seconds", "95th percentile of the duration of the completed exports of the last hour or day.", "window", "format")

	overdue     = gauge("overdue_age_seconds", "Time since the oldest expired file should have gone; 0 where there is none.")
	liveBytes   = gauge("live_bytes", "Size of the files of completed exports.")
	expiring    = gauge("expiring_files", "Files that expire within the next 24 hours.")
	quarantined = gauge("quarantined_deletions", "Files that were given up on after five failed runs.")
	stuck       = gauge("stuck_exports", "Exports that have been in progress for longer than the rule about them allows.")
	missing     = gauge("missing_files", "Live exports whose file is not there.")

	lastRun      = gauge("last_run_timestamp_seconds", "When the latest run of a job ended, however it ended.", "job_name")
	lastSuccess  = gauge("last_success_timestamp_seconds", "When the latest run of a job ended that was done.", "job_name")
	lastDuration = gauge("last_run_duration_seconds", "How long the latest run of a job took.", "job_name")
	lastState    = gauge("last_run_state", "1 for the state that the latest run of a job ended in.", "job_name", "state")
	activeRuns   = gauge("active_runs", "Runs of a job that are under way.", "job_name")

	openAlerts = gauge("alerts", "Incidents that are not over.", "rule", "severity", "state")
	untold     = gauge("notifications", "Messages that a channel has not got: pending ones, and dead ones, which were given up on.", "channel", "state")
)

var windows = []struct {
	name string
	last time.Duration
}{{"1h", time.Hour}, {"24h", 24 * time.Hour}}

func (s *state) exports(ctx context.Context, out put) error {
	asked := make([]exportops.Window, 0, len(windows)*len(exportops.Formats))
	for _, w := range windows {
		for _, format := range exportops.Formats {
			asked = append(asked, exportops.Window{Last: w.last, Only: exportops.Only{Format: format}})
		}
	}
	all, err := s.Figures.Figures(ctx, asked...)
	if err != nil {
		return err
	}
	for _, w := range windows {
		for _, format := range exportops.Formats {
			f := all[0]
			all = all[1:]
			out(windowExports, float64(f.Completed), w.name, string(format), string(exportops.Completed))
			out(windowExports, float64(f.Failed), w.name, string(format), string(exportops.Failed))
			out(windowExports, float64(f.InProgress), w.name, string(format), "in_progress")
			if f.AvgDurationMS != nil {
				out(windowAverage, *f.AvgDurationMS/1000, w.name, string(format))
				out(windowP95, *f.P95DurationMS/1000, w.name, string(format))
			}
		}
	}
	return nil
}

func (s *state) files(ctx context.Context, out put) error {
	now := s.Now()
	b, err := s.Alerts.Backlog(ctx)
	if err != nil {
		return err
	}
	soon, err := s.Store.Expiring(ctx, exportops.Span{From: exportops.At(now), To: exportops.At(now.Add(24 * time.Hour))})
	if err != nil {
		return err
	}
	age := 0.0
	if b.OldestOverdue != nil {
		age = now.Sub(b.OldestOverdue.Time).Seconds()
	}
	out(overdue, age)
	out(liveBytes, float64(b.StoredBytes))
	out(expiring, float64(soon))
	out(quarantined, float64(b.Quarantined))
	out(stuck, float64(b.Stuck))
	out(missing, float64(b.Missing))
	return nil
}

// lookBack is how many runs of a job are looked at for the latest that was done.
const lookBack = 50

func (s *state) runs(ctx context.Context, out put) error {
	active, err := s.Store.ActiveRuns(ctx)
	if err != nil {
		return err
	}
	counts := map[exportops.Job]int{}
	for _, r := range active {
		counts[r.Job]++
	}
	for _, job := range jobNames() {
		out(activeRuns, float64(counts[job]), string(job))
		runs, _, err := s.Store.Runs(ctx, exportops.RunFilter{Job: job, Limit: lookBack})
		if err != nil {
			return err
		}
		lastRuns(job, runs, out)
	}
	return nil
}

func jobNames() []exportops.Job {
	return append([]exportops.Job{exportops.Reconcile, exportops.EraseUser, exportops.UserLogCleanup}, exportops.ScheduledJobs...)
}

// lastRuns takes the runs of a job, newest first.
func lastRuns(job exportops.Job, runs []exportops.Run, out put) {
	latest := true
	for _, r := range runs {
		if !r.Finished() || r.FinishedAt == nil || r.State == exportops.RunMissed || r.State == exportops.RunSkipped {
			continue
		}
		ended := float64(r.FinishedAt.UnixMilli()) / 1000
		if latest {
			out(lastRun, ended, string(job))
			out(lastDuration, r.FinishedAt.Sub(r.StartedAt.Time).Seconds(), string(job))
			out(lastState, 1, string(job), string(r.State))
			latest = false
		}
		if r.State == exportops.RunDone {
			out(lastSuccess, ended, string(job))
			return
		}
	}
}

func (s *state) alerts(ctx context.Context, out put) error {
	open, err := s.Store.OpenIncidents(ctx)
	if err != nil {
		return err
	}
	type key struct{ rule, severity, state string }
	counts := map[key]int{}
	for _, i := range open {
		counts[key{i.Rule, string(i.Severity), string(i.State)}]++
	}
	for k, n := range counts {
		out(openAlerts, float64(n), k.rule, k.severity, k.state)
	}
	channels, err := s.Store.NotificationBacklog(ctx, exportops.At(s.Now()))
	for _, c := range channels {
		out(untold, float64(c.Pending), c.Channel, string(exportops.NotificationPending))
		out(untold, float64(c.Dead), c.Channel, string(exportops.NotificationDead))
	}
	return err
}
