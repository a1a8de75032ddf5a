package main

import (
	"strconv"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type sloCmd struct{}

// Help says more of it.
func (sloCmd) Help() string {
	return `The budget of a share is what it allows to fail over 30 days: with a success rate above
95 %, one export in twenty. What is left is the part of it that did not fail, the error
budget of the SRE workbook; below 0 % more failed than was allowed. For the average
duration it is how far below its target it is. docs/alerts.md defines each.`
}

// Run shows every objective over an hour, a day and 30 days.
func (*sloCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	states, err := app.Objectives(e.ctx, cfg)
	if err != nil {
		return err
	}
	answer := struct {
		Objectives []exportops.ObjectiveState `json:"objectives"`
	}{states}
	return e.show(answer, func() {
		header := make([]string, 0, len(states[0].Windows)+3)
		header = append(header, "objective", "target")
		for _, w := range states[0].Windows {
			header = append(header, w.Window)
		}
		rows := make([][]string, len(states))
		for n, s := range states {
			sign := ">"
			if s.Met == "below" {
				sign = "<"
			}
			rows[n] = []string{s.Name, sign + " " + objectiveValue(s.Objective, s.Target)}
			for _, w := range s.Windows {
				rows[n] = append(rows[n], windowCell(s.Objective, w))
			}
			left := "–"
			if s.BudgetLeft != nil {
				left = percent(*s.BudgetLeft)
			}
			rows[n] = append(rows[n], left)
		}
		e.table("objectives", append(header, "budget left"), rows)
	})
}

// windowCell shows a value, and whether it keeps the objective.
func windowCell(o exportops.Objective, w exportops.ObjectiveWindow) string {
	if w.Value == nil {
		return "–"
	}
	mark := "✗"
	if *w.Met {
		mark = "✓"
	}
	return objectiveValue(o, *w.Value) + " " + mark
}

// objectiveValue shows shares to a hundredth of a percent, so that what misses a
// target by little is not shown as if it met it.
func objectiveValue(o exportops.Objective, v float64) string {
	if o.Unit == "ms" {
		return strconv.FormatFloat(v, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(100*v, 'f', 2, 64) + " %"
}
