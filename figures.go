package exportops

import "time"

// Figures are what exports of an interval come to, all of them or some.
type Figures struct {
	Completed, Failed, InProgress int64
	// The durations of completed exports in milliseconds; nil where none was measured.
	AvgDurationMS, P95DurationMS *float64
	Measured                     int64 // exports with a duration
	Bytes                        int64 // the size of completed exports, as far as it is known
}

// Finished is how many exports came to an end.
func (f Figures) Finished() int64 { return f.Completed + f.Failed }

// Only narrows Figures; its zero value takes every export.
type Only struct {
	Format Format
	UserID string
}

// Window is the last part of time, and which exports of it are meant.
type Window struct {
	Last time.Duration
	Only Only
}
