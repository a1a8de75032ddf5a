package cleanup

import "github.com/exportops/exportops"

// recovered is what a run remembers of a claim that it recovered, so that the
// drain, which may meet the row again, does not count it again.
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
	switch {
	case d.Verdict == exportops.PassOver:
		// Changed in this run and failed in this run were both counted. A claim
		// that is open is one to be tried alone.
		return d.Reason == becauseNotDue || d.Reason == becauseChanged || d.Reason == becauseFailed ||
			(d.Reason == becauseHelped && !was.changed)
	case was.changed:
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
