package metrics

import (
	"context"
	"iter"
	"reflect"
	"slices"
	"sort"
	"time"

	"github.com/exportops/exportops"
)

// sink takes what an interval holds: whole cells from rollups, and single
// outcomes from rows.
type sink interface {
	cell(*exportops.Cell) error
	outcome(*exportops.Outcome)
}

// attempts is how often an answer is read again because the plan it was read by
// no longer holds.
const attempts = 3

// ask is an interval that is to be read.
type ask struct {
	span exportops.Span
	rows bool // from rows alone
}

// read hands the exports of an interval to what begin returns, and returns the
// interval it covers.
func (s *Service) read(ctx context.Context, span exportops.Span, begin func(exportops.ReadPlan) (sink, func() error)) (
	exportops.Span, error,
) {
	covered, err := s.readAll(ctx, []ask{{span: span}}, func(plans []exportops.ReadPlan) ([]sink, func() error) {
		to, finish := begin(plans[0])
		return []sink{to}, finish
	})
	return covered[0], err
}

// readAll is read for several intervals at once: what is in more than one of them is
// read once. The parts are read one after the other while others write: when a plan
// has changed by the end, for example because rows were deleted out of an hour that was
// read from rows, everything is read again.
func (s *Service) readAll(ctx context.Context, asks []ask, begin func([]exportops.ReadPlan) ([]sink, func() error)) (
	[]exportops.Span, error,
) {
	now := s.now()
	plans, covered, err := s.plans(ctx, asks, now)
	for i := 1; err == nil; i++ {
		to, finish := begin(plans)
		err = s.readPlans(ctx, plans, covered, to)
		if finishErr := finish(); err == nil {
			err = finishErr
		}
		if err != nil {
			break
		}
		var next []exportops.ReadPlan
		if next, covered, err = s.plans(ctx, asks, now); err != nil || i == attempts || reflect.DeepEqual(plans, next) {
			break
		}
		plans = next
	}
	return covered, err
}

func (s *Service) plans(ctx context.Context, asks []ask, now exportops.Time) (
	plans []exportops.ReadPlan, covered []exportops.Span, err error,
) {
	plans, covered = make([]exportops.ReadPlan, len(asks)), make([]exportops.Span, len(asks))
	for i, a := range asks {
		plans[i], covered[i] = exportops.ReadPlan{Rows: []exportops.Span{a.span}}, a.span
		if a.rows {
			continue
		}
		if plans[i], covered[i], err = s.plan(ctx, a.span, now); err != nil {
			return plans, covered, err
		}
	}
	return plans, covered, nil
}

func (s *Service) plan(ctx context.Context, span exportops.Span, now exportops.Time) (
	plan exportops.ReadPlan, covered exportops.Span, err error,
) {
	days, err := s.store.DayStates(ctx, exportops.Span{From: span.From.Day(), To: span.To})
	if err != nil {
		return plan, span, err
	}
	// The states of hours are needed only where no day stands for them.
	var hours []exportops.HourState
	more := func(from, to exportops.Time) error {
		if !from.Before(to.Time) {
			return nil
		}
		h, err := s.store.HourStates(ctx, exportops.Span{From: from, To: to})
		hours = append(hours, h...)
		return err
	}
	from := span.From.Hour()
	for _, d := range days {
		end := exportops.At(d.Add(24 * time.Hour))
		if d.Before(span.From.Time) || end.After(span.To.Time) {
			continue
		}
		if err := more(from, d); err != nil {
			return plan, span, err
		}
		from = end
	}
	if err := more(from, span.To); err != nil {
		return plan, span, err
	}
	plan, covered = Plan(span, days, hours, now)
	return plan, covered, nil
}

// The parts of a plan.
func daysOf(p exportops.ReadPlan) []exportops.Span  { return p.Days }
func hoursOf(p exportops.ReadPlan) []exportops.Span { return p.Hours }
func rowsOf(p exportops.ReadPlan) []exportops.Span  { return p.Rows }

// readPlans reads what any of the plans asks for, and hands each sink its part.
func (s *Service) readPlans(ctx context.Context, plans []exportops.ReadPlan, covered []exportops.Span, to []sink) error {
	cells := func(period exportops.Period, of func(exportops.ReadPlan) []exportops.Span) error {
		for _, part := range union(plans, of) {
			for c, err := range s.store.Cells(ctx, period, part) {
				if err != nil {
					return err
				}
				for i, p := range plans {
					if !within(of(p), c.Start) {
						continue
					}
					if err := to[i].cell(&c); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	if err := cells(exportops.Daily, daysOf); err != nil {
		return err
	}
	if err := cells(exportops.Hourly, hoursOf); err != nil {
		return err
	}
	var held exportops.Outcome // one for all: a million of them would be garbage
	outcomes := func(all iter.Seq2[exportops.Outcome, error], has func(exportops.ReadPlan, exportops.Time) bool) error {
		for o, err := range all {
			if err != nil {
				return err
			}
			held = o
			for i, p := range plans {
				if has(p, o.Time) {
					to[i].outcome(&held)
				}
			}
		}
		return nil
	}
	var rolled []exportops.ReadPlan // what those cover that have anything from rollups
	for i, p := range plans {
		if len(p.Days)+len(p.Hours) > 0 {
			rolled = append(rolled, exportops.ReadPlan{Rows: []exportops.Span{covered[i]}})
		}
	}
	for _, part := range union(rolled, rowsOf) {
		if err := outcomes(s.store.InProgress(ctx, part), isRolled); err != nil {
			return err
		}
	}
	for _, part := range union(plans, rowsOf) {
		if err := outcomes(s.store.Outcomes(ctx, part), isRow); err != nil {
			return err
		}
	}
	return nil
}

func isRolled(p exportops.ReadPlan, t exportops.Time) bool {
	return within(p.Days, t) || within(p.Hours, t)
}

func isRow(p exportops.ReadPlan, t exportops.Time) bool { return within(p.Rows, t) }

// union returns what a part of any of the plans covers, in order.
func union(plans []exportops.ReadPlan, of func(exportops.ReadPlan) []exportops.Span) (all []exportops.Span) {
	spans := make([]exportops.Span, 0, len(plans))
	for _, p := range plans {
		spans = append(spans, of(p)...)
	}
	slices.SortFunc(spans, func(a, b exportops.Span) int { return a.From.Compare(b.From.Time) })
	for _, s := range spans {
		if n := len(all); n == 0 || s.From.After(all[n-1].To.Time) {
			all = append(all, s)
		} else if s.To.After(all[n-1].To.Time) {
			all[n-1].To = s.To
		}
	}
	return all
}

// within reports whether a time is in one of some intervals, which are in order.
func within(spans []exportops.Span, t exportops.Time) bool {
	i := sort.Search(len(spans), func(i int) bool { return t.Before(spans[i].To.Time) })
	return i < len(spans) && !t.Before(spans[i].From.Time)
}

// maxRange is the longest interval that is summed up at once.
const maxRange = 3660 * 24 * time.Hour

func checkRange(span exportops.Span) error {
	switch {
	case !span.From.Before(span.To.Time):
		return exportops.Invalid("end", "%s is not after the start %s", span.To, span.From)
	case span.From.Year() < 0 || span.To.Year() > 9999:
		return exportops.Invalid("start", "an interval lies between the years 0 and 9999")
	case span.To.Sub(span.From.Time) > maxRange:
		return exportops.Invalid("end", "more than %d days after the start", int(maxRange.Hours()/24))
	}
	return nil
}
