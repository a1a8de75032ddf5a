package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// Figures sums up the exports of the last part of time. It emits nothing. Those of
// one user are read row by row: rollups do not know whose an export was.
func (s *Service) Figures(ctx context.Context, last time.Duration, only exportops.Only) (exportops.Figures, error) {
	now := s.now()
	// What is reported in this very millisecond counts.
	return s.Of(ctx, exportops.Span{From: exportops.At(now.Add(-last)), To: exportops.At(now.Add(time.Millisecond))}, only)
}

// Of is Figures of any interval.
func (s *Service) Of(ctx context.Context, span exportops.Span, only exportops.Only) (exportops.Figures, error) {
	if err := checkRange(span); err != nil {
		return exportops.Figures{}, err
	}
	sums := &chosen{sums: newSums(), only: only}
	if only.UserID != "" {
		err := s.readPlan(ctx, exportops.ReadPlan{Rows: []exportops.Span{span}}, span, sums)
		return sums.figures(), err
	}
	_, err := s.read(ctx, span, func(exportops.ReadPlan) (sink, func() error) {
		sums.sums = newSums()
		return sums, nothing
	})
	return sums.figures(), err
}

// chosen sums up those exports that are asked for.
type chosen struct {
	sums *sums
	only exportops.Only
}

func (c *chosen) cell(e *exportops.Cell) error {
	if c.only.Format != "" && e.Format != c.only.Format {
		return nil
	}
	return c.sums.cell(e)
}

func (c *chosen) outcome(o *exportops.Outcome) {
	if (c.only.Format == "" || o.Format == c.only.Format) && (c.only.UserID == "" || o.UserID == c.only.UserID) {
		c.sums.outcome(o)
	}
}

func (c *chosen) figures() (f exportops.Figures) {
	var d measure
	for _, t := range c.sums.tallies {
		f.Completed += t.completed
		f.Failed += t.failed
		f.Bytes = plus(f.Bytes, t.size.sum)
		d.merge(t.duration)
	}
	for _, n := range c.sums.progress {
		f.InProgress += n
	}
	if f.Measured = d.count; d.count > 0 {
		avg, p95 := float64(d.sum)/float64(d.count), d.sketch.Quantile(0.95)
		f.AvgDurationMS, f.P95DurationMS = &avg, &p95
	}
	return f
}
