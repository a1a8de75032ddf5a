package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// ReconcileWork is what a reconciliation is to do.
type ReconcileWork struct {
	StuckAfter time.Duration // exports in progress for longer are failed
	Rate       int           // files walked through in a second; 0 for no bound
}

// segment is how many files are walked through before what was missing among
// them is looked for: that reads the live rows once.
const segment = 500_000

// walkPage is how many files are compared at once.
const walkPage = 1000

// justWritten is how long before the run a file may have been written and still
// wait for its row.
const justWritten = 5 * time.Minute

// reconciliation is one run. A dry one has nothing to keep records with.
type reconciliation struct {
	ReconcileWork
	store    Reader
	files    FileReader
	locator  exportops.Locator
	now      func() time.Time
	deadline time.Time
	keep     keeper
	res      *exportops.ReconcileResult
	// restored says that the database was restored from a backup: a file that no row
	// names may be of one that is lost, and an export that is in progress may have
	// ended.
	restored bool

	started exportops.Time
	known   *knownKeys
	pace    walkPace
	// counted is the result as far as everything is compared. What was seen of a
	// segment that came to nothing is seen, and counted, again.
	counted exportops.ReconcileResult
}

// keeper keeps what was found; a dry run's keeps nothing.
type keeper interface {
	unknown(ctx context.Context, files []exportops.UnknownFile) error
	missing(ctx context.Context, files []exportops.MissingFile) error
	// These three change what a run that takes over does not meet again, and so keep
	// the result that counts it with it. Stuck says of each export whether it failed it.
	closed(ctx context.Context, files []exportops.UnknownFile, res exportops.ReconcileResult) error
	found(ctx context.Context, exportIDs []string, res exportops.ReconcileResult) error
	stuck(ctx context.Context, rows []exportops.StuckExport, reason string, counted func([]bool) exportops.ReconcileResult) ([]bool, error)
	// progress makes what was done so far what a run that takes over begins with.
	progress(ctx context.Context, res exportops.ReconcileResult) error
}

// Reconcile compares the files in storage with the rows that name them. It deletes
// nothing and changes no row but of exports that are stuck. It goes on after
// res.Cursor, and what it cannot come to is left to the next run.
func (c *Cleaner) Reconcile(ctx context.Context, w Work, work ReconcileWork, res *exportops.ReconcileResult) error {
	k := &recordKeeper{cleaner: c, work: w}
	r := &reconciliation{
		ReconcileWork: work, store: c.Store, files: c.Files, locator: c.Locator, now: c.Now, deadline: w.Deadline,
		keep: k, res: res, restored: !c.RestoredFrom.IsZero(),
	}
	if err := k.progress(ctx, *res); err != nil {
		return err
	}
	if err := c.closeUnknownClaims(ctx, w, *res); err != nil {
		return reading(ctx, "", err)
	}
	return r.run(ctx)
}

// Reconcile finds what Cleaner.Reconcile would.
func (d DryRun) Reconcile(ctx context.Context, work ReconcileWork) (exportops.ReconcileResult, error) {
	res := exportops.ReconcileResult{DryRun: true}
	r := &reconciliation{
		ReconcileWork: work, store: d.Store, files: d.Files, locator: d.Locator, now: d.Now, deadline: d.Deadline,
		keep: nothing{}, res: &res, restored: !d.RestoredFrom.IsZero(),
	}
	err := r.run(ctx)
	return res, err
}

// come notes that everything up to the cursor is compared.
func (r *reconciliation) come(ctx context.Context) error {
	r.counted = *r.res
	return r.keep.progress(ctx, *r.res)
}

func (r *reconciliation) at() exportops.Time { return exportops.At(r.now()) }

func (r *reconciliation) ended(ctx context.Context) bool {
	return ctx.Err() != nil || (!r.deadline.IsZero() && !r.now().Before(r.deadline))
}

func (r *reconciliation) run(ctx context.Context) error {
	r.started, r.pace = r.at(), walkPace{rate: r.Rate}
	if r.res.BeganAt.IsZero() {
		r.res.BeganAt = r.started
	}
	r.counted = *r.res
	done, err := r.steps(ctx)
	if !done {
		*r.res = r.counted
	}
	r.res.Complete = done && err == nil
	if r.res.Complete {
		r.res.Cursor, r.res.Walked = "", false
	}
	stopped := errors.Is(err, errStopped) || (ctx.Err() != nil && errors.Is(err, ctx.Err()))
	if !stopped {
		return err
	}
	return nil // that it is not complete says it
}

func (r *reconciliation) steps(ctx context.Context) (done bool, err error) {
	if err := r.checkRoot(ctx); err != nil {
		return false, err
	}
	if done, err := r.failStuck(ctx); err != nil || !done {
		return false, err
	}
	claimed, err := openClaims(ctx, r.store, r.files.ID())
	if err != nil {
		return false, reading(ctx, "read open claims", err)
	}
	if r.known, err = readKnownKeys(ctx, r.store, r.locator, claimed, r.started); err != nil {
		return false, reading(ctx, "read which files rows name", err)
	}
	r.res.UnreadableRows = r.known.unreadable
	for !r.res.Walked {
		if err := r.segment(ctx); err != nil || r.ended(ctx) {
			return false, err
		}
	}
	return true, r.lookAgainAtMissing(ctx)
}

// checkRoot refuses to go on where the root is missing, or empty while rows name
// files in it. What is asked before marking is asked again.
func (r *reconciliation) checkRoot(ctx context.Context) error {
	sel := exportops.Selection{Mode: exportops.ByExpiry, Now: r.started}
	return reading(ctx, "", checkRoot(ctx, r.store, r.files, r.locator, sel))
}

// walkPace lets a walk through so many files a second.
type walkPace struct {
	rate  int
	began time.Time
	files int
}

// passed waits until so many more files are due.
func (p *walkPace) passed(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.files += n
	due := p.began.Add(time.Duration(float64(p.files) / float64(p.rate) * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errStopped
	}
}

// recordKeeper keeps records under the fence of a run.
type recordKeeper struct {
	cleaner *Cleaner
	work    Work
	done    json.RawMessage // the result at the end of the last segment
}

func (k *recordKeeper) checkpoint() exportops.Checkpoint {
	return exportops.Checkpoint{
		Fence: k.work.Fence, Now: exportops.At(k.cleaner.Now()), Lease: k.cleaner.Lease, Progress: k.done,
	}
}

func (k *recordKeeper) progress(ctx context.Context, res exportops.ReconcileResult) (err error) {
	if k.done, err = json.Marshal(res); err != nil {
		return fmt.Errorf("keep progress: %w", err)
	}
	k.work.report(res)
	return k.unknown(ctx, nil)
}

func (k *recordKeeper) unknown(ctx context.Context, files []exportops.UnknownFile) error {
	return wrap("record unknown files", k.cleaner.Store.RecordUnknown(ctx, k.checkpoint(), files))
}

func (k *recordKeeper) missing(ctx context.Context, files []exportops.MissingFile) error {
	return wrap("record missing files", k.cleaner.Store.RecordMissing(ctx, k.checkpoint(), files))
}

func (k *recordKeeper) closed(ctx context.Context, files []exportops.UnknownFile, res exportops.ReconcileResult) error {
	return k.with(res, func() error { return k.unknown(ctx, files) })
}

func (k *recordKeeper) found(ctx context.Context, exportIDs []string, res exportops.ReconcileResult) error {
	return k.with(res, func() error {
		return wrap("record files that were found", k.cleaner.Store.ForgetMissing(ctx, k.checkpoint(), exportIDs))
	})
}

// with keeps a result with what fn records.
func (k *recordKeeper) with(res exportops.ReconcileResult, fn func() error) error {
	before := k.done
	b, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("keep progress: %w", err)
	}
	k.done = b
	if err := fn(); err != nil {
		k.done = before
		return err
	}
	return nil
}

func (k *recordKeeper) stuck(ctx context.Context, rows []exportops.StuckExport, reason string,
	counted func([]bool) exportops.ReconcileResult,
) ([]bool, error) {
	failed, err := k.cleaner.Store.FailStuck(ctx, k.checkpoint(), rows, reason, func(failed []bool) (json.RawMessage, error) {
		return k.work.record(counted(failed))
	})
	return failed, wrap("fail stuck exports", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// nothing keeps nothing.
type nothing struct{}

func (nothing) unknown(context.Context, []exportops.UnknownFile) error    { return nil }
func (nothing) missing(context.Context, []exportops.MissingFile) error    { return nil }
func (nothing) progress(context.Context, exportops.ReconcileResult) error { return nil }
func (nothing) closed(context.Context, []exportops.UnknownFile, exportops.ReconcileResult) error {
	return nil
}

func (nothing) found(context.Context, []string, exportops.ReconcileResult) error { return nil }
func (nothing) stuck(context.Context, []exportops.StuckExport, string, func([]bool) exportops.ReconcileResult) ([]bool, error) {
	return nil, nil
}
