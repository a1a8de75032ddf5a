package exportops_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func TestArchiveMoves(t *testing.T) {
	allowed := map[exportops.ArchiveState][]exportops.ArchiveState{
		exportops.ArchiveIntended:  {exportops.ArchiveIntended, exportops.ArchiveWritten, exportops.ArchiveAbandoned},
		exportops.ArchiveWritten:   {exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveAbandoned},
		exportops.ArchiveVerified:  {exportops.ArchiveVerified, exportops.ArchiveDeleting, exportops.ArchiveAbandoned},
		exportops.ArchiveDeleting:  {exportops.ArchiveDeleting, exportops.ArchiveDone}, // rows are gone: it is needed
		exportops.ArchiveDone:      {exportops.ArchiveDone},
		exportops.ArchiveAbandoned: {exportops.ArchiveAbandoned},
		exportops.ArchiveReplaced:  {exportops.ArchiveReplaced},
		exportops.ArchiveRemoved:   {exportops.ArchiveRemoved},
		exportops.ArchiveLost:      {exportops.ArchiveLost},
	}
	for _, from := range exportops.ArchiveStates {
		for _, to := range exportops.ArchiveStates {
			if got, want := from.MayBecome(to), slices.Contains(allowed[from], to); got != want {
				t.Errorf("%s may become %s: %v, want %v", from, to, got, want)
			}
		}
		if from.MayBecome("eaten") {
			t.Errorf("%s may become anything", from)
		}
	}
}

func TestArchiveMoved(t *testing.T) {
	now := exportops.At(time.Date(2025, 10, 31, 12, 0, 0, 0, time.UTC))
	before := exportops.At(now.Add(-time.Hour))
	for to, want := range map[exportops.ArchiveState]exportops.Archive{
		exportops.ArchiveIntended:  {},
		exportops.ArchiveWritten:   {WrittenAt: &now},
		exportops.ArchiveVerified:  {VerifiedAt: &now},
		exportops.ArchiveDeleting:  {},
		exportops.ArchiveDone:      {FinishedAt: &now},
		exportops.ArchiveAbandoned: {FinishedAt: &now},
	} {
		want.State, want.Error = to, "why"
		if d := cmp.Diff(want, exportops.Archive{Error: "earlier"}.Moved(to, "why", now)); d != "" {
			t.Errorf("moved to %s (-want +got):\n%s", to, d)
		}
	}
	was := exportops.Archive{State: exportops.ArchiveWritten, WrittenAt: &before}
	if got := was.Moved(exportops.ArchiveWritten, "again", now); got.WrittenAt.Time != before.Time || got.Error != "again" {
		t.Errorf("what stays where it is becomes %+v", got)
	}
}
