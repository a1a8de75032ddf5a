package cleanup

import (
	"iter"

	"github.com/exportops/exportops"
)

// UnknownEntry is what a plan does about one quarantined file that no row names,
// and what is recorded of the file.
type UnknownEntry struct {
	Key      string                `json:"key"`
	Do       string                `json:"do"` // PlanDelete or PlanKeep
	Why      exportops.UnknownKept `json:"why,omitempty"`
	Bytes    int64                 `json:"bytes"`
	Modified exportops.Time        `json:"modified"`
	Version  string                `json:"version,omitempty"`
	Since    exportops.Time        `json:"unknown_since"`
}

func (e UnknownEntry) addTo(t *PlanTotals) {
	if e.Do != PlanDelete {
		t.Keep++
		return
	}
	t.Delete++
	t.addBytes(e.Bytes)
}

func entryOf(u exportops.UnknownFile, kept exportops.UnknownKept) UnknownEntry {
	e := UnknownEntry{
		Key: u.Key, Do: PlanDelete, Why: kept, Bytes: u.Size, Modified: u.Modified, Version: u.Version, Since: u.FirstSeen,
	}
	if kept != "" {
		e.Do = PlanKeep
	}
	return e
}

// file is the record that the entry was made of.
func (e UnknownEntry) file(store string) exportops.UnknownFile {
	return exportops.UnknownFile{
		Store: store, Key: e.Key, Size: e.Bytes, Modified: e.Modified, Version: e.Version, State: exportops.UnknownQuarantined,
		FirstSeen: e.Since,
	}
}

// UnknownEntries reads the entries of a plan for unknown files again.
func (p *Plan) UnknownEntries() iter.Seq2[UnknownEntry, error] { return entries[UnknownEntry](p) }
