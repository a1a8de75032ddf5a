package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// staleLimit is how many stale hours are asked for at once.
const staleLimit = 10_000

// fill gives every hour that has no state one: it goes through the stretches
// that no earlier pass has seen, and jumps over what is empty.
func (r *roller) fill(ctx context.Context) error {
	states, err := r.store.HourStates(ctx, exportops.Span{From: r.first, To: r.end})
	if err != nil {
		return err
	}
	next := r.first
	for _, h := range states {
		if err := r.fillSpan(ctx, exportops.Span{From: next, To: h.Start}); err != nil {
			return err
		}
		next = exportops.At(h.Start.Add(time.Hour))
	}
	return r.fillSpan(ctx, exportops.Span{From: next, To: r.end})
}

func (r *roller) fillSpan(ctx context.Context, span exportops.Span) error {
	for at := span.From; at.Before(span.To.Time); {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, found, err := r.store.FirstActivity(ctx, at)
		if err != nil {
			return err
		}
		if next = next.Hour(); !found || !next.Before(span.To.Time) {
			next = span.To
		}
		for _, empty := range gap(at, next) {
			if empty = r.over(empty); !empty.From.Before(empty.To.Time) {
				continue
			}
			if err := r.store.WriteEmpty(ctx, empty); err != nil {
				return err
			}
		}
		end := exportops.At(next.Day().Add(24 * time.Hour))
		if end.After(span.To.Time) {
			end = span.To
		}
		if err := r.fillDay(ctx, exportops.Span{From: next, To: end}); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// over cuts off what of a stretch is still to come. Nothing is in it so far.
func (r *roller) over(span exportops.Span) exportops.Span {
	if now := r.now.Hour(); span.To.After(now.Time) {
		span.To = now
	}
	return span
}

// gap returns what is filled between two exports: all of it, or, where it is
// long, what makes the days at its ends whole.
func gap(from, to exportops.Time) []exportops.Span {
	if to.Sub(from.Time) <= longGap {
		return []exportops.Span{{From: from, To: to}}
	}
	first := from.Day()
	if first.Before(from.Time) {
		first = exportops.At(first.Add(24 * time.Hour))
	}
	return []exportops.Span{{From: from, To: first}, {From: to.Day(), To: to}}
}

// fillDay closes the hours of a day, or of a part of it, that was never looked
// at.
func (r *roller) fillDay(ctx context.Context, span exportops.Span) error {
	if err := r.observe(ctx, span); err != nil {
		return err
	}
	for at := span.From; at.Before(span.To.Time); at = exportops.At(at.Add(time.Hour)) {
		if r.openIn(at) > 0 {
			if err := r.close(ctx, exportops.HourState{Start: at}); err != nil {
				return err
			}
		}
	}
	if err := r.store.WriteEmpty(ctx, span); err != nil {
		return err
	}
	states, err := r.store.HourStates(ctx, span)
	if err != nil {
		return err
	}
	for _, h := range states {
		if !h.Clean {
			if err := r.close(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// openIn returns how many exports of an hour are under way; of one that is too
// old to be looked at again, none.
func (r *roller) openIn(hour exportops.Time) int64 {
	if hour.Before(r.now.Add(-giveUp)) {
		return 0
	}
	return r.open[hour.Unix()]
}

// refresh computes the hours that are dirty, and those of which another number
// of exports is under way than when they were computed.
func (r *roller) refresh(ctx context.Context) error {
	for range 100 { // a million hours: more than there can be
		stale, err := r.store.StaleHours(ctx, r.end, staleLimit)
		if err != nil {
			return err
		}
		more := false
		for _, h := range stale {
			if h.Clean && h.Open == r.openIn(h.Start) {
				continue
			}
			if err := r.close(ctx, h); err != nil {
				return err
			}
			more = true
		}
		if len(stale) < staleLimit || !more {
			break
		}
	}
	for unix := range r.open {
		at := exportops.At(time.Unix(unix, 0))
		states, err := r.store.HourStates(ctx, exportops.Span{From: at, To: exportops.At(at.Add(time.Hour))})
		if err != nil {
			return err
		}
		if len(states) == 1 && states[0].Open != r.openIn(at) {
			if err := r.close(ctx, states[0]); err != nil {
				return err
			}
		}
	}
	return nil
}
