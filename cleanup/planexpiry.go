package cleanup

import (
	"iter"

	"github.com/exportops/exportops"
)

// ExpiryEntry is what a plan does about the expiry of one export, and what it saw
// of it.
type ExpiryEntry struct {
	ExportID string               `json:"export_id"`
	Do       string               `json:"do"` // an ExpiryKind, or PlanKeep
	Why      exportops.ExpiryKept `json:"why,omitempty"`
	Rule     string               `json:"rule"`
	From     *string              `json:"expires_at"`
	To       *exportops.Time      `json:"to"` // null for never
	FileURL  *string              `json:"file_url"`
	Past     bool                 `json:"due_at_once,omitempty"`
}

func (e ExpiryEntry) addTo(t *PlanTotals) {
	switch exportops.ExpiryKind(e.Do) {
	case exportops.ExpiryEarlier:
		t.Earlier++
	case exportops.ExpiryLater:
		t.Later++
	case exportops.ExpirySet:
		t.Set++
	case exportops.ExpiryRemoved:
		t.Removed++
	default:
		t.Keep++
		return
	}
	if e.Past {
		t.DueAtOnce++
	}
}

func expiryEntry(x exportops.ExpiryChange, kept exportops.ExpiryKept, now exportops.Time) ExpiryEntry {
	e := ExpiryEntry{ExportID: x.ExportID, Do: string(x.Kind), Why: kept, Rule: x.Rule, From: x.From, To: x.To, FileURL: x.FileURL}
	if e.Past = kept == "" && x.Past(now); kept != "" {
		e.Do, e.From, e.FileURL = PlanKeep, brief(x.From), brief(x.FileURL)
	}
	return e
}

// of reports whether the entry is about a change.
func (e ExpiryEntry) of(x exportops.ExpiryChange) bool {
	sameTo := e.To == nil && x.To == nil || e.To != nil && x.To != nil && e.To.Equal(x.To.Time)
	return e.ExportID == x.ExportID && e.Do == string(x.Kind) && e.Rule == x.Rule && sameTo
}

// ExpiryEntries reads the entries of a plan for expiries again.
func (p *Plan) ExpiryEntries() iter.Seq2[ExpiryEntry, error] { return entries[ExpiryEntry](p) }
