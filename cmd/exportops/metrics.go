package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/metrics"
)

type metricsCmd struct {
	Start  string `name:"start" placeholder:"TIME" help:"first instant, RFC 3339, or how long ago, such as 24h (1h)"`
	End    string `name:"end" placeholder:"TIME" help:"instant after the last (now)"`
	Period string `name:"period" enum:"hourly,daily" default:"hourly" placeholder:"hourly|daily" help:"how the answer is labelled"`
}

// Run shows the aggregate over [start, end).
func (c *metricsCmd) Run(e *env) error {
	now := time.Now()
	end, err := when("--end", c.End, now, 0)
	if err != nil {
		return &usageError{err}
	}
	start, err := when("--start", c.Start, now, time.Hour)
	if err != nil {
		return &usageError{err}
	}
	return e.reading(func(ctx context.Context, m *metrics.Service) error {
		s, err := m.Aggregate(ctx, start, end, exportops.Period(c.Period))
		if err != nil {
			return err
		}
		return e.show(s, func() { e.drawSummary(s) })
	})
}

// reading calls fn with metrics that only read, so emit no events.
func (e *env) reading(fn func(context.Context, *metrics.Service) error) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	return app.WithMetrics(e.ctx, cfg, fn)
}

// when reads an instant, or how long before now it was; "" is ago before now.
func when(flag, s string, now time.Time, ago time.Duration) (exportops.Time, error) {
	if s == "" {
		return exportops.At(now.Add(-ago)), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return exportops.At(now.Add(-d)), nil
	}
	t, err := exportops.ParseTime(s)
	if err != nil {
		return t, exportops.Invalid(flag, "%q is neither an RFC 3339 time such as 2026-01-31T12:00:00Z nor a duration such as 24h", shorten(s, 64))
	}
	return t, nil
}

func (e *env) drawSummary(s exportops.Summary) {
	rate := "–"
	if s.SuccessfulExports+s.FailedExports > 0 {
		rate = percent(s.SuccessRate)
	}
	e.table(fmt.Sprintf("%s – %s", instant(&s.PeriodStart), instant(&s.PeriodEnd)), nil, [][]string{
		{"exports", number(s.TotalExports)},
		{"successful", number(s.SuccessfulExports)},
		{"failed", number(s.FailedExports)},
		{"in progress", number(s.InProgressExports)},
		{"success rate (objective: above 95 %)", rate},
		{"users", number(s.DistinctUsers)},
	})
	if s.TotalExports == 0 {
		return
	}
	var rows [][]string
	for _, f := range exportops.Formats {
		if s.FormatDistribution[f] == 0 {
			continue
		}
		row := []string{string(f), number(s.FormatDistribution[f]), "–", "–", "–", "–", "–"}
		if avg, ok := s.AvgDurationByFormat[f]; ok {
			row[2], row[3] = millis(avg), millis(s.DurationPercentilesByFormat[f].P95)
		}
		if avg, ok := s.AvgFileSizeByFormat[f]; ok {
			row[4], row[5] = byteSize(avg), byteSize(s.FileSizePercentilesByFormat[f].P95)
			row[6] = byteSize(float64(s.MaxFileSizeByFormat[f]))
		}
		rows = append(rows, row)
	}
	e.table("by format", strings.Split("format,exports,avg duration,p95,avg size,p95,max", ","), rows)
	rows = nil
	for _, name := range slices.Sorted(maps.Keys(s.ErrorDistribution)) {
		rows = append(rows, []string{shorten(name, 60), number(s.ErrorDistribution[name])})
	}
	if rows != nil {
		e.table("errors", []string{"type", "exports"}, rows)
	}
}
