package cleanup

import (
	"context"
	"fmt"
	"time"

	"github.com/exportops/exportops"
)

// The evidence that the ledger keeps of an outcome.
const (
	evidenceConfirmed = "confirmed"            // storage deleted it for us
	evidenceAbsent    = "absent"               // storage says it was not there
	evidenceAfter     = "absent_after_attempt" // not there, after an attempt of ours was interrupted
)

// actAndSettle deletes the claimed files and records the outcomes, with those
// of rows that have no file. No transaction is open while storage works.
func (r *fileRun) actAndSettle(ctx context.Context, claims []*exportops.Deletion, guards []*exportops.FileGuard,
	batch []exportops.Settlement,
) error {
	results, err := r.delete(ctx, claims, guards)
	if err != nil {
		return err
	}
	for i, d := range claims {
		batch = append(batch, settlementOf(d, results[i]))
	}
	if len(batch) == 0 {
		r.work.report(*r.res)
		return nil
	}
	// The progress that goes with the outcomes must count them: it is what a
	// run that takes over goes on from.
	counted := *r.res
	count(&counted, batch)
	if guards != nil {
		counted.Recovered += int64(len(batch))
	}
	cp, err := r.checkpoint(r.work, counted)
	if err != nil {
		return err
	}
	began := time.Now()
	settled, err := r.Store.Settle(ctx, cp, batch)
	if err != nil {
		return fmt.Errorf("record outcomes: %w", err)
	}
	r.pace.took(time.Since(began))
	for i, s := range settled {
		if !s.RowUnlike {
			continue
		}
		counted.LogsUpdated--
		if batch[i].Claim == nil { // nothing came of it at all
			counted.NoFile--
			counted.Changed++
		}
	}
	*r.res = counted
	if guards != nil {
		r.recoveredAs(batch)
	}
	r.work.report(*r.res)
	return nil
}

// delete deletes files of this store, at most as many as it takes at once.
func (r *fileRun) delete(ctx context.Context, claims []*exportops.Deletion, guards []*exportops.FileGuard) (
	[]exportops.FileResult, error,
) {
	if len(claims) == 0 {
		return nil, nil
	}
	refs := make([]exportops.FileRef, len(claims))
	for i, d := range claims {
		refs[i].Key = d.Key
		if guards != nil {
			refs[i].Guard = guards[i]
		}
	}
	spared := r.spare(claims, refs)
	results, err := r.Files.Delete(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("delete files: %w", err)
	}
	if len(results) != len(refs) {
		return nil, fmt.Errorf("delete files: %s answered for %d of %d files", r.Files.ID(), len(results), len(refs))
	}
	for i := range results {
		if results[i].Removal == exportops.Replaced && spared[claims[i].ExportID] {
			results[i].Err = errYounger
		}
	}
	return results, nil
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
