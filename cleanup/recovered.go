package cleanup

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// recovered is what a run remembers of a claim that it recovered, or that a dead
// holder of it settled as changed, so that the drain, which may meet the row again,
// does not count it again.
type recovered struct {
	due     bool // the row was due: the drain meets it, unless it expires before
	gone    bool // its file is, so that the row is due no more
	changed bool // counted as changed, without a look at its file
	met     bool
}

// recoveredAs notes what became of the claims that were recovered.
func (r *fileRun) recoveredAs(batch []exportops.Settlement) {
	for _, s := range batch {
		r.recovered[s.Claim.ExportID].gone = s.Gone()
	}
}

// counted reports whether a row that the drain meets was counted when its claim
// was recovered, or will be when that is tried alone.
func (r *fileRun) counted(c exportops.Candidate, d exportops.Decision) bool {
	was := r.recovered[c.ExportID]
	if was == nil {
		return false
	}
	was.met = true
	if d.Verdict == exportops.PassOver {
		// Changed in this run and failed in this run were both counted. A claim
		// that is open is one to be tried alone.
		switch d.Reason {
		case becauseNotDue, becauseChanged, becauseFailed:
			return true
		case becauseHelped:
			if !was.changed {
				return true
			}
		}
	}
	if was.changed {
		// It is another export by now, and counts as what becomes of that.
		was.changed = false
		r.res.Changed--
	}
	return false
}

// untried counts the claims left to be tried alone that no count of candidates
// will hold.
func (r *fileRun) untried() (n int64) {
	for _, d := range r.alone {
		if was := r.recovered[d.ExportID]; r.drained || was.met || !was.due {
			n++
		}
	}
	return n
}

// countedAhead counts the rows that are counted, and that the drain would have
// met again.
func (r *fileRun) countedAhead() (n int64) {
	alone := make(map[string]bool, len(r.alone))
	for _, d := range r.alone {
		alone[d.ExportID] = true
	}
	for id, was := range r.recovered {
		if was.due && !was.met && !alone[id] && !was.gone {
			n++
		}
	}
	return n
}

// recall remembers which of some exports a dead holder of this run counted as changed,
// by the last entry of each, those aside that are being dealt with.
func (r *fileRun) recall(ctx context.Context, exports []string, dealing map[int64]bool) error {
	if r.carried <= 0 || len(exports) == 0 {
		return nil // of nearly every run
	}
	entries, err := r.Store.DeletionsOf(ctx, exports)
	if err != nil {
		return fmt.Errorf("look for what was counted before: %w", err)
	}
	last := map[string]exportops.Deletion{}
	for _, d := range entries {
		if d.RunID == r.work.Fence.RunID && !dealing[d.ID] {
			last[d.ExportID] = d
		}
	}
	for id, d := range last {
		// A file that is gone counts as deleted, whatever became of its row.
		gone := exportops.DeletionState(d.Evidence).Confirmed()
		if d.State == exportops.DeletionChanged && !gone && r.recovered[id] == nil {
			r.recovered[id] = &recovered{changed: true}
			r.carried--
		}
	}
	return nil
}

// recallPage is recall for a page that was claimed.
func (r *fileRun) recallPage(ctx context.Context, page exportops.ClaimPage) error {
	var exports []string
	dealing := map[int64]bool{}
	for i, d := range page.Decisions {
		if d.Verdict == exportops.PassOver && d.Reason == becauseNotDue {
			continue
		}
		exports = append(exports, page.Candidates[i].ExportID)
		if c := page.Claims[i]; c != nil {
			dealing[c.ID] = true
		}
	}
	return r.recall(ctx, exports, dealing)
}

// recallClaims is recall for claims that are recovered.
func (r *fileRun) recallClaims(ctx context.Context, open []exportops.OpenClaim) error {
	exports, dealing := make([]string, len(open)), map[int64]bool{}
	for i, d := range open {
		exports[i], dealing[d.ID] = d.ExportID, true
	}
	return r.recall(ctx, exports, dealing)
}
