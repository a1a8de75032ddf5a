package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// Figures sums up the exports of windows that end now, each in its place; what is in
// several of them is read once. It emits nothing. Those of one user are read row by row:
// rollups do not know whose an export was.
func (s *Service) Figures(ctx context.Context, windows ...exportops.Window) ([]exportops.Figures, error) {
	now := s.now()
	asks, only := make([]ask, len(windows)), make([]exportops.Only, len(windows))
	for i, w := range windows {
		// What is reported in this very millisecond counts.
		asks[i].span = exportops.Span{From: exportops.At(now.Add(-w.Last)), To: exportops.At(now.Add(time.Millisecond))}
		only[i] = w.Only
	}
	return s.figures(ctx, asks, only)
}

// Of is Figures of one interval.
func (s *Service) Of(ctx context.Context, span exportops.Span, only exportops.Only) (exportops.Figures, error) {
	all, err := s.figures(ctx, []ask{{span: span}}, []exportops.Only{only})
	if err != nil {
		return exportops.Figures{}, err
	}
	return all[0], nil
}

func (s *Service) figures(ctx context.Context, asks []ask, only []exportops.Only) ([]exportops.Figures, error) {
	for i := range asks {
		if err := checkRange(asks[i].span); err != nil {
			return nil, err
		}
		asks[i].rows = only[i].UserID != ""
	}
	sums := make([]*chosen, len(asks))
	_, err := s.readAll(ctx, asks, func([]exportops.ReadPlan) ([]sink, func() error) {
		to := make([]sink, len(asks))
		for i := range asks {
			sums[i] = &chosen{sums: newSums(), only: only[i]}
			to[i] = sums[i]
		}
		return to, nothing
	})
	if err != nil {
		return nil, err
	}
	all := make([]exportops.Figures, len(asks))
	for i, c := range sums {
		all[i] = c.figures()
	}
	return all, nil
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
