package exportops

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// DeletionEntry is an entry of the ledger as it is shown: with what comes next.
type DeletionEntry struct {
	Deletion
	NextStep string `json:"next_step"`
}

// NextStep says in one sentence what becomes of the entry without anybody's
// doing, or who has to do something.
func (d Deletion) NextStep() string {
	if d.Mode == ByReconcile && (d.State == DeletionFailed || d.State == DeletionQuarantined) {
		return "it is tried again by a plan that lists it: exportops reconcile --plan-out FILE"
	}
	switch d.State {
	case DeletionClaimed:
		return "its run deletes the file, or the next run finishes what a dead one began"
	case DeletionFailed:
		return "the next run tries again"
	case DeletionQuarantined:
		return "no run tries again until it is asked to: exportops deletions retry " + strconv.FormatInt(d.ID, 10)
	case DeletionChanged:
		return "nothing: the row was changed and the file left alone; when the export expires anew it gets a new entry"
	case DeletionDone, DeletionAbsent:
	}
	return "nothing: the file is gone"
}

// DeletionReader reads the ledger.
type DeletionReader interface {
	Deletions(ctx context.Context, f DeletionFilter) ([]Deletion, error)
}

// DeletionRetrier has entries tried again; see DeletionStore.
type DeletionRetrier interface {
	RetryDeletions(ctx context.Context, ids []int64, by string, now Time) ([]int64, error)
}

// DeletionPage returns a page of the ledger, newest first, and the cursor of the
// next, "" at the end. A cursor that is none is KindInvalid.
func DeletionPage(ctx context.Context, r DeletionReader, f DeletionFilter, cursor string) (
	page []DeletionEntry, next string, err error,
) {
	if cursor != "" {
		if f.Before, err = strconv.ParseInt(cursor, 10, 64); err != nil || f.Before <= 0 {
			return nil, "", Invalid("cursor", "%s is not a cursor of this list", quoteShort(cursor))
		}
	}
	f.Limit = PageSize(f.Limit)
	list, err := r.Deletions(ctx, f)
	if err != nil {
		return nil, "", err
	}
	page = make([]DeletionEntry, len(list))
	for i, d := range list {
		page[i] = DeletionEntry{d, d.NextStep()}
	}
	if len(list) < f.Limit {
		return page, "", nil
	}
	f.Before, f.Limit = list[len(list)-1].ID, 1
	rest, err := r.Deletions(ctx, f)
	if err != nil || len(rest) == 0 {
		return page, "", err
	}
	return page, strconv.FormatInt(f.Before, 10), nil
}

// DeletionByID returns one entry of the ledger, or KindNotFound.
func DeletionByID(ctx context.Context, r DeletionReader, id int64) (DeletionEntry, error) {
	if id > 0 {
		list, err := r.Deletions(ctx, DeletionFilter{ID: id, Limit: 1})
		if err != nil {
			return DeletionEntry{}, err
		}
		if len(list) == 1 {
			return DeletionEntry{list[0], list[0].NextStep()}, nil
		}
	}
	return DeletionEntry{}, &Error{Kind: KindNotFound, Message: fmt.Sprintf("the ledger has no entry %d", id)}
}

// DeletionStates lists the states in the order in which they come about.
var DeletionStates = []DeletionState{
	DeletionClaimed, DeletionDone, DeletionAbsent, DeletionFailed, DeletionQuarantined, DeletionChanged,
}

// retryPage is how many entries one transaction makes eligible again.
const retryPage = 500

// RetryDeletions makes failed or quarantined entries eligible again: the next run
// tries them as if they had not failed. Entries are named by number, or by state.
// It returns how many. A named entry that is neither is KindConflict, one that is
// not there KindNotFound, and nothing is changed then.
func RetryDeletions(ctx context.Context, s interface {
	DeletionReader
	DeletionRetrier
}, ids []int64, states []DeletionState, by string, now Time,
) (int, error) {
	for _, id := range ids {
		d, err := DeletionByID(ctx, s, id)
		switch {
		case err != nil:
			return 0, err
		case d.State != DeletionFailed && d.State != DeletionQuarantined:
			return 0, &Error{
				Kind: KindConflict, Message: fmt.Sprintf("entry %d is %s: only what failed or is quarantined can be tried again", id, d.State),
			}
		}
	}
	total := 0
	retry := func(ids []int64) error {
		done, err := s.RetryDeletions(ctx, ids, by, now)
		total += len(done)
		return err
	}
	for list := range slices.Chunk(ids, retryPage) {
		if err := retry(list); err != nil {
			return total, err
		}
	}
	// What is quarantined becomes failed: who asks for both gets each once.
	for _, state := range slices.Sorted(slices.Values(states)) {
		for f, more := (DeletionFilter{State: state, Limit: retryPage}), true; more; {
			list, err := s.Deletions(ctx, f)
			if err != nil {
				return total, err
			}
			found := make([]int64, len(list))
			for i, d := range list {
				found[i], f.Before = d.ID, d.ID
			}
			if more = len(list) == retryPage; len(list) == 0 {
				break
			}
			if err := retry(found); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}
