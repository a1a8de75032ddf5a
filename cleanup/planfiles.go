package cleanup

import "github.com/exportops/exportops"

// The things that a plan does about an export.
const (
	PlanDelete = "delete"  // its file, and the row expires
	PlanExpire = "no_file" // the row expires: there is no file
	PlanKeep   = "keep"
)

// PlanEntry is what a plan does about one export, and what it saw of it.
type PlanEntry struct {
	ExportID  string           `json:"export_id"`
	Do        string           `json:"do"`
	Why       string           `json:"why,omitempty"` // where it is kept
	Key       string           `json:"key,omitempty"`
	FileURL   *string          `json:"file_url"`
	ExpiresAt *string          `json:"expires_at"`
	Status    exportops.Status `json:"status"`
	Bytes     *int64           `json:"bytes"` // as the row says

	seen string // that of the log row, where its plan is one of those
}

// same reports whether a row still is what the plan saw.
func (e PlanEntry) same(c exportops.Candidate) bool {
	return e.Status == c.Status && same(e.FileURL, c.FileURL) && same(e.ExpiresAt, c.ExpiresAt) &&
		(e.seen == "" || e.seen == seenOf(c))
}

// done reports whether what the plan does about a row was done before.
func (e PlanEntry) done(c exportops.Candidate) bool {
	confirmed := e.Do == PlanExpire || c.Prior != nil && c.Prior.State.Confirmed()
	return confirmed && c.Status == exportops.Expired && e.Status == exportops.Completed &&
		same(e.FileURL, c.FileURL) && same(e.ExpiresAt, c.ExpiresAt)
}

func (e PlanEntry) addTo(t *PlanTotals) {
	switch e.Do {
	case PlanDelete:
		t.Delete++
		if e.Bytes != nil {
			t.addBytes(*e.Bytes)
		}
	case PlanExpire:
		t.NoFile++
	default:
		t.Keep++
	}
}

// decided writes what was decided about a page; what is postponed is decided
// later.
func (p *PlanWriter) decided(page []exportops.Candidate, decisions []exportops.Decision) {
	for i, d := range decisions {
		c := page[i]
		e := PlanEntry{ExportID: c.ExportID, FileURL: c.FileURL, ExpiresAt: c.ExpiresAt, Status: c.Status, Bytes: c.FileSize}
		switch {
		case d.Verdict == exportops.Claim:
			e.Do, e.Key = PlanDelete, d.Location.Key
		case d.Verdict == exportops.Expire:
			e.Do = PlanExpire
		case d.Verdict == exportops.Postpone, d.Reason == becauseNotDue:
			continue
		default:
			e.Do, e.Why, e.FileURL = PlanKeep, d.Reason, brief(c.FileURL)
		}
		p.entry(e)
	}
}

// brief leaves out what is longer than any text that says something: a plan is to be
// read again, whatever a row that it keeps holds.
func brief(text *string) *string {
	if text != nil && len(*text) > exportops.MaxTextBytes {
		return nil
	}
	return text
}

// Selection is what the plan was made of. Nothing that became due since is.
func (p *Plan) Selection(now exportops.Time) exportops.Selection {
	sel := exportops.Selection{Mode: p.Mode, Now: p.Now}
	if now.Before(sel.Now.Time) {
		sel.Now = now
	}
	if p.Cut != nil {
		sel.Cut = *p.Cut
	}
	return sel
}
