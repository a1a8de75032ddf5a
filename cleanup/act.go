package cleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

// The evidence that the ledger keeps of an outcome.
const (
	evidenceConfirmed = "confirmed"            // storage deleted it for us
	evidenceAbsent    = "absent"               // storage says it was not there
	evidenceAfter     = "absent_after_attempt" // not there, after an attempt of ours was interrupted
)

// underway is what storage is at work on: claims of one page at most.
type underway struct {
	claims []*exportops.Deletion
	// guarded claims are not of this moment: a run has recovered them.
	guarded bool
	// batch is what is recorded beside them.
	batch []exportops.Settlement
	// spared are exports whose files are left alone where they are too young.
	spared map[string]bool

	done    chan struct{} // closed when storage has answered
	results []exportops.FileResult
	err     error
	died    any // what it panicked with

	ctx     context.Context // of the page, which is finished whatever happens to the run
	release func()          // lets go of it
}

// wait waits until storage has answered.
func (u *underway) wait() {
	if u != nil {
		<-u.done
	}
}

// begin has storage delete the claimed files, at most as many as it takes at once, and
// does not wait for it. No transaction is open for them while it works. Release is
// called when the outcomes are recorded.
func (r *fileRun) begin(ctx context.Context, release func(), claims []*exportops.Deletion, guards []*exportops.FileGuard,
	batch []exportops.Settlement,
) {
	u := &underway{
		claims: claims, guarded: guards != nil, batch: batch, done: make(chan struct{}), ctx: ctx, release: release,
	}
	r.under = u
	refs := make([]exportops.FileRef, len(claims))
	for i, d := range claims {
		refs[i].Key = d.Key
		if guards != nil {
			refs[i].Guard = guards[i]
		}
	}
	u.spared = r.spare(claims, refs)
	if len(refs) == 0 {
		close(u.done)
		return
	}
	go func() {
		defer close(u.done)
		defer func() { u.died = recover() }()
		u.results, u.err = r.Files.Delete(ctx, refs)
	}()
}

// answered waits for what storage is at work on, if anything, and returns it. What is
// not answered for, file by file, is an error, and its claims stay open.
func (r *fileRun) answered() (*underway, error) {
	u := r.under
	if u == nil {
		return nil, nil
	}
	u.wait()
	r.under = nil
	if u.died != nil {
		panic(u.died) // here, where whoever holds the run can see to it, and not in a goroutine of its own
	}
	if u.err == nil && len(u.results) != len(u.claims) {
		u.err = fmt.Errorf("%s answered for %d of %d files", r.Files.ID(), len(u.results), len(u.claims))
	}
	if u.err != nil {
		u.release()
		return nil, fmt.Errorf("delete files: %w", u.err)
	}
	return u, nil
}

// finish waits for what storage is at work on, and records what became of it.
func (r *fileRun) finish() error {
	u, err := r.answered()
	if err != nil {
		return err
	}
	return r.settle(u)
}

// outcomes are those of the claims, with what is recorded beside them.
func (u *underway) outcomes() []exportops.Settlement {
	batch := u.batch
	for i, d := range u.claims {
		if f := &u.results[i]; f.Removal == exportops.Replaced && u.spared[d.ExportID] {
			f.Err = errYounger
		}
		batch = append(batch, settlementOf(d, u.results[i]))
	}
	return batch
}

// settle records, in one transaction, what became of a page; of none, nothing.
func (r *fileRun) settle(u *underway) error {
	if u == nil {
		return nil
	}
	defer u.release()
	batch := u.outcomes()
	if len(batch) == 0 {
		r.work.report(*r.res)
		return nil
	}
	// The progress that goes with the outcomes must count them: it is what a
	// run that takes over goes on from.
	counted := *r.res
	count(&counted, slices.DeleteFunc(slices.Clone(batch), r.foreign))
	if u.guarded {
		counted.Recovered += int64(len(batch))
	}
	cp, err := r.checkpoint(r.work, counted)
	if err != nil {
		return err
	}
	began, proved := time.Now(), r.Now()
	settled, err := r.Store.Settle(u.ctx, cp, batch)
	if err != nil {
		return fmt.Errorf("record outcomes: %w", err)
	}
	r.proved = proved
	r.pace.took(time.Since(began))
	for i, s := range settled {
		if !s.RowUnlike || r.foreign(batch[i]) {
			continue
		}
		counted.LogsUpdated--
		if batch[i].Claim == nil { // nothing came of it at all
			counted.NoFile--
			counted.Changed++
		}
	}
	*r.res = counted
	if u.guarded {
		r.recoveredAs(batch)
	}
	r.work.report(*r.res)
	return nil
}

// foreign reports whether an outcome is no part of what a run for one user counts: its
// claim is one that a dead run made for another user.
func (r *fileRun) foreign(s exportops.Settlement) bool {
	user := r.plan.sel.UserID
	return user != "" && s.Claim != nil && !strings.EqualFold(s.Claim.UserID, user)
}

// settlementOf says what a file's outcome means for its claim. What storage
// does not vouch for has failed.
func settlementOf(d *exportops.Deletion, f exportops.FileResult) exportops.Settlement {
	s := exportops.Settlement{Claim: d, Bytes: f.Bytes}
	switch f.Removal {
	case exportops.Removed:
		s.State, s.Evidence = exportops.DeletionDone, evidenceConfirmed
	case exportops.Absent:
		s.State, s.Evidence = exportops.DeletionAbsent, evidenceAbsent
		if d.Interrupted() > 1 {
			s.State, s.Evidence = exportops.DeletionDone, evidenceAfter
		}
	case exportops.Replaced:
		s.State, s.Error = exportops.DeletionChanged, message(f.Err, "the file was written again; it was left alone")
	default:
		s.State, s.Error = exportops.DeletionFailed, message(f.Err, "storage did not confirm that the file is gone")
	}
	return s
}

func message(err error, fallback string) string {
	if err == nil {
		return fallback
	}
	return err.Error()
}

// count adds a batch's outcomes to a result, on the assumption that every row
// still is what was claimed.
func count(res *exportops.FileCleanupResult, batch []exportops.Settlement) {
	for _, s := range batch {
		if s.Expires() {
			res.LogsUpdated++
		}
		switch {
		case s.Claim == nil:
			res.NoFile++
		case s.State == exportops.DeletionDone:
			res.DeletedCount++
			res.BytesFreed += s.Bytes
		case s.State == exportops.DeletionAbsent:
			res.AlreadyAbsent++
		case s.State == exportops.DeletionChanged:
			res.Changed++
		default:
			res.FailedCount++
			addError(res, s.Claim.ExportID, s.Error)
		}
	}
}
