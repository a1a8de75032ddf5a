package exportops

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// What the guards go by.
const (
	// GuardRuns is how many finished runs of its job a run is measured by.
	GuardRuns = 14
	// GuardFactor is how many times the largest of those a run may delete.
	GuardFactor = 10
	// GuardFloor is what a run may delete whatever those deleted.
	GuardFloor = 10_000
	// ClockTolerance is how far our clock may be from the database's.
	ClockTolerance = 5 * time.Minute
)

// Guard names what may refuse a run.
type Guard string

// The guards.
const (
	GuardClock   Guard = "clock"
	GuardFiles   Guard = "files"    // more files than is plausible
	GuardLogRows Guard = "log_rows" // more log rows than is plausible
)

// Override names what lets a run go on that a guard refused.
type Override string

// The overrides. A plan names what it deletes, and so overrides the guards of
// numbers; only force overrides the clock's.
const (
	ByForce Override = "force"
	ByPlan  Override = "plan"
)

// Guards is what the guards said of a run, before it deleted anything. A run
// that has none was not let through.
type Guards struct {
	Clock        *ClockGuard `json:"clock,omitempty"` // only where it refused
	Files        *CountGuard `json:"files,omitempty"`
	LogRows      *CountGuard `json:"log_rows,omitempty"`
	RefusedBy    []Guard     `json:"refused_by,omitempty"`
	OverriddenBy Override    `json:"overridden_by,omitempty"`
}

// LetThrough reports whether the run may delete.
func (g *Guards) LetThrough() bool {
	return g != nil && (len(g.RefusedBy) == 0 || g.OverriddenBy != "")
}

// CountGuard is what a run found due, and how much of it is plausible.
type CountGuard struct {
	// Found is what is due. Where it is above the limit, and nothing overrides
	// that, counting ended one above the limit.
	Found int64 `json:"found"`
	Limit int64 `json:"limit"`
	// Largest is the most that one of the last runs dealt with, forced ones
	// included.
	Largest int64 `json:"largest"`
	// LeftOver is what a run before, with the same parameters, was let to delete
	// and did not come to.
	LeftOver int64 `json:"left_over"`
	// None says that not even a row was found of which more would be to ask. It is
	// for whoever has counted, and goes on at once.
	None bool `json:"-"`
}

// NewCountGuard returns a guard with the limit that follows from what the last
// runs did.
//
// A backlog that was let through once may take several runs, each with a budget
// of time. What they leave is added to the limit of the next, so that they are
// not refused one after the other; it goes down as they go on, and whatever
// becomes due beside it must be plausible by itself. It is no measure for the
// limit, which rises with what was deleted alone.
func NewCountGuard(largest, leftOver int64) *CountGuard {
	return &CountGuard{Limit: max(GuardFloor, GuardFactor*largest) + leftOver, Largest: largest, LeftOver: leftOver}
}

// Refuses reports whether what was found is implausible.
func (c *CountGuard) Refuses() bool { return c != nil && c.Found > c.Limit }

func (c *CountGuard) sentence(what string) string {
	s := fmt.Sprintf("more than %d %s are due: a run deletes %d, or ten times the %d of the largest of the last %d runs",
		c.Limit, what, GuardFloor, c.Largest, GuardRuns)
	if c.LeftOver > 0 {
		s += fmt.Sprintf(", and the %d that the run before left", c.LeftOver)
	}
	return s
}

// ClockGuard is why the clock is not to be trusted.
type ClockGuard struct {
	Ours     Time  `json:"ours"`
	Database *Time `json:"database,omitempty"` // the database's clock, where that is the reason
	Newest   *Time `json:"newest,omitempty"`   // of a run that was recorded before, where that is
}

// ClockReading is what a database knows of the time.
type ClockReading struct {
	Now    *Time // what it takes for now; nil where it has no clock but ours
	Newest *Time // the latest time of the newest cleanup that no guard refused; nil for none
}

// Judge says what is wrong with our clock, which showed these times before and
// after the reading; nil where nothing is.
func (r ClockReading) Judge(before, after Time) *ClockGuard {
	late := ClockTolerance
	if r.Now != nil {
		if before.Sub(r.Now.Time) > ClockTolerance || r.Now.Sub(after.Time) > ClockTolerance {
			return &ClockGuard{Ours: after, Database: r.Now}
		}
		// Two processes may each be that far off, to either side.
		late *= 2
	}
	if r.Newest != nil && r.Newest.Sub(after.Time) > late {
		return &ClockGuard{Ours: after, Newest: r.Newest}
	}
	return nil
}

func (c *ClockGuard) sentence() string {
	if c.Database != nil {
		return fmt.Sprintf("this machine's clock says %s and the database's %s: what is due cannot be told", c.Ours, c.Database)
	}
	return fmt.Sprintf("this machine's clock says %s, and a cleanup was recorded at %s: it went backwards", c.Ours, c.Newest)
}

// Refusal is the error of a run that was not let through.
func (g *Guards) Refusal(j Job) error {
	var why, hints []string
	if g.Clock != nil {
		why, hints = append(why, g.Clock.sentence()), append(hints, "set the clock right")
	}
	counted := len(why)
	if g.Files.Refuses() {
		why = append(why, g.Files.sentence("files"))
	}
	if g.LogRows.Refuses() {
		why = append(why, g.LogRows.sentence("log rows"))
	}
	if len(why) > counted && j == UnknownCleanup {
		hints = append(hints, "look at what the plan lists")
	} else if len(why) > counted {
		hints = append(hints, fmt.Sprintf("look at what is due: exportops run %s --dry-run", j))
	}
	if len(why) > counted && (j == FileCleanup || j == LogCleanup) {
		hints = append(hints, "apply a plan of it (--plan-out FILE, then --plan FILE)")
	}
	hints = append(hints, "or repeat with --force (force=true)")
	return &Error{Kind: KindRefused, Message: strings.Join(why, "; "), Hint: strings.Join(hints, ", ")}
}

// GuardStore answers what the guards ask.
type GuardStore interface {
	// CountCandidatesUpTo counts the rows of a selection, and stops at most.
	CountCandidatesUpTo(ctx context.Context, s Selection, most int64) (int64, error)
	// CountLogRowsUpTo counts the rows of a selection, and stops at most.
	CountLogRowsUpTo(ctx context.Context, s LogSelection, most int64) (int64, error)
	// FinishedRuns returns the last runs of a job that ended and that no guard
	// refused, newest first.
	FinishedRuns(ctx context.Context, j Job, limit int) ([]Run, error)
	// Clock reads the time. The run with the given id is not asked.
	Clock(ctx context.Context, runID string) (ClockReading, error)
}
