package cleanup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"

	"github.com/exportops/exportops"
)

// LogEntry is what a plan does about one log row, and what it saw of it. What
// belongs to a file is there where that goes before the row.
type LogEntry struct {
	ID        string           `json:"id"`
	ExportID  string           `json:"export_id"`
	Do        string           `json:"do"` // PlanDelete or PlanKeep
	Why       string           `json:"why,omitempty"`
	Timestamp string           `json:"timestamp"`
	Status    exportops.Status `json:"status"`
	Key       string           `json:"key,omitempty"`
	FileURL   *string          `json:"file_url,omitempty"`
	ExpiresAt *string          `json:"expires_at,omitempty"`
	Bytes     *int64           `json:"bytes,omitempty"` // as the row says
	Seen      string           `json:"seen"`            // a digest of all that decides about the row
}

func (e LogEntry) addTo(t *PlanTotals) {
	if e.Do != PlanDelete {
		t.Keep++
		return
	}
	t.Delete++
	if e.Key == "" {
		return
	}
	t.Files++
	if e.Bytes != nil {
		t.addBytes(*e.Bytes)
	}
}

// file is the entry about the row's file.
func (e LogEntry) file() PlanEntry {
	return PlanEntry{
		ExportID: e.ExportID, Do: e.Do, Key: e.Key, FileURL: e.FileURL, ExpiresAt: e.ExpiresAt, Status: e.Status,
		Bytes: e.Bytes, seen: e.Seen,
	}
}

// seenOf digests what decides about a row, and who it is of. Two rows that differ
// in any of it have another.
func seenOf(c exportops.Candidate) string {
	b := fmt.Appendf(nil, "%q %q %q %q %q %q %#v", c.ExportID, c.UserID, c.Status, c.CreatedAt, c.Timestamp, c.Format, c.Config)
	for _, text := range []*string{c.FileURL, c.ExpiresAt} {
		if b = append(b, " -"...); text != nil {
			b = fmt.Appendf(b, "%q", *text)
		}
	}
	if c.FileSize != nil {
		b = fmt.Appendf(b, " %d", *c.FileSize)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// whyKept is a verdict in a plan's words.
func whyKept(v exportops.LogVerdict) string { return strings.TrimPrefix(string(v), "kept_") }

// What a plan says of rows beside that.
const (
	becauseUnfit = "unfit" // an archive could not give back what it holds
	becauseNoID  = "no_id" // a plan could not name it
)

// judged writes what would become of rows.
func (p *PlanWriter) judged(page []judgedRow) {
	for _, j := range page {
		e := LogEntry{
			ID: j.row.ID, ExportID: j.row.ExportID, Do: PlanKeep, Why: j.why, Timestamp: j.row.Timestamp, Status: j.row.Status,
			Seen: seenOf(j.row.Candidate),
		}
		switch {
		case e.Why != "":
		case e.ID == "":
			e.Why = becauseNoID
		default:
			e.Do, e.Key = PlanDelete, j.key
		}
		if e.Key != "" {
			e.FileURL, e.ExpiresAt, e.Bytes = j.row.FileURL, j.row.ExpiresAt, j.row.FileSize
		}
		p.entry(e)
	}
}

// LogEntries reads the entries of a plan for log rows again.
func (p *Plan) LogEntries() iter.Seq2[LogEntry, error] { return entries[LogEntry](p) }

// fileEntries are those of the files that go before their rows do.
func (p *Plan) fileEntries() iter.Seq2[PlanEntry, error] {
	return func(yield func(PlanEntry, error) bool) {
		if p.Totals.Files == 0 {
			return
		}
		for e, err := range p.LogEntries() {
			if err == nil && (e.Do != PlanDelete || e.Key == "") {
				continue
			}
			if !yield(e.file(), err) {
				return
			}
		}
	}
}

// listing is what a plan saw of rows, by their ids.
type listing map[string]string

// has reports whether a row is listed, and is what the plan saw.
func (l listing) has(row exportops.LogRow) bool {
	as, ok := l[row.ID]
	return ok && as == seenOf(row.Candidate)
}

// listed returns what the plan saw of those of some rows that it deletes.
func (p *Plan) listed(ids map[string]bool) (listing, error) {
	l := listing{}
	for e, err := range p.LogEntries() {
		if err != nil {
			return nil, err
		}
		if e.Do == PlanDelete && ids[e.ID] {
			l[e.ID] = e.Seen
		}
	}
	return l, nil
}
