package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// closeTries is how often an hour is computed again because it was reported to
// meanwhile; after that it is left for the next pass.
const closeTries = 5

// close computes one hour. h is its state as it was read; whoever reports to the
// hour after that makes the write fail, and it is computed again.
func (r *roller) close(ctx context.Context, h exportops.HourState) error {
	span := exportops.Span{From: h.Start, To: exportops.At(h.Start.Add(time.Hour))}
	for range closeTries {
		if err := ctx.Err(); err != nil {
			return err
		}
		rollup := exportops.Rollup{Start: h.Start, Open: r.openIn(h.Start)}
		if !h.Sealed {
			if err := r.compute(ctx, span, &rollup); err != nil {
				return err
			}
		}
		wrote, err := r.store.WriteHour(ctx, rollup, h.Version)
		if err != nil || h.Sealed {
			return err
		}
		if wrote {
			r.out.HoursClosed++
			return nil
		}
		states, err := r.store.HourStates(ctx, span)
		if err != nil {
			return err
		}
		if h = (exportops.HourState{Start: h.Start}); len(states) == 1 {
			h = states[0]
		}
	}
	r.out.Complete = false
	return nil
}

func (r *roller) compute(ctx context.Context, span exportops.Span, into *exportops.Rollup) error {
	sum := newSums()
	users := map[string]int64{}
	for o, err := range r.store.Counted(ctx, span) {
		if err != nil {
			return err
		}
		sum.outcome(&o)
		users[o.UserID]++
	}
	into.Cells, into.Errors = sum.cells(span.From), sum.errors
	into.Users = make([]exportops.UserCount, 0, len(users))
	for id, n := range users {
		into.Users = append(into.Users, exportops.UserCount{UserID: id, Count: n})
	}
	return nil
}

func (s *sums) cells(start exportops.Time) []exportops.Cell {
	cells := make([]exportops.Cell, 0, len(s.tallies))
	for k, t := range s.tallies {
		cells = append(cells, t.cell(start, k))
	}
	return cells
}

// days adds up the days whose hours are all closed.
func (r *roller) days(ctx context.Context) error {
	span := exportops.Span{From: r.first.Day(), To: r.end.Day()}
	have, err := r.store.DayStates(ctx, span)
	if err != nil {
		return err
	}
	done := make(map[int64]bool, len(have))
	for _, d := range have {
		done[d.Unix()] = true
	}
	hours, err := r.store.HourStates(ctx, span)
	if err != nil {
		return err
	}
	var day exportops.Time
	var n int
	var version int64
	for _, h := range hours {
		if d := h.Start.Day(); !d.Equal(day.Time) {
			day, n, version = d, 0, 0
		}
		if done[day.Unix()] || !closed(h, r.now) {
			continue
		}
		if n, version = n+1, version+h.Version; n < 24 {
			continue
		}
		if err := r.day(ctx, day, version); err != nil {
			return err
		}
	}
	return nil
}

// day writes one day. version is the sum of its hours' versions, read before
// their cells: when an hour changes meanwhile, the day waits for the next pass.
func (r *roller) day(ctx context.Context, day exportops.Time, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := newSums()
	for c, err := range r.store.Cells(ctx, exportops.Hourly, exportops.Span{From: day, To: exportops.At(day.Add(24 * time.Hour))}) {
		if err != nil {
			return err
		}
		if err := sum.cell(&c); err != nil {
			return err
		}
	}
	_, err := r.store.WriteDay(ctx, exportops.Rollup{Start: day, Cells: sum.cells(day)}, version)
	return err
}
