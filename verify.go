package exportops

import (
	"context"
	"encoding/hex"
	"fmt"
)

// The ways in which the chain of a day can be broken.
const (
	BreakChanged   = "changed"   // an entry says something else than when it was linked
	BreakMissing   = "missing"   // an entry, or a day, is gone
	BreakReordered = "reordered" // an entry is not where it was linked, or nothing was linked there
	BreakTruncated = "truncated" // what came after some place of the day is gone
)

// ChainBreak is the first place where a day does not hold together.
type ChainBreak struct {
	Day   string `json:"day"`
	Kind  string `json:"kind"`
	Seq   int64  `json:"seq,omitempty"`         // the place in the day, from 1
	Entry int64  `json:"deletion_id,omitempty"` // its number; 0 where none is there
	What  string `json:"what"`                  // one sentence
}

// ChainReport is what a verification found.
type ChainReport struct {
	Days      int          `json:"days"`
	Links     int64        `json:"links"`
	Erased    int64        `json:"erased"`    // links of entries whose identity was erased
	Unchained int64        `json:"unchained"` // entries that have no link yet: nothing vouches for these
	Head      string       `json:"head"`      // the hash that the last day ends with, "" without one
	HeadDay   string       `json:"head_day"`
	Breaks    []ChainBreak `json:"breaks"` // the first of each day
}

// VerifyChain reads the chain of the ledger, its last days alone where days is
// above zero, and reports where it was tampered with: now decides whether a day was
// old enough to be pruned. Memory is flat.
func VerifyChain(ctx context.Context, r ChainReader, days int, now Time) (ChainReport, error) {
	report := ChainReport{Breaks: []ChainBreak{}}
	all, err := r.ChainDays(ctx)
	if err != nil {
		return report, err
	}
	if report.Unchained, err = r.Unchained(ctx); err != nil {
		return report, err
	}
	from := 0
	if days > 0 {
		from = max(0, len(all)-days)
	}
	for i := from; i < len(all); i++ {
		report.Days++
		broken, err := verifyDay(ctx, r, all, i, now, &report)
		if err != nil {
			return report, fmt.Errorf("verify the ledger of %s: %w", all[i].Day, err)
		}
		if broken != nil {
			report.Breaks = append(report.Breaks, *broken)
		}
	}
	if n := len(all); n > 0 {
		report.HeadDay, report.Head = all[n-1].Day, hex.EncodeToString(all[n-1].Hash)
	}
	return report, nil
}

// verifyDay looks at one day. Where something is wrong it looks once more, with the
// day as it is then: links may have been added meanwhile, or pruned.
func verifyDay(ctx context.Context, r ChainReader, all []ChainDay, i int, now Time, report *ChainReport) (*ChainBreak, error) {
	before := *report
	v := dayVerifier{ChainDay: all[i], report: report}
	if broken := v.begins(all[:i]); broken != nil {
		return broken, nil
	}
	if broken := v.pruned(i, len(all), now); broken != nil {
		return broken, nil
	}
	broken, err := v.walk(ctx, r)
	if broken == nil || err != nil {
		return broken, err
	}
	again, err := r.ChainDays(ctx)
	if err != nil {
		return nil, err
	}
	for i, day := range again {
		if day.Day == v.Day && (day.Pruned != v.Pruned || day.Links > v.Links) {
			*report = before
			v = dayVerifier{ChainDay: day, report: report, growing: true}
			if broken := v.pruned(i, len(again), now); broken != nil {
				return broken, nil
			}
			return v.walk(ctx, r)
		}
	}
	if len(again) > 0 && v.Day < again[0].Day {
		return nil, nil //nolint:nilnil // all of it was pruned
	}
	return broken, nil
}

// dayVerifier goes through one day.
type dayVerifier struct {
	ChainDay
	report *ChainReport
	seq    int64  // of the last link
	hash   []byte // of the last link; nil while what is before is not known
	// growing lets links be added while it looks.
	growing bool
}

func (v *dayVerifier) broken(kind string, seq, entry int64, format string, args ...any) *ChainBreak {
	return &ChainBreak{Day: v.Day, Kind: kind, Seq: seq, Entry: entry, What: fmt.Sprintf(format, args...)}
}

// begins compares where the day begins with where the day before ended.
func (v *dayVerifier) begins(earlier []ChainDay) *ChainBreak {
	n := len(earlier)
	switch {
	case v.Hash == nil:
		return v.broken(BreakReordered, 0, 0, "entries are linked to a day that the chain does not have")
	case n == 0 && !v.Pruned && !same(v.Before, beginning):
		return v.broken(BreakMissing, 0, 0, "the days before are gone")
	case n > 0 && !same(v.Before, earlier[n-1].Hash):
		return v.broken(BreakMissing, 0, 0, "it does not begin where %s ended: a day between is gone, or one of the two was changed", earlier[n-1].Day)
	}
	return nil
}

// pruned says why a day that is marked as pruned, the i-th of n, cannot have been.
// Of the days that are left the first alone is, as those before it go with its mark,
// never the last, which the chain goes on from, and none before its time.
func (v *dayVerifier) pruned(i, n int, now Time) *ChainBreak {
	switch {
	case !v.Pruned:
		return nil
	case i > 0:
		return v.broken(BreakChanged, 0, 0, "it is marked as pruned, and the day before is still there")
	case i == n-1:
		return v.broken(BreakChanged, 0, 0, "it is marked as pruned, and no day comes after it")
	case v.Day >= now.Add(-KeepRecords).UTC().Format("2006-01-02"):
		return v.broken(BreakChanged, 0, 0, "it is marked as pruned, and is not yet %s old", ShowDuration(KeepRecords))
	}
	return nil
}

// walk goes through the day's links until one does not hold.
func (v *dayVerifier) walk(ctx context.Context, r ChainReader) (*ChainBreak, error) {
	if v.hash = v.Before; v.Pruned {
		v.hash = nil
	}
	found := false
	for l, err := range r.ChainLinks(ctx, v.Day) {
		if err != nil {
			return nil, err
		}
		if v.Pruned && !found {
			v.seq = l.Seq - 1 // what came before was pruned
		}
		found = true
		if v.growing && l.Seq > v.Links {
			break
		}
		if broken, err := v.next(l); broken != nil || err != nil {
			return broken, err
		}
	}
	switch {
	case v.Pruned && !found:
		return nil, nil //nolint:nilnil // nothing is left to look at
	case v.seq < v.Links:
		return v.broken(BreakTruncated, v.seq+1, 0, "it had %d links, and the last %d are gone", v.Links, v.Links-v.seq), nil
	case v.seq > v.Links || !same(v.hash, v.Hash):
		return v.broken(BreakChanged, v.seq, 0, "its last link is not the one that the day ends with"), nil
	}
	return nil, nil //nolint:nilnil // it holds
}

// next looks at one link.
func (v *dayVerifier) next(l ChainLink) (*ChainBreak, error) {
	switch {
	case l.Seq > v.seq+1:
		return v.broken(BreakMissing, v.seq+1, 0, "the entry at place %d is gone; the next there is has number %d", v.seq+1, l.ID), nil
	case l.Seq <= v.seq:
		return v.broken(BreakReordered, l.Seq, l.ID, "entry %d has a place that another one has", l.ID), nil
	case l.Lost:
		return v.broken(BreakMissing, l.Seq, l.ID, "entry %d is gone, or has been put back before what it went through", l.ID), nil
	}
	if l.Row != nil {
		what, err := l.unlike()
		if err != nil {
			return nil, err
		}
		if what != "" {
			return v.broken(BreakChanged, l.Seq, l.ID, "entry %d: %s", l.ID, what), nil
		}
		if l.Salt == nil {
			v.report.Erased++
		}
	}
	if v.hash != nil && !same(l.Hash, l.after(v.hash, v.Day)) {
		return v.broken(BreakReordered, l.Seq, l.ID, "entry %d does not follow from what stands before it", l.ID), nil
	}
	v.seq, v.hash = l.Seq, l.Hash
	v.report.Links++
	return nil, nil //nolint:nilnil // it holds
}

// unlike says how an entry differs from what was linked, "" where it does not.
func (l ChainLink) unlike() (string, error) {
	if l.Salt == nil && !l.Row.erased() {
		return "its salt is gone, and what identifies it is not", nil
	}
	if l.Salt != nil {
		digest, err := l.Row.digest(l.Salt)
		if err != nil {
			return "", err
		}
		if !same(digest, l.Digest) {
			return "what identifies it is not what was linked", nil
		}
	}
	content, err := l.Row.content(l.Digest)
	if err != nil {
		return "", err
	}
	if !same(content, l.Content) {
		return "what it says is not what was linked", nil
	}
	return "", nil
}
