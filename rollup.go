package exportops

import (
	"context"
	"iter"
)

// Cell is one row of a rollup: the finished exports of one bucket, format and
// count range. Exports in progress are not rolled up; they are read live.
type Cell struct {
	Start      Time // start of the bucket
	Format     Format
	CountRange CountRange
	Completed  int64
	Failed     int64
	Duration   Measure // milliseconds, of completed exports
	Size       Measure // bytes, of completed exports
}

// Measure sums up one quantity. Sketch is a mergeable sketch whose quantiles
// are within 1 %, as the package metrics encodes it; nil when Count is 0.
type Measure struct {
	Count  int64
	Sum    int64
	Max    int64
	Sketch []byte
}

// Rollup is one closed bucket.
type Rollup struct {
	Start  Time
	Cells  []Cell
	Users  []UserCount
	Errors map[string]int64
	// Open is how many of the bucket's exports were in progress when it was
	// computed; the hour is looked at again while it is above zero.
	Open int64
}

// HourState is what is known of one hour's rollup.
type HourState struct {
	Start   Time
	Clean   bool  // the rollup agrees with the rows as far as we were told
	Sealed  bool  // rows are gone: it takes additions as deltas and is never computed again
	Open    int64 // as in Rollup
	Version int64 // rises with every change of what is reported to the hour
}

// Delta is a change of one export's outcome in a sealed hour. A nil side does
// not count.
type Delta struct {
	Hour     Time
	Old, New *Outcome
}

// RollupStore keeps the rollups.
type RollupStore interface {
	// Observe freezes what is known of the rows in span that are finished and
	// have no terminal metric: it records an Observed metric for each, in
	// bounded transactions, and makes their hours dirty. It returns how many.
	// The duration is updated_at − created_at, and unknown where an expiry has
	// touched the row. It also moves metrics to the hour of a row that arrived
	// after them.
	Observe(ctx context.Context, span Span, now Time) (int64, error)
	// HourStates returns the states of the hours that start in span, in order.
	// An hour without a state was never rolled up.
	HourStates(ctx context.Context, span Span) ([]HourState, error)
	// StaleHours returns hours before the given time that have a state and are
	// dirty or were open when they were computed, oldest first.
	StaleHours(ctx context.Context, before Time, limit int) ([]HourState, error)
	// Counted yields the finished outcomes that are reported to the hours that
	// start in span, by hour: exactly what the rollups of those hours hold, or
	// will hold when they are computed again. Time is the start of the hour.
	Counted(ctx context.Context, span Span) iter.Seq2[Outcome, error]
	// FirstActivity returns the time of the earliest outcome at or after from,
	// and false when there is none.
	FirstActivity(ctx context.Context, from Time) (Time, bool, error)
	// WriteHour replaces the rollup of one hour unless it is sealed or its
	// version is no longer the given one (0 for an hour without a state). It
	// reports whether it wrote. Of a sealed hour it keeps Open alone.
	WriteHour(ctx context.Context, r Rollup, version int64) (bool, error)
	// WriteEmpty gives every hour that starts in span and has no state a clean
	// and empty rollup: no outcome was ever reported to it.
	WriteEmpty(ctx context.Context, span Span) error
	// WriteDay replaces the rollup of one day, unless an hour of it is not clean
	// or their versions no longer add up to the given one. It reports whether it
	// wrote. A later change of an hour removes it.
	WriteDay(ctx context.Context, r Rollup, version int64) (bool, error)
	// DayStates returns the days in span that have a rollup, in order.
	DayStates(ctx context.Context, span Span) ([]Time, error)
	// Cells yields the cells of every hour, or day, that starts in span.
	Cells(ctx context.Context, p Period, span Span) iter.Seq2[Cell, error]
}
