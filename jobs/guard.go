package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
)

// guard asks the guards about a run that is ours, before anything is deleted,
// and records what they say, so that whoever takes the run over knows that it
// was let through and others know that they may help. It is KindRefused where
// they refuse and nothing overrides them.
func (r *Runner) guard(ctx context.Context, req Request, run exportops.Run, work cleanup.Work, result *Result) error {
	known := *result.guards()
	if !known.LetThrough() {
		known = nil
	}
	g, err := r.ask(ctx, req, run, known, work.Deadline)
	if err != nil || g == nil {
		return unlessDone(ctx, err)
	}
	if *result.guards() = g; !g.LetThrough() {
		return g.Refusal(req.Job)
	}
	progress, err := json.Marshal(result.value())
	if err != nil {
		return fmt.Errorf("keep what the guards said of run %s: %w", run.ID, err)
	}
	return unlessDone(ctx, r.Store.Renew(ctx, exportops.Checkpoint{
		Fence: work.Fence, Now: r.at(), Lease: exportops.LeaseLength, Progress: progress,
	}))
}

// ask asks the guards. Where it is known what the guards of numbers said, when
// another process held the run, only the clock is looked at. It returns nothing
// where the run's time is over before they know: the work will not begin.
func (r *Runner) ask(ctx context.Context, req Request, run exportops.Run, known *exportops.Guards, deadline time.Time) (
	*exportops.Guards, error,
) {
	g := &exportops.Guards{}
	if known != nil {
		g.Files, g.LogRows = known.Files, known.LogRows
	} else if err := r.count(ctx, req, run.Forced, deadline, g); err != nil || g.Files == nil {
		return nil, err
	}
	var err error
	if g.Clock, err = r.clock(ctx, run.ID); err != nil {
		return nil, err
	}
	for _, refused := range []struct {
		by exportops.Guard
		is bool
	}{{exportops.GuardClock, g.Clock != nil}, {exportops.GuardFiles, g.Files.Refuses()}, {exportops.GuardLogRows, g.LogRows.Refuses()}} {
		if refused.is {
			g.RefusedBy = append(g.RefusedBy, refused.by)
		}
	}
	switch {
	case len(g.RefusedBy) == 0:
	case run.Forced:
		g.OverriddenBy = exportops.ByForce
	case g.Clock != nil:
	// Unknown files go by a plan in any case, which so says nothing of itself.
	case req.Plan != nil && !needsPlan(req.Job):
		g.OverriddenBy = exportops.ByPlan
	case known != nil:
		g.OverriddenBy = known.OverriddenBy
	}
	return g, nil
}

// unlessDone drops the error of a question that was not answered because the run
// was told to stop: the work looks at that itself, before it deletes anything.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// clock returns what is wrong with our clock, or nil.
func (r *Runner) clock(ctx context.Context, runID string) (*exportops.ClockGuard, error) {
	before := r.at()
	reading, err := r.Store.Clock(ctx, runID)
	if err != nil {
		return nil, fmt.Errorf("ask the database for the time: %w", err)
	}
	return reading.Judge(before, r.at()), nil
}

// count asks the guards of numbers. It leaves Files unset where the run's time
// was over before they knew.
func (r *Runner) count(ctx context.Context, req Request, forced bool, deadline time.Time, g *exportops.Guards) error {
	past, err := r.past(ctx, req)
	if err != nil {
		return err
	}
	if req.Plan != nil {
		due := req.Plan.Totals
		if g.Files = past.files; req.Job == exportops.LogCleanup {
			g.LogRows = past.rows
			g.LogRows.Found, g.Files.Found = due.Due(), due.Files
		} else {
			g.Files.Found = due.Due()
		}
		return nil
	}
	dry := cleanup.DryRun{Store: r.Store, Files: r.Files, Locator: r.Locator, Now: r.Now, Deadline: deadline}
	if req.Job == exportops.FileCleanup {
		g.Files, err = r.filesDue(ctx, r.selection(req), past.files, forced, dry)
		return err
	}
	w := r.logWork(req, deadline)
	rows := exportops.LogSelection{Cut: w.Cut}
	g.LogRows, err = countDue(past.rows, forced, counting{
		upTo: func(most int64) (int64, error) { return r.Store.CountLogRowsUpTo(ctx, rows, most) },
		all:  func() (int64, error) { return r.Store.CountLogRows(ctx, rows, "") },
		exactly: func(most int64) (int64, bool, error) {
			dry := dry
			dry.Most = most
			res, err := dry.CleanLogs(ctx, w, r.at())
			return res.WouldDelete, res.Complete, err
		},
	})
	if err != nil || g.LogRows == nil {
		return err
	}
	g.Files, err = r.filesDue(ctx, w.FileSelection(r.at()), past.files, forced, dry)
	return err
}

func (r *Runner) filesDue(ctx context.Context, sel exportops.Selection, guard *exportops.CountGuard, forced bool,
	dry cleanup.DryRun,
) (*exportops.CountGuard, error) {
	return countDue(guard, forced, counting{
		upTo: func(most int64) (int64, error) { return r.Store.CountCandidatesUpTo(ctx, sel, most) },
		all:  func() (int64, error) { return r.Store.CountCandidates(ctx, sel, "") },
		exactly: func(most int64) (int64, bool, error) {
			dry := dry
			dry.Most = most
			res, err := dry.CleanFiles(ctx, sel)
			return res.WouldDelete + res.NoFile, res.Complete, err
		},
	})
}

// counting counts what is due in three ways.
type counting struct {
	upTo    func(most int64) (int64, error)                 // rows, by the index, no more than so many
	exactly func(most int64) (n int64, all bool, err error) // what would be deleted, until it is more
	all     func() (int64, error)                           // rows, by the index
}

// countDue counts what is due, as cheaply as it can be told from the limit: rows
// first, and only where those are too many what would become of each. Where a
// run is forced past the limit it counts all of it, for that is what its parts
// may come to. It returns nil where time was over before.
func countDue(g *exportops.CountGuard, forced bool, c counting) (*exportops.CountGuard, error) {
	var err error
	if g.Found, err = c.upTo(g.Limit + 1); err != nil || !g.Refuses() {
		g.None = err == nil && g.Found == 0
		return g, err
	}
	n, all, err := c.exactly(g.Limit)
	if err != nil {
		return nil, err
	}
	if g.Found = min(n, g.Limit+1); !g.Refuses() && !all {
		return nil, nil
	}
	if g.Refuses() && forced {
		g.Found, err = c.all()
	}
	return g, err
}

// limits are the guards of numbers with what the last runs make of them.
type limits struct{ files, rows *exportops.CountGuard }

// past looks at what the last runs did. A result that cannot be read counts as
// nothing, which only makes the limit smaller.
func (r *Runner) past(ctx context.Context, req Request) (limits, error) {
	runs, err := r.Store.FinishedRuns(ctx, req.Job, exportops.GuardRuns)
	if err != nil {
		return limits{}, fmt.Errorf("look at the last runs of %s: %w", req.Job, err)
	}
	var largest, left [2]int64
	looked := false
	for _, run := range runs {
		done, err := resultOf(run)
		if err != nil {
			continue
		}
		dealt := done.dealt()
		for i := range dealt {
			largest[i] = max(largest[i], dealt[i])
		}
		// The last one that came past the guards says what is left.
		if g := done.guards(); !looked && g != nil && (*g).LetThrough() {
			looked = true
			if !done.complete() && string(run.Params) == string(req.params(r.Policy)) {
				left = leftOver(*g, dealt)
			}
		}
	}
	return limits{
		files: exportops.NewCountGuard(largest[0], left[0]), rows: exportops.NewCountGuard(largest[1], left[1]),
	}, nil
}

func leftOver(g *exportops.Guards, dealt [2]int64) (left [2]int64) {
	for i, c := range []*exportops.CountGuard{g.Files, g.LogRows} {
		if c != nil {
			left[i] = max(0, c.Found-dealt[i])
		}
	}
	return left
}

// guards returns where the result of a guarded job keeps what the guards said,
// or nil.
func (r Result) guards() **exportops.Guards {
	switch {
	case r.Files != nil:
		return &r.Files.Guards
	case r.Logs != nil:
		return &r.Logs.Guards
	case r.Unknown != nil:
		return &r.Unknown.Guards
	case r.Recon != nil:
		return &r.Recon.Guards
	}
	return nil
}

// dealt returns how many files and log rows were dealt with.
func (r Result) dealt() [2]int64 {
	switch {
	case r.Files != nil:
		return [2]int64{r.Files.Dealt(), 0}
	case r.Logs != nil:
		return [2]int64{r.Logs.FilesDeleted + r.Logs.FilesAbsent, r.Logs.DeletedCount}
	case r.Unknown != nil:
		return [2]int64{r.Unknown.DeletedCount + r.Unknown.AlreadyAbsent, 0}
	}
	return [2]int64{}
}

func (r Result) complete() bool {
	return r.Files != nil && r.Files.Complete || r.Logs != nil && r.Logs.Complete || r.Unknown != nil && r.Unknown.Complete
}

// value is the one result that is set.
func (r Result) value() any {
	switch {
	case r.Files != nil:
		return r.Files
	case r.Logs != nil:
		return r.Logs
	case r.Unknown != nil:
		return r.Unknown
	}
	return r.Rolls
}

// letThrough reports whether the guards let an active run through, as far as is
// recorded.
func letThrough(run exportops.Run) bool {
	result, err := resultOf(run)
	g := result.guards()
	return err == nil && g != nil && (*g).LetThrough()
}
