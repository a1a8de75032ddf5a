package exportops_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// every is a schedule of every d.
func every(d time.Duration) func(time.Time) time.Time {
	return func(t time.Time) time.Time { return t.Truncate(d).Add(d) }
}

// monthly is three in the morning on the first of each month.
func monthly(t time.Time) time.Time {
	slot := time.Date(t.Year(), t.Month(), 1, 3, 0, 0, 0, time.UTC)
	if !slot.After(t) {
		slot = time.Date(t.Year(), t.Month()+1, 1, 3, 0, 0, 0, time.UTC)
	}
	return slot
}

// nightly is two in the morning.
func nightly(t time.Time) time.Time {
	slot := time.Date(t.Year(), t.Month(), t.Day(), 2, 0, 0, 0, time.UTC)
	if !slot.After(t) {
		slot = slot.AddDate(0, 0, 1)
	}
	return slot
}

func times(t *testing.T, texts ...string) []exportops.Time {
	t.Helper()
	var out []exportops.Time
	for _, s := range texts {
		at, err := exportops.ParseTime(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, at)
	}
	return out
}

func TestPlanSlots(t *testing.T) {
	type list []string
	for name, c := range map[string]struct {
		next            func(time.Time) time.Time
		since, now      string
		ends            list
		run             string
		catchUp         bool
		missed, skipped list
	}{
		"nothing_is_due_at_installation": {next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-10-31T02:00:00Z"},
		"nothing_is_due_before_the_slot": {next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T01:59:59.999Z"},
		"at_the_slot":                    {next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T02:00:00Z", run: "2025-11-01T02:00:00Z"},
		"within_a_minute_it_is_on_time":  {next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T02:01:00Z", run: "2025-11-01T02:00:00Z"},
		"after_that_it_is_a_catch_up":    {next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T02:01:00.001Z", run: "2025-11-01T02:00:00Z", catchUp: true},
		"after_downtime_one_runs_and_the_others_were_missed": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-04T12:00:00Z", run: "2025-11-04T02:00:00Z", catchUp: true,
			missed: list{"2025-11-01T02:00:00Z", "2025-11-02T02:00:00Z", "2025-11-03T02:00:00Z"},
		},
		"over_the_end_of_months": {
			next: monthly, since: "2025-01-31T23:59:59Z", now: "2025-04-01T03:00:00Z", run: "2025-04-01T03:00:00Z",
			missed: list{"2025-02-01T03:00:00Z", "2025-03-01T03:00:00Z"},
		},
		"over_the_end_of_a_year": {next: monthly, since: "2025-12-01T03:00:00Z", now: "2026-01-01T03:00:30Z", run: "2026-01-01T03:00:00Z"},
		"a_run_from_outside_satisfies_its_slot": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T05:00:00Z", ends: list{"2025-11-01T04:59:00Z"},
			skipped: list{"2025-11-01T02:00:00Z"},
		},
		"a_run_that_ends_at_the_slot_satisfies_it": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T02:00:00Z", ends: list{"2025-11-01T02:00:00Z"},
			skipped: list{"2025-11-01T02:00:00Z"},
		},
		"one_that_ended_just_before_does_not": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-01T02:00:00Z", ends: list{"2025-11-01T01:59:59.999Z"},
			run: "2025-11-01T02:00:00Z",
		},
		"one_that_ended_at_the_next_slot_satisfies_that": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-02T03:00:00Z", ends: list{"2025-11-02T02:00:00Z"},
			missed: list{"2025-11-01T02:00:00Z"}, skipped: list{"2025-11-02T02:00:00Z"},
		},
		"runs_from_outside_in_the_middle": {
			next: nightly, since: "2025-10-31T02:00:00Z", now: "2025-11-04T02:00:00Z",
			ends: list{"2025-10-31T05:00:00Z", "2025-11-02T05:00:00Z", "2025-11-02T06:00:00Z", "2025-11-03T01:00:00Z"},
			run:  "2025-11-04T02:00:00Z", missed: list{"2025-11-01T02:00:00Z", "2025-11-03T02:00:00Z"}, skipped: list{"2025-11-02T02:00:00Z"},
		},
		"a_schedule_that_never_comes": {next: func(time.Time) time.Time { return time.Time{} }, since: "2025-10-31T02:00:00Z", now: "2035-01-01T00:00:00Z"},
		"a_schedule_that_comes_once": {
			next: func(at time.Time) time.Time {
				once := time.Date(2025, 11, 1, 2, 0, 0, 0, time.UTC)
				if at.Before(once) {
					return once
				}
				return time.Time{}
			},
			since: "2025-10-31T02:00:00Z", now: "2025-12-01T00:00:00Z", run: "2025-11-01T02:00:00Z", catchUp: true,
		},
		"a_clock_that_went_backwards": {next: nightly, since: "2025-11-05T02:00:00Z", now: "2025-11-01T02:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			span := times(t, c.since, c.now)
			want := exportops.SlotPlan{Missed: times(t, c.missed...), Skipped: times(t, c.skipped...), CatchUp: c.catchUp}
			if c.run != "" {
				want.Run = &times(t, c.run)[0]
			}
			got := exportops.PlanSlots(c.next, span[0], span[1], times(t, c.ends...))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestPlanSlotsOfAYearOfMinutes: the newest are recorded, the others counted.
func TestPlanSlotsOfAYearOfMinutes(t *testing.T) {
	span := times(t, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
	got := exportops.PlanSlots(every(time.Minute), span[0], span[1], nil)
	const minutes, most = 366 * 24 * 60, 10_000
	if len(got.Missed) != most || got.Unlisted != minutes-1-most || got.Run == nil || !got.Run.Equal(span[1].Time) {
		t.Fatalf("%d missed, %d unlisted, run %v", len(got.Missed), got.Unlisted, got.Run)
	}
	if first := span[1].Add(-most * time.Minute); !got.Missed[0].Equal(first) {
		t.Errorf("the first that is recorded is %s, want %s", got.Missed[0], first)
	}
}

// TestPlanSlotsAccountsForEverySlot checks the plan against its own words.
func TestPlanSlotsAccountsForEverySlot(t *testing.T) {
	span := times(t, "2025-01-01T00:00:00Z", "2025-02-01T00:30:00Z")
	for step := time.Hour; step < 40*time.Hour; step += 7 * time.Hour {
		var ends []exportops.Time
		for at := span[0].Time; at.Before(span[1].Time); at = at.Add(step) {
			ends = append(ends, exportops.At(at.Add(11*time.Minute)))
		}
		p := exportops.PlanSlots(every(time.Hour), span[0], span[1], ends)
		got := map[int64]bool{}
		for _, s := range p.Missed {
			got[s.Unix()] = false
		}
		for _, s := range p.Skipped {
			got[s.Unix()] = true
		}
		if p.Run != nil {
			got[p.Run.Unix()] = false
		}
		want := map[int64]bool{}
		for at := span[0].Add(time.Hour); !at.After(span[1].Time); at = at.Add(time.Hour) {
			want[at.Unix()] = false
			for _, e := range ends {
				if !e.Before(at) && e.Before(at.Add(time.Hour)) {
					want[at.Unix()] = true
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("a run every %s (-want +got):\n%s", step, d)
		}
	}
}
