package cleanup

import (
	"context"
	"slices"

	"github.com/exportops/exportops"
)

// mostSharers bounds how many rows with one key are compared one by one. A key
// with more of them is kept: someone must look at that table first.
const mostSharers = 100

// watchAtOnce bounds how many sharing rows one claim reads again.
const watchAtOnce = 2000

// look knows exactly which rows name the keys of some exports.
type look struct {
	plan      *planner
	at        map[string]exportops.Resolution // by export
	ambiguous map[string]bool                 // exports whose key exists in both readings
	sharers   map[string][]string             // exports by key; only keys of interest have an entry
	since     exportops.Time
	holds     int64 // the last hold whose rows are among them
}

// newLook reads every row that may keep one of the files alive, once.
func newLook(ctx context.Context, r ExactReader, files FileReader, plan *planner, part []postponed,
	now exportops.Time,
) (*look, error) {
	l := &look{
		plan: plan, at: map[string]exportops.Resolution{}, ambiguous: map[string]bool{}, sharers: map[string][]string{},
	}
	ids := make([]string, len(part))
	for i, p := range part {
		ids[i] = p.exportID
	}
	rows, err := r.CandidatesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, c := range rows {
		at := plan.locator.Resolve(c.FileURL, c.UserID)
		l.at[c.ExportID] = at
		l.sharers[at.Key] = nil
	}
	if err := l.statLiterals(ctx, files); err != nil {
		return nil, err
	}
	return l, l.topUp(ctx, r, now)
}

// statLiterals finds the keys that could be meant in either of two readings,
// because a file of the literal name exists, too.
func (l *look) statLiterals(ctx context.Context, files FileReader) error {
	var ids, keys []string
	for id, at := range l.at {
		if at.Literal != "" {
			ids, keys = append(ids, id), append(keys, at.Literal)
		}
	}
	for len(keys) > 0 {
		n := min(len(keys), files.MaxBatch())
		infos, err := files.Stat(ctx, keys[:n])
		if err != nil {
			return err
		}
		for i, info := range infos {
			if info.Exists {
				l.ambiguous[ids[i]] = true
			}
		}
		ids, keys = ids[n:], keys[n:]
	}
	return nil
}

// topUp takes in the rows that name a key of interest: all of them the first
// time, later those that came, or came under a hold, since.
func (l *look) topUp(ctx context.Context, r KeyReader, now exportops.Time) (err error) {
	add := func(row exportops.KeyRow) {
		for key := range keysOf(l.plan.locator, row) {
			known, wanted := l.sharers[key]
			if wanted && len(known) <= mostSharers && !slices.Contains(known, row.ExportID) {
				l.sharers[key] = append(known, row.ExportID)
			}
		}
	}
	for row, err := range r.KeyRows(ctx, l.since) {
		if err != nil {
			return err
		}
		add(row)
	}
	l.since = exportops.At(now.Add(-freshMargin))
	l.holds, err = newlyHeld(ctx, r, l.holds, add)
	return err
}

// batches cuts a part into batches in which no key occurs twice, so that of
// rows with one file each is dealt with after the other. An export that may be
// what kills the process is in a batch of its own.
func (l *look) batches(part []postponed, size int) [][]postponed {
	var out [][]postponed
	for len(part) > 0 {
		var batch, later []postponed
		taken, watched := map[string]bool{}, 0
		for _, p := range part {
			key := l.at[p.exportID].Key
			switch {
			case p.reason == becauseAlone && !taken[key]:
				out = append(out, []postponed{p})
			case len(batch) == size || watched > watchAtOnce || taken[key]:
				later = append(later, p)
				continue
			default:
				batch = append(batch, p)
				watched += len(l.sharers[key])
			}
			taken[key] = true
		}
		if len(batch) > 0 {
			out = append(out, batch)
		}
		part = later
	}
	return out
}

// names returns the exports of a batch, and those that share a key with them.
func (l *look) names(batch []postponed) (ids, watch []string) {
	for _, p := range batch {
		ids = append(ids, p.exportID)
		watch = append(watch, l.sharers[l.at[p.exportID].Key]...)
	}
	return ids, watch
}

// decide decides about exports with the rows that share their keys at hand.
func (l *look) decide(page, others []exportops.Candidate) []exportops.Decision {
	byID, held := byExport(others), heldKeys(l.plan.locator, others)
	out := make([]exportops.Decision, len(page))
	for i, c := range page {
		out[i] = l.plan.decideOne(c)
		if out[i].Verdict == exportops.Claim {
			out[i] = l.decideShared(c, out[i], byID)
		}
		if out[i].Verdict == exportops.Claim && namedByAnother(held[out[i].Location.Key], c) {
			out[i] = exportops.Decision{Verdict: exportops.PassOver, Reason: becauseHeld}
		}
	}
	return out
}

// namedByAnother reports whether exports are others than a candidate's own.
func namedByAnother(exports []string, c exportops.Candidate) bool {
	return slices.ContainsFunc(exports, func(id string) bool { return id != c.ExportID })
}

func byExport(rows []exportops.Candidate) map[string]exportops.Candidate {
	byID := make(map[string]exportops.Candidate, len(rows))
	for _, c := range rows {
		byID[c.ExportID] = c
	}
	return byID
}

// decideShared decides about a claim with the rows that share its key at hand.
func (l *look) decideShared(c exportops.Candidate, d exportops.Decision, others map[string]exportops.Candidate) exportops.Decision {
	key := d.Location.Key
	pass := exportops.Decision{Verdict: exportops.PassOver, Reason: becauseShared}
	switch {
	case key != l.at[c.ExportID].Key:
		pass.Reason = becauseChanged
		return pass
	case l.ambiguous[c.ExportID]:
		return exportops.Decision{
			Verdict: exportops.Refuse,
			Reason:  "its key can be read in two ways, and a file exists under the undecoded name",
		}
	case len(l.sharers[key]) > mostSharers:
		return pass
	}
	kept := false
	for _, id := range l.sharers[key] {
		o, ok := others[id]
		if id == c.ExportID || !ok || o.FileURL == nil || !l.plan.keepsAlive(o) {
			continue
		}
		for k := range keysOf(l.plan.locator, exportops.KeyRow{UserID: o.UserID, FileURL: *o.FileURL}) {
			if k == key && o.Held {
				pass.Reason = becauseHeld // which nobody but a person can change
				return pass
			}
			kept = kept || k == key
		}
	}
	if kept {
		return pass
	}
	return d
}
