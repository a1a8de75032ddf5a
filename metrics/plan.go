package metrics

import (
	"time"

	"github.com/exportops/exportops"
)

// patience is how long after its end an hour waits for exports under way before
// it is read from its rollup regardless.
const patience = 24 * time.Hour

// closed reports whether an hour is read from its rollup: it is over and either
// nothing in it is under way any more, or a day has passed. The rows of a
// sealed hour are gone, so there is no other way to read it.
func closed(h exportops.HourState, now exportops.Time) bool {
	end := h.Start.Add(time.Hour)
	return h.Sealed || h.Clean && !now.Before(end) && (h.Open == 0 || !now.Before(end.Add(patience)))
}

// Plan decides which parts of an interval are read from the rollups of days,
// which from those of hours, and which from rows. days are those that have a
// rollup; hours are the states of the hours that touch the interval, as far as
// days do not cover them. Where a bound falls inside a sealed hour the interval
// widens to the hour, because its rows are gone: it returns the interval that
// the plan covers.
func Plan(span exportops.Span, days []exportops.Time, hours []exportops.HourState, now exportops.Time) (
	exportops.ReadPlan, exportops.Span,
) {
	states := make(map[int64]exportops.HourState, len(hours))
	for _, h := range hours {
		states[h.Start.Unix()] = h
	}
	if states[span.From.Hour().Unix()].Sealed {
		span.From = span.From.Hour()
	}
	if last := span.To.Hour(); !last.Equal(span.To.Time) && states[last.Unix()].Sealed {
		span.To = exportops.At(last.Add(time.Hour))
	}
	isDay := make(map[int64]bool, len(days))
	for _, d := range days {
		isDay[d.Unix()] = true
	}
	var plan exportops.ReadPlan
	for t := span.From; t.Before(span.To.Time); {
		day, hour := exportops.At(t.Add(24*time.Hour)), exportops.At(t.Hour().Add(time.Hour))
		switch h := states[t.Unix()]; {
		case isDay[t.Unix()] && t.Equal(t.Day().Time) && !day.After(span.To.Time):
			plan.Days, t = extend(plan.Days, t, day), day
		case t.Equal(t.Hour().Time) && h.Start.Equal(t.Time) && closed(h, now) && !hour.After(span.To.Time):
			plan.Hours, t = extend(plan.Hours, t, hour), hour
		default:
			if hour.After(span.To.Time) {
				hour = span.To
			}
			plan.Rows, t = extend(plan.Rows, t, hour), hour
		}
	}
	return plan, span
}

// extend appends an interval, or makes the last one longer where they touch.
func extend(spans []exportops.Span, from, to exportops.Time) []exportops.Span {
	if n := len(spans); n > 0 && spans[n-1].To.Equal(from.Time) {
		spans[n-1].To = to
		return spans
	}
	return append(spans, exportops.Span{From: from, To: to})
}
