package metrics

import (
	"context"
	"reflect"
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

// read hands the exports of an interval to what begin returns, and returns the
// interval it covers. The parts are read one after the other while others
// write: when the plan has changed by the end, for example because rows were
// deleted out of an hour that was read from rows, everything is read again.
func (s *Service) read(ctx context.Context, span exportops.Span, begin func(exportops.ReadPlan) (sink, func() error)) (
	exportops.Span, error,
) {
	now := s.now()
	plan, covered, err := s.plan(ctx, span, now)
	for i := 1; err == nil; i++ {
		to, finish := begin(plan)
		err = s.readPlan(ctx, plan, covered, to)
		if finishErr := finish(); err == nil {
			err = finishErr
		}
		if err != nil {
			break
		}
		var next exportops.ReadPlan
		if next, covered, err = s.plan(ctx, span, now); err != nil || i == attempts || reflect.DeepEqual(plan, next) {
			break
		}
		plan = next
	}
	return covered, err
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

func (s *Service) readPlan(ctx context.Context, plan exportops.ReadPlan, span exportops.Span, to sink) error {
	var held exportops.Outcome // one for all: a million of them would be garbage
	cells := func(p exportops.Period, spans []exportops.Span) error {
		for _, part := range spans {
			for c, err := range s.store.Cells(ctx, p, part) {
				if err != nil {
					return err
				}
				if err := to.cell(&c); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := cells(exportops.Daily, plan.Days); err != nil {
		return err
	}
	if err := cells(exportops.Hourly, plan.Hours); err != nil {
		return err
	}
	if len(plan.Days)+len(plan.Hours) > 0 {
		for o, err := range s.store.InProgress(ctx, span) {
			if err != nil {
				return err
			}
			if within(plan.Days, o.Time) || within(plan.Hours, o.Time) {
				held = o
				to.outcome(&held)
			}
		}
	}
	for _, part := range plan.Rows {
		for o, err := range s.store.Outcomes(ctx, part) {
			if err != nil {
				return err
			}
			held = o
			to.outcome(&held)
		}
	}
	return nil
}

func within(spans []exportops.Span, t exportops.Time) bool {
	for _, s := range spans {
		if !t.Before(s.From.Time) && t.Before(s.To.Time) {
			return true
		}
	}
	return false
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
