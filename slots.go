package exportops

import "time"

// LateAfter is how long after its slot a run is a catch-up.
const LateAfter = time.Minute

// mostSlots bounds how many slots one plan records: a schedule of every minute
// on a machine that was off for a year has half a million.
const mostSlots = 10_000

// SlotPlan says what becomes of the slots that are due.
type SlotPlan struct {
	Run      *Time  // the latest, unless a run satisfied it
	CatchUp  bool   // Run is later than it should be
	Missed   []Time // those before it that no run satisfied
	Skipped  []Time // those that a run outside the schedule satisfied
	Unlisted int    // older ones, beyond what is recorded
}

// PlanSlots decides about the slots in (since, now]. next returns the first
// slot after an instant, or the zero time. A slot is satisfied by a run that
// ended at one of ends, which are in order, before the slot after it.
func PlanSlots(next func(time.Time) time.Time, since, now Time, ends []Time) SlotPlan {
	var p SlotPlan
	slot := next(since.Time)
	for !slot.IsZero() && !slot.After(now.Time) {
		after := next(slot)
		for len(ends) > 0 && ends[0].Before(slot) {
			ends = ends[1:]
		}
		satisfied := len(ends) > 0 && (after.IsZero() || ends[0].Before(after))
		last := after.IsZero() || after.After(now.Time)
		switch at := At(slot); {
		case satisfied:
			p.Skipped = append(p.Skipped, at)
		case last:
			p.Run, p.CatchUp = &at, now.Sub(slot) > LateAfter
		default:
			p.Missed = append(p.Missed, at)
		}
		for _, list := range []*[]Time{&p.Missed, &p.Skipped} {
			if len(*list) > mostSlots {
				*list = (*list)[1:]
				p.Unlisted++
			}
		}
		slot = after
	}
	return p
}
