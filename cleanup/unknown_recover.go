package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// recover brings the claims of dead runs to an outcome. What the plan lists is
// tried again; of all else storage is asked what became of it.
func (r *unknownRun) recover(ctx context.Context) (bool, error) {
	var listed map[string]UnknownEntry
	for {
		if r.ended(ctx, r.work) {
			return false, nil
		}
		n, err := r.recoverBatch(ctx, &listed)
		if err != nil {
			return false, fmt.Errorf("recover what a dead run left: %w", err)
		}
		if n == 0 {
			return true, nil
		}
	}
}

func (r *unknownRun) recoverBatch(ctx context.Context, listed *map[string]UnknownEntry) (int, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	cp, err := r.checkpoint(r.work, *r.res)
	if err != nil {
		return 0, err
	}
	open, err := r.Store.ReclaimUnknown(ctx, cp, min(r.pace.size, r.Files.MaxBatch()))
	if err != nil || len(open) == 0 {
		return 0, err
	}
	if *listed == nil && r.from != nil {
		if *listed, err = r.entriesOf(ctx); err != nil {
			return 0, err
		}
	}
	var again []claimedFile
	var others []*exportops.Deletion
	for i := range open {
		d := &open[i]
		e, ok := (*listed)[d.Key]
		if _, err := r.Locator.At(d.Key); ok && err == nil && d.Store == r.Files.ID() && r.RestoredFrom.IsZero() {
			r.tried[d.Key] = true
			again = append(again, claimedFile{d, e.file(d.Store)})
			continue
		}
		others = append(others, d)
	}
	if err := r.closeByLook(ctx, others); err != nil {
		return 0, err
	}
	return len(open), r.deleteUnnamed(ctx, again)
}

// entriesOf reads the entries of the plan on which there may be open claims: those
// of the claims that were open, and those that this run has taken over.
func (r *unknownRun) entriesOf(ctx context.Context) (map[string]UnknownEntry, error) {
	open, err := openClaims(ctx, r.Store, r.Files.ID())
	if err != nil {
		return nil, err
	}
	listed := map[string]UnknownEntry{}
	for e, err := range r.from.UnknownEntries() {
		if err != nil {
			return nil, err
		}
		if e.Do == PlanDelete && open[e.Key] {
			listed[e.Key] = e
		}
	}
	return listed, nil
}

// closeByLook deletes nothing: what is gone was deleted by the run that died, and
// what is there stays.
func (r *unknownRun) closeByLook(ctx context.Context, claims []*exportops.Deletion) error {
	if len(claims) == 0 {
		return nil
	}
	var here []*exportops.Deletion
	var keys []string
	var batch []exportops.Settlement
	for _, d := range claims {
		if _, err := r.Locator.At(d.Key); err != nil || d.Store != r.Files.ID() {
			batch = append(batch, exportops.Settlement{
				Claim: d, State: exportops.DeletionChanged, Error: "the settings name another storage by now; what is there was left alone",
			})
			continue
		}
		here, keys = append(here, d), append(keys, d.Key)
	}
	infos, err := r.Files.Stat(ctx, keys)
	if err != nil {
		return fmt.Errorf("look at files: %w", err)
	}
	for i, info := range infos {
		s := exportops.Settlement{
			Claim: here[i], State: exportops.DeletionChanged, Error: "the run that was to delete the file died; it was left alone",
		}
		switch {
		case info.Err != nil:
			s.State, s.Error = exportops.DeletionFailed, info.Err.Error()
		case !info.Exists:
			s.State, s.Evidence, s.Error = exportops.DeletionDone, evidenceAfter, ""
		}
		batch = append(batch, s)
	}
	counted := *r.res
	counted.Closed += int64(len(batch))
	return r.settle(ctx, batch, counted)
}

// closeUnknownClaims closes the claims that dead runs left open on unknown files:
// a comparison would take those for known otherwise, for good.
func (c *Cleaner) closeUnknownClaims(ctx context.Context, w Work, progress any) error {
	w.as = func(any) any { return progress }
	w.Progress = nil
	r := &unknownRun{
		Cleaner: c, work: w, res: &exportops.UnknownCleanupResult{}, tried: map[string]bool{}, pace: c.filePace(),
	}
	_, err := r.recover(ctx)
	return err
}
