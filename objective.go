package exportops

import (
	"math"
	"strings"
	"time"
)

// Objective is a figure that operators promise to keep above, or below, a target.
type Objective struct {
	Name   string  `json:"objective"`
	Target float64 `json:"target"`
	Unit   string  `json:"unit"`     // share (0 to 1), or ms
	Met    string  `json:"met_when"` // the value is "above" the target, or "below"; not at it
}

// SuccessTarget is the share of exports that are to succeed.
const SuccessTarget = 0.95

// The objectives.
var (
	ObjectiveSuccess  = Objective{Name: "success_rate", Target: SuccessTarget, Unit: "share", Met: "above"}
	ObjectiveDuration = Objective{Name: "average_duration", Target: 3000, Unit: "ms", Met: "below"}
	ObjectiveFailures = Objective{Name: "failure_rate", Target: 0.10, Unit: "share", Met: "below"}
	ObjectiveCleanup  = Objective{Name: "file_cleanup_success", Target: 0.99, Unit: "share", Met: "above"}

	Objectives = []Objective{ObjectiveSuccess, ObjectiveDuration, ObjectiveFailures, ObjectiveCleanup}
)

// ObjectiveWindows are the times up to now that objectives are held against, the
// longest last: budgets are those of that.
var ObjectiveWindows = []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}

// ObjectiveFigures are what happened in a window.
type ObjectiveFigures struct {
	Exports Figures
	// The files that cleanups dealt with: deleted, or found to be gone; and those that
	// they failed to delete, each time they did.
	Gone, NotGone int64
}

// ObjectiveWindow is an objective over one window.
type ObjectiveWindow struct {
	Window string   `json:"window"` // such as 1h
	Value  *float64 `json:"value"`  // null where nothing happened that it could be told from
	Sample int64    `json:"sample"` // exports, or files, that it rests on
	Met    *bool    `json:"met"`
}

// ObjectiveState is how an objective is kept.
type ObjectiveState struct {
	Objective
	Windows []ObjectiveWindow `json:"windows"`
	// BudgetLeft is what is left, over the longest window, of what the objective
	// allows: 1 for all of it, 0 for nothing, below 0 where more was used. Of a share
	// it is the share of the allowed failures that did not happen, the error budget of
	// the SRE workbook; of a duration how far below its target it is, as a share of
	// that. It is null where nothing happened.
	BudgetLeft *float64 `json:"budget_left"`
}

// JudgeObjectives holds figures, one for each of ObjectiveWindows, against every
// objective.
func JudgeObjectives(over []ObjectiveFigures) []ObjectiveState {
	states := make([]ObjectiveState, len(Objectives))
	for n, o := range Objectives {
		s := ObjectiveState{Objective: o, Windows: make([]ObjectiveWindow, 0, len(over))}
		for i, f := range over {
			w := ObjectiveWindow{Window: windowName(ObjectiveWindows[i])}
			if w.Value, w.Sample = o.read(f); w.Value != nil {
				met := *w.Value > o.Target
				if o.Met == "below" {
					met = *w.Value < o.Target
				}
				w.Met = &met
			}
			s.Windows = append(s.Windows, w)
		}
		if len(over) > 0 {
			s.BudgetLeft = o.budget(s.Windows[len(over)-1].Value)
		}
		states[n] = s
	}
	return states
}

// windowName is 1h, 24h or 30d.
func windowName(d time.Duration) string {
	if d <= 24*time.Hour {
		return strings.TrimSuffix(d.String(), "0m0s")
	}
	return ShowDuration(d)
}

// read returns the value of the objective, nil where there is none, and what it
// rests on.
func (o Objective) read(f ObjectiveFigures) (*float64, int64) {
	part := func(n, of int64) (*float64, int64) {
		if of == 0 {
			return nil, 0
		}
		v := float64(n) / float64(of)
		return &v, of
	}
	switch o.Name {
	case ObjectiveSuccess.Name:
		return part(f.Exports.Completed, f.Exports.Finished())
	case ObjectiveFailures.Name:
		return part(f.Exports.Failed, f.Exports.Finished())
	case ObjectiveCleanup.Name:
		return part(f.Gone, f.Gone+f.NotGone)
	}
	return f.Exports.AvgDurationMS, f.Exports.Measured
}

// budget returns what is left at a value: all where it is as good as can be, nothing
// at the target.
func (o Objective) budget(value *float64) *float64 {
	if value == nil {
		return nil
	}
	left := 1 - *value/o.Target
	if o.Met == "above" {
		left = 1 - (1-*value)/(1-o.Target)
	}
	left = math.Round(1e6*left) / 1e6 // without what floating point adds
	return &left
}
