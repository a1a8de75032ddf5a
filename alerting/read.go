package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// look reads the figures of one evaluation, and what several rules ask for once.
type look struct {
	*Service
	now      exportops.Time
	silences []exportops.Silence // read where there is somebody to tell
	figures  map[exportops.Window]exportops.Figures
}

// read returns the figures that a rule looks at.
func (l *look) read(ctx context.Context, r exportops.AlertRule) ([]exportops.Reading, error) {
	switch r.Kind {
	case exportops.AlertSilence:
		return one(l.silence(ctx, r))
	case exportops.AlertBurnRate:
		return one(l.burnRate(ctx, r))
	case exportops.AlertStored, exportops.AlertOverdue, exportops.AlertQuarantined, exportops.AlertStuck, exportops.AlertMissing,
		exportops.AlertArchives:
		return one(l.left(ctx, r))
	case exportops.AlertDatabase:
		return one(usable(ctx, l.Database), nil)
	case exportops.AlertStorage:
		return one(usable(ctx, l.Storage), nil)
	case exportops.AlertDeletions:
		return one(l.deletions(ctx))
	case exportops.AlertMissed, exportops.AlertFailedRuns:
		return l.runs(ctx, r)
	case exportops.AlertOverlong:
		return l.overlong(ctx)
	}
	return one(l.exports(ctx, r))
}

func one(f exportops.Reading, err error) ([]exportops.Reading, error) {
	return []exportops.Reading{f}, err
}

// sum returns what the exports of one of a rule's windows come to. The first time, those
// of all rules are summed up: the exports of the last hours are in most of them. What a
// rule about one user asks for is read alone, as it is not in rollups.
func (l *look) sum(ctx context.Context, last time.Duration, r exportops.AlertRule) (exportops.Figures, error) {
	w := windowOf(r, last)
	if f, ok := l.figures[w]; ok {
		return f, nil
	}
	windows := []exportops.Window{w}
	if r.UserID == "" {
		windows = l.windows()
	}
	all, err := l.Figures.Figures(ctx, windows...)
	if err != nil {
		return exportops.Figures{}, err
	}
	if l.figures == nil {
		l.figures = map[exportops.Window]exportops.Figures{}
	}
	for i, w := range windows {
		l.figures[w] = all[i]
	}
	return l.figures[w], nil
}

// windows are those that rules about the exports of all users look at.
func (l *look) windows() (all []exportops.Window) {
	for _, r := range l.Rules {
		if kinds[r.Kind].looks != atExports || r.UserID != "" {
			continue
		}
		for _, last := range []time.Duration{r.Window, r.Short} {
			if w := windowOf(r, last); last > 0 && !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}

func windowOf(r exportops.AlertRule, last time.Duration) exportops.Window {
	return exportops.Window{Last: last, Only: exportops.Only{Format: r.Format, UserID: r.UserID}}
}

// exports reads what the exports of the rule's window come to.
func (l *look) exports(ctx context.Context, r exportops.AlertRule) (exportops.Reading, error) {
	f, err := l.sum(ctx, r.Window, r)
	if err != nil {
		return exportops.Reading{}, err
	}
	finished := float64(f.Finished())
	average := func(v *float64) exportops.Reading {
		if v == nil {
			return exportops.Reading{Unknown: true}
		}
		return exportops.Reading{Value: *v, Sample: f.Measured}
	}
	switch r.Kind {
	case exportops.AlertVolume:
		return exportops.Reading{Value: finished + float64(f.InProgress), Sample: f.Finished() + f.InProgress}, nil
	case exportops.AlertAvgDuration:
		return average(f.AvgDurationMS), nil
	case exportops.AlertP95Duration:
		return average(f.P95DurationMS), nil
	case exportops.AlertFailureRate, exportops.AlertSuccess:
		if finished == 0 {
			return exportops.Reading{Unknown: true}, nil
		}
		good := f.Completed
		if r.Kind == exportops.AlertFailureRate {
			good = f.Failed
		}
		return exportops.Reading{Value: float64(good) / finished, Sample: f.Finished()}, nil
	}
	return exportops.Reading{}, fmt.Errorf("%q is no kind of rule", r.Kind)
}

// burnRate is the lesser of those of the two windows: the long one says that it
// matters, the short one that it goes on.
func (l *look) burnRate(ctx context.Context, r exportops.AlertRule) (exportops.Reading, error) {
	out := exportops.Reading{Unknown: true}
	for n, last := range []time.Duration{r.Window, r.Short} {
		f, err := l.sum(ctx, last, r)
		if err != nil {
			return out, err
		}
		rate := 0.0
		if f.Finished() > 0 {
			rate = float64(f.Failed) / float64(f.Finished()) / (1 - SuccessObjective)
		}
		if n == 0 {
			out = exportops.Reading{Value: rate, Sample: f.Finished(), Unknown: f.Finished() == 0}
		}
		out.Value = min(out.Value, rate)
	}
	return out, nil
}

// The days that silence is held against, and on how many of them there must have
// been an export at the same time of day.
const (
	usualDays = 7
	usually   = 5
)

// silence counts the exports of the rule's window, which ends now, in whole hours.
func (l *look) silence(ctx context.Context, r exportops.AlertRule) (exportops.Reading, error) {
	v, err := l.Figures.Volume(ctx, exportops.Hourly, usualDays+1)
	if err != nil {
		return exportops.Reading{}, err
	}
	hours := max(int(r.Window/time.Hour), 1)
	counted := func(daysAgo int) (n int64) {
		end := len(v.VolumeData) - 24*daysAgo
		for _, p := range v.VolumeData[max(end-hours, 0):end] {
			n += p.Count
		}
		return n
	}
	days := 0
	for ago := 1; ago <= usualDays; ago++ {
		if counted(ago) > 0 {
			days++
		}
	}
	n := counted(0)
	return exportops.Reading{
		Value: float64(n), Sample: n, Unknown: n == 0 && days < usually,
		Detail: fmt.Sprintf("in %d h, in which there were some on %d of the last %d days", hours, days, usualDays),
	}, nil
}

// left reads what should have been done.
func (l *look) left(ctx context.Context, r exportops.AlertRule) (f exportops.Reading, err error) {
	b, err := l.backlogOf(ctx, r)
	if err != nil {
		return f, err
	}
	switch r.Kind {
	case exportops.AlertStored:
		f.Value = float64(b.StoredBytes)
	case exportops.AlertOverdue:
		if b.OldestOverdue != nil {
			f.Value, f.Detail = l.now.Sub(b.OldestOverdue.Time).Hours(), "it expired at "+b.OldestOverdue.String()
		}
	case exportops.AlertQuarantined:
		f.Value = float64(b.Quarantined)
	case exportops.AlertStuck:
		f.Value = float64(b.Stuck)
	case exportops.AlertMissing:
		f.Value = float64(b.Missing)
	case exportops.AlertArchives:
		f.Value = float64(b.FaultyArchives)
	}
	return f, nil
}

// lookBack is how many runs of a job are looked at.
const lookBack = 50

// deletions reads how many files the latest file cleanup failed to delete.
func (l *look) deletions(ctx context.Context) (exportops.Reading, error) {
	runs, _, err := l.Runs.Runs(ctx, exportops.RunFilter{Job: exportops.FileCleanup, Limit: lookBack})
	if err != nil {
		return exportops.Reading{}, err
	}
	for _, run := range runs {
		var result struct {
			Failed int64 `json:"failed_count"`
		}
		if !run.Finished() || len(run.Result) == 0 || json.Unmarshal(run.Result, &result) != nil {
			continue
		}
		return exportops.Reading{Value: float64(result.Failed), Detail: "run " + run.ID}, nil
	}
	return exportops.Reading{}, nil
}

// runs reads, of each job, the slots that were found missed in the window, or how
// many runs failed since the last that did not.
func (l *look) runs(ctx context.Context, r exportops.AlertRule) (out []exportops.Reading, err error) {
	for _, job := range exportops.ScheduledJobs {
		runs, _, err := l.Runs.Runs(ctx, exportops.RunFilter{Job: job, Limit: lookBack})
		if err != nil {
			return nil, err
		}
		var f exportops.Reading
		if r.Kind == exportops.AlertMissed {
			f = missed(runs, exportops.At(l.now.Add(-r.Window)))
		} else {
			f = failed(runs)
		}
		f.Subject = string(job)
		out = append(out, f)
	}
	return out, nil
}

// missed counts the slots that were found missed since then.
func missed(runs []exportops.Run, since exportops.Time) (f exportops.Reading) {
	for _, run := range runs {
		if run.State == exportops.RunMissed && run.FinishedAt != nil && run.FinishedAt.After(since.Time) {
			f.Value++
		}
	}
	return f
}

// failed counts the runs that failed since the last that did not; newest first.
func failed(runs []exportops.Run) (f exportops.Reading) {
	for _, run := range runs {
		switch run.State {
		case exportops.RunFailed, exportops.RunRefused:
			if f.Value++; f.Value == 1 {
				f.Detail = "run " + run.ID
			}
		case exportops.RunDone, exportops.RunPartial:
			return f
		}
	}
	return f
}

// overlong reads, of each job, how long its active run has been at it.
func (l *look) overlong(ctx context.Context) (out []exportops.Reading, err error) {
	active, err := l.Runs.ActiveRuns(ctx)
	if err != nil {
		return nil, err
	}
	for _, job := range exportops.ScheduledJobs {
		f := exportops.Reading{Subject: string(job)}
		if n := slices.IndexFunc(active, func(r exportops.Run) bool { return r.Job == job }); n >= 0 {
			f.Value, f.Detail = l.now.Sub(active[n].StartedAt.Time).Minutes(), "run "+active[n].ID
		}
		out = append(out, f)
	}
	return out, nil
}
