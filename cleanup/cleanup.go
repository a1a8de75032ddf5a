// Package cleanup deletes what is past its time: files that expired, log rows
// that are older than promised, and on request what one user left.
//
// Every file goes the same way. A page of rows is judged and claimed in one
// transaction; the file store deletes what was claimed; the outcomes and the
// rows' new status are recorded in another. A process may die on any line: the
// next run begins with the claims that dead runs left open.
package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// Store is what a cleanup keeps its records in.
type Store interface {
	exportops.DeletionStore
	exportops.LogStore
	exportops.ErasureStore
	exportops.ArchiveStore
	HoldReader
	exportops.ReconcileStore
	exportops.ExpiryStore
	RunEnder
	// CloseRun is that of exportops.RunStore.
	CloseRun(ctx context.Context, c exportops.Checkpoint) ([]exportops.Work, error)
}

// Reader is the part of Store that changes nothing. A dry run has no other.
type Reader interface {
	Candidates(ctx context.Context, s exportops.Selection, after exportops.Cursor, limit int) (
		[]exportops.Candidate, exportops.Cursor, error)
	LogRows(ctx context.Context, s exportops.LogSelection, after exportops.Cursor, limit int) (
		[]exportops.LogRow, exportops.Cursor, error)
	ExactReader
	RootReader
	ArchiveLister
	exportops.ReconcileReader
}

// ExactReader reads what an exact look at single exports needs.
type ExactReader interface {
	CandidatesByID(ctx context.Context, exportIDs []string) ([]exportops.Candidate, error)
	KeyReader
}

// Cleaner deletes files and log rows. It is safe for concurrent use.
type Cleaner struct {
	Store   Store
	Files   exportops.FileStore
	Locator exportops.Locator
	Now     func() time.Time
	Lease   time.Duration // of the run, renewed with every transaction
	// Archives keeps log rows before they are deleted; nil where that is off.
	Archives Archiver
	// RestoredFrom is the time of the backup that the database was restored from,
	// while what is younger is not settled; zero otherwise.
	RestoredFrom exportops.Time
}

// Work is one run's hold on a cleanup. It ends between two batches, when its
// context is done or its deadline is past; a batch that has begun is finished.
type Work struct {
	Fence    exportops.Fence
	Deadline time.Time // zero for none
	Progress func(any) // told the result so far after every batch; may be nil
	// Stop, where set, is asked before each batch whether the run is to stop.
	Stop func(context.Context) bool
	// Shared says that other processes may help with the run's files.
	Shared bool

	// noneDue says that somebody has just looked, and found no file due: only claims
	// of dead runs are dealt with.
	noneDue bool
	// as turns the result of a part into that of the whole, for the run's record;
	// nil where it is the whole.
	as func(any) any
}

// settleWithin bounds how long a batch that has begun may take to finish after
// its run was told to stop.
const settleWithin = 10 * time.Second

// pace adapts the size of a batch to how long the last one took.
type pace struct {
	size, least, most int
	lockFor           time.Duration // what a batch should take
}

func (c *Cleaner) pace(size, least, most int) pace {
	return pace{size: size, least: least, most: most, lockFor: c.Store.LockFor()}
}

// filePace is that of batches which storage takes at once.
func (c *Cleaner) filePace() pace {
	most := c.Files.MaxBatch()
	return c.pace(min(most, 500), min(most, 20), most)
}

func (p *pace) took(d time.Duration) {
	// By half at most, so that one slow flush does not decide about the rest.
	factor := min(max(float64(p.lockFor)/float64(max(d, 1)), 0.5), 1.5)
	p.size = min(max(int(float64(p.size)*factor), p.least), p.most)
}

// tookFor is took for a batch of n, which may be a part of a full one. A small one
// can say that batches are too large, but not that they could be larger.
func (p *pace) tookFor(n int, d time.Duration) {
	switch {
	case n > p.size/2:
		p.took(d * time.Duration(p.size) / time.Duration(n))
	case d > p.lockFor:
		p.took(d)
	}
}

// ended reports whether the work must stop before the next batch.
func (c *Cleaner) ended(ctx context.Context, w Work) bool {
	return ctx.Err() != nil || (!w.Deadline.IsZero() && !c.Now().Before(w.Deadline)) || (w.Stop != nil && w.Stop(ctx))
}

func (c *Cleaner) checkpoint(w Work, progress any) (exportops.Checkpoint, error) {
	b, err := w.record(progress)
	return exportops.Checkpoint{Fence: w.Fence, Now: exportops.At(c.Now()), Lease: c.Lease, Progress: b}, err
}

// record is a result, or the part of one, as the run's record keeps it.
func (w Work) record(result any) (json.RawMessage, error) {
	if w.as != nil {
		result = w.as(result)
	}
	b, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("keep progress: %w", err)
	}
	return b, nil
}

func (w Work) report(result any) {
	if w.Progress != nil {
		w.Progress(result)
	}
}
