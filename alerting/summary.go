package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// Digest is what a summary tells of a period.
type Digest struct {
	Every   exportops.SummaryEvery
	Span    exportops.Span
	Exports exportops.Figures
	Errors  map[string]int64 // how often exports failed with an error of each type

	Cleanups       int // file cleanups that ended in the period
	FailedCleanups int // of these, those that failed or were refused
	FilesDeleted   int64
	BytesFreed     int64
	FailedFiles    int64 // deletions of files that failed, in all cleanups
	RowsDeleted    int64 // of the export log

	Firing []exportops.Incident // now
}

// The most types of errors and incidents that a summary lists.
const (
	mostErrors = 8
	mostFiring = 10
)

// Summary writes the summary of a period.
func Summary(d Digest, now exportops.Time) exportops.Message {
	what := "Exports of " + d.Span.From.UTC().Format("Monday, 2 January 2006")
	if d.Every == exportops.SummaryWeekly {
		what = "Exports of the week from " + d.Span.From.UTC().Format("2 January 2006")
	}
	rate := "none finished"
	if n := d.Exports.Finished(); n > 0 {
		rate = fmt.Sprintf("%s succeeded", share(float64(d.Exports.Completed)/float64(n)))
	}
	lines := []string{
		fmt.Sprintf("Exports: %d completed, %d failed, %d in progress (%s)", d.Exports.Completed, d.Exports.Failed, d.Exports.InProgress, rate),
	}
	lines = append(lines, failures(d.Errors)...)
	lines = append(lines,
		"Written: "+bytes(d.Exports.Bytes),
		fmt.Sprintf("File cleanups: %d, of which %d failed", d.Cleanups, d.FailedCleanups),
		fmt.Sprintf("Files deleted: %d (%s); deletions that failed: %d", d.FilesDeleted, bytes(d.BytesFreed), d.FailedFiles),
		fmt.Sprintf("Log rows deleted: %d", d.RowsDeleted),
		fmt.Sprintf("Firing now: %d", len(d.Firing)),
	)
	for n, i := range d.Firing {
		if n == mostFiring {
			lines = append(lines, fmt.Sprintf("  and %d more: exportops alerts", len(d.Firing)-n))
			break
		}
		lines = append(lines, "  "+string(i.Severity)+": "+line(i.Message, maxSentence))
	}
	lines = append(lines, fmt.Sprintf("Next: exportops metrics --start %s --end %s", d.Span.From, d.Span.To))
	return exportops.Message{Kind: exportops.MessageSummary, At: now, Title: what + ": " + rate, Text: strings.Join(lines, "\n") + "\n"}
}

// failures lists types of errors, the most frequent first.
func failures(types map[string]int64) (lines []string) {
	names := slices.SortedFunc(maps.Keys(types), func(a, b string) int { return cmp.Or(cmp.Compare(types[b], types[a]), cmp.Compare(a, b)) })
	var rest int64
	for n, name := range names {
		if n < mostErrors {
			lines = append(lines, fmt.Sprintf("  failed with %s: %d", line(name, maxName), types[name]))
		} else {
			rest += types[name]
		}
	}
	if rest > 0 {
		lines = append(lines, fmt.Sprintf("  failed with anything else: %d", rest))
	}
	return lines
}

// bytes writes a size in decimal units.
func bytes(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	return trimmed(v, 1) + " " + unit
}

// ended returns the last period that is over: a day in UTC, or a week from Monday on.
func ended(every exportops.SummaryEvery, now exportops.Time) exportops.Span {
	to, days := now.Day(), 1
	if every == exportops.SummaryWeekly {
		days = 7
		to = exportops.At(to.AddDate(0, 0, -((int(to.Weekday()) + 6) % 7)))
	}
	return exportops.Span{From: exportops.At(to.AddDate(0, 0, -days)), To: to}
}

// summarize enqueues the summaries of the last periods that are over, each once for
// its channel: that of the process that comes first.
func (s *Service) summarize(ctx context.Context, now exportops.Time) error {
	written := map[exportops.SummaryEvery]exportops.Message{}
	var all []exportops.Notification
	var errs []error
	for _, a := range s.Audiences {
		if a.Summary == exportops.SummaryNever {
			continue
		}
		span := ended(a.Summary, now)
		key := fmt.Sprintf("summary/%s/%s/%s", a.Summary, exportops.Daily.Key(span.From), a.Channel)
		known, err := s.Store.HasNotification(ctx, key)
		if known || err != nil {
			errs = append(errs, err)
			continue
		}
		m, ok := written[a.Summary]
		if !ok {
			d, err := s.digest(ctx, a.Summary, span)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s summary: %w", a.Summary, err))
				continue
			}
			m = Summary(d, now)
			written[a.Summary] = m
		}
		all = append(all, exportops.NewNotification(key, a.Channel, m, now))
	}
	if len(all) > 0 {
		kept, err := s.Store.EnqueueNotifications(ctx, all)
		errs = append(errs, err)
		s.wake(int(kept))
	}
	return errors.Join(errs...)
}

// digest gathers what a summary tells.
func (s *Service) digest(ctx context.Context, every exportops.SummaryEvery, span exportops.Span) (d Digest, err error) {
	d = Digest{Every: every, Span: span}
	if d.Exports, err = s.Figures.Of(ctx, span, exportops.Only{}); err != nil {
		return d, err
	}
	sum, err := s.Figures.Aggregate(ctx, span.From, span.To, exportops.Daily)
	if err != nil {
		return d, err
	}
	d.Errors = map[string]int64{}
	for name, n := range sum.ErrorDistribution {
		if s.Scrub != nil {
			name = s.Scrub(name)
		}
		d.Errors[name] += n
	}
	if err := s.cleaned(ctx, &d); err != nil {
		return d, err
	}
	open, err := s.Store.OpenIncidents(ctx)
	for _, i := range open {
		if i.State == exportops.IncidentFiring {
			d.Firing = append(d.Firing, i)
		}
	}
	return d, err
}

// cleaned adds up what the cleanups that ended in the period did.
func (s *Service) cleaned(ctx context.Context, d *Digest) error {
	for _, job := range []exportops.Job{exportops.FileCleanup, exportops.LogCleanup} {
		runs, err := s.runsOf(ctx, job, d.Span)
		if err != nil {
			return err
		}
		for _, r := range runs {
			var result struct {
				Deleted int64 `json:"deleted_count"`
				Failed  int64 `json:"failed_count"`
				Freed   int64 `json:"bytes_freed"`
			}
			if len(r.Result) > 0 {
				if err := json.Unmarshal(r.Result, &result); err != nil {
					return fmt.Errorf("result of run %s: %w", r.ID, err)
				}
			}
			if job == exportops.LogCleanup {
				d.RowsDeleted += result.Deleted
				continue
			}
			d.Cleanups++
			if r.State == exportops.RunFailed || r.State == exportops.RunRefused {
				d.FailedCleanups++
			}
			d.FilesDeleted, d.FailedFiles, d.BytesFreed = d.FilesDeleted+result.Deleted, d.FailedFiles+result.Failed, d.BytesFreed+result.Freed
		}
	}
	return nil
}

// longRun is more than a run takes: those that began longer before a period did not
// end in it.
const longRun = 7 * 24 * time.Hour

// runsOf returns the runs of a job that ended in a span.
func (s *Service) runsOf(ctx context.Context, job exportops.Job, span exportops.Span) (all []exportops.Run, err error) {
	f := exportops.RunFilter{Job: job, Limit: exportops.MaxPage}
	for {
		page, next, err := s.Runs.Runs(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			switch {
			case r.State == exportops.RunMissed || r.State == exportops.RunSkipped || r.FinishedAt == nil:
			case span.From.Sub(r.StartedAt.Time) > longRun:
				return all, nil
			case !r.FinishedAt.Before(span.From.Time) && r.FinishedAt.Before(span.To.Time):
				all = append(all, r)
			}
		}
		if next == "" {
			return all, nil
		}
		f.Cursor = next
	}
}
