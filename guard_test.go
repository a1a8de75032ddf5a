package exportops_test

import (
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestCountGuard(t *testing.T) {
	for name, c := range map[string]struct {
		largest, left, found int64
		refuses              bool
	}{
		"a_first_run_may_delete_ten_thousand":        {0, 0, 10_000, false},
		"a_first_run_may_not_delete_more":            {0, 0, 10_001, true},
		"small_runs_do_not_lower_it":                 {3, 0, 10_000, false},
		"ten_times_the_largest":                      {1500, 0, 15_000, false},
		"more_than_ten_times_the_largest":            {1500, 0, 15_001, true},
		"what_was_let_through_before_goes_on":        {5000, 900_000, 950_000, false},
		"but_nothing_implausible_may_come_beside_it": {5000, 900_000, 950_001, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := exportops.NewCountGuard(c.largest, c.left)
			g.Found = c.found
			if g.Refuses() != c.refuses {
				t.Errorf("%+v refuses: %v, want %v", g, g.Refuses(), c.refuses)
			}
		})
	}
}

func TestClockGuard(t *testing.T) {
	noon := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	at := func(d time.Duration) *exportops.Time { t := exportops.At(noon.Add(d)); return &t }
	for name, c := range map[string]struct {
		reading exportops.ClockReading
		refuses bool
	}{
		"nothing_known":                      {exportops.ClockReading{}, false},
		"the_database_agrees":                {exportops.ClockReading{Now: at(5 * time.Minute)}, false},
		"we_are_late":                        {exportops.ClockReading{Now: at(5*time.Minute + time.Second)}, true},
		"we_are_early":                       {exportops.ClockReading{Now: at(-5*time.Minute - time.Second)}, true},
		"the_last_run_lies_before":           {exportops.ClockReading{Newest: at(-time.Hour)}, false},
		"the_last_run_lies_a_little_ahead":   {exportops.ClockReading{Newest: at(4 * time.Minute)}, false},
		"it_went_backwards":                  {exportops.ClockReading{Newest: at(6 * time.Minute)}, true},
		"another_process_may_be_off_as_well": {exportops.ClockReading{Now: at(0), Newest: at(9 * time.Minute)}, false},
		"but_not_by_that_much":               {exportops.ClockReading{Now: at(0), Newest: at(11 * time.Minute)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.reading.Judge(noon, noon)
			if (got != nil) != c.refuses {
				t.Fatalf("it says %+v", got)
			}
			if got == nil {
				return
			}
			g := exportops.Guards{Clock: got, RefusedBy: []exportops.Guard{exportops.GuardClock}}
			if err := g.Refusal(exportops.FileCleanup); !exportops.IsKind(err, exportops.KindRefused) || !strings.Contains(err.Error(), noon.String()) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Run("a_slow_answer_is_no_reason", func(t *testing.T) {
		r := exportops.ClockReading{Now: at(3 * time.Minute)}
		if got := r.Judge(*at(-10 * time.Minute), *at(10 * time.Minute)); got != nil {
			t.Errorf("it says %+v", got)
		}
	})
}
