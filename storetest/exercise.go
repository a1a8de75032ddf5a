package storetest

import (
	"testing"

	"github.com/exportops/exportops"
)

// ExerciseHolds makes every call about holds, each under its name.
func ExerciseHolds(t *testing.T, s exportops.Store, c exportops.Checkpoint, name func(string)) {
	ctx, user, no := t.Context(), exportops.NewID(), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	e := exportops.Export{
		ExportID: exportops.NewID(), UserID: user, Timestamp: c.Now, Format: exportops.CSV, Config: []byte(`{}`), Status: exportops.Queued,
	}
	name("")
	_, err := s.CreateExport(ctx, e)
	no(err)
	h := exportops.Hold{Scope: exportops.HoldExport, Subject: e.ExportID, Reason: "r", PlacedBy: "p", PlacedAt: c.Now}
	name("PlaceHold")
	_, err = s.PlaceHold(ctx, h, exportops.Locator{})
	no(err)
	h.Scope, h.Subject = exportops.HoldUser, user
	name("PlaceHold of a user")
	h, err = s.PlaceHold(ctx, h, exportops.Locator{})
	no(err)
	name("LastHold")
	_, err = s.LastHold(ctx)
	no(err)
	name("HeldRows")
	for _, err := range s.HeldRows(ctx, h.ID) {
		no(err)
	}
	name("Holds")
	_, err = s.Holds(ctx, exportops.HoldFilter{Before: 9})
	no(err)
	name("Holds of a user")
	_, err = s.Holds(ctx, exportops.HoldFilter{Scope: exportops.HoldUser, Subject: user})
	no(err)
	name("ReleaseHold")
	_, err = s.ReleaseHold(ctx, h.ID, "p", c.Now)
	no(err)
	name("ForgetHolds")
	_, err = s.ForgetHolds(ctx, c, c.Now, 9)
	no(err)
	name("")
}

// ExerciseArchives makes every call about archives, each under its name: two rows
// that are due go through one.
func ExerciseArchives(t *testing.T, s exportops.Store, c exportops.Checkpoint, name func(string)) {
	ctx := t.Context()
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name("")
	page, _, err := s.LogRows(ctx, exportops.LogSelection{Cut: c.Now}, "", 2)
	no(err)
	name("LogRowsByID")
	_, err = s.LogRowsByID(ctx, []string{page[0].ID, page[1].ID})
	no(err)
	name("ArchivedRows")
	rows, _, err := s.ArchivedRows(ctx, []string{page[0].ID, page[1].ID})
	no(err)
	name("ArchiveEpoch")
	epoch, err := s.ArchiveEpoch(ctx)
	no(err)
	name("BeginArchive")
	a, err := s.BeginArchive(ctx, c, exportops.Archive{Month: c.Now, Rows: 2}, epoch, func(int64) string { return "k" })
	no(err)
	members := make([]exportops.ArchiveMember, len(rows))
	for i := range rows {
		members[i] = exportops.ArchiveMember{Position: int64(i), RowID: rows[i].ID, Hash: rows[i].Hash()}
	}
	name("AddArchiveMembers")
	no(s.AddArchiveMembers(ctx, c, a.ID, members))
	name("ArchiveMembers")
	_, err = s.ArchiveMembers(ctx, a.ID, 0, 10)
	no(err)
	name("MoveArchive")
	for _, to := range []exportops.ArchiveState{exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting} {
		_, err = s.MoveArchive(ctx, c, a.ID, to, "")
		no(err)
	}
	name("MarkArchive")
	no(s.MarkArchive(ctx, a.ID, "it is cut off"))
	name("AdoptArchives")
	_, err = s.AdoptArchives(ctx, c)
	no(err)
	name("DeleteArchived")
	_, err = s.DeleteArchived(ctx, c, a.ID, members, func(exportops.LogRow) bool { return true }, nil)
	no(err)
	name("RestoreRows")
	_, err = s.RestoreRows(ctx, rows, epoch, c.Now)
	no(err)
	exerciseBeside(t, s, c, rows, epoch, name)
	name("Archive")
	_, err = s.Archive(ctx, a.ID)
	no(err)
	for what, f := range map[string]exportops.ArchiveFilter{"": {}, " done": {State: exportops.ArchiveDone}, " before": {Before: 9}} {
		name("Archives" + what)
		_, err := s.Archives(ctx, f)
		no(err)
	}
	name("")
	_, err = s.MoveArchive(ctx, c, a.ID, exportops.ArchiveDone, "")
	no(err)
	by, err := s.BeginArchive(ctx, c, exportops.Archive{Month: c.Now, Rows: 1, Replaces: a.ID}, epoch, func(int64) string { return "l" })
	no(err)
	_, err = s.MoveArchive(ctx, c, by.ID, exportops.ArchiveWritten, "")
	no(err)
	name("ReplaceArchive")
	no(s.ReplaceArchive(ctx, c, exportops.Replacement{ID: a.ID, By: by.ID, UserID: rows[0].UserID, Gone: []string{rows[0].ExportID}}))
	name("ArchiveRemoved")
	no(s.ArchiveRemoved(ctx, c, a.ID))
	name("RegisterArchive")
	found := exportops.Archive{Store: "s", Key: "found", Month: c.Now, Sequence: 9, Rows: 1, Bytes: 9, SHA256: "5f70bf18"}
	found, err = s.RegisterArchive(ctx, c, found, epoch, []exportops.ArchiveMember{{RowID: exportops.NewID()}})
	no(err)
	name("LoseArchive")
	_, err = s.LoseArchive(ctx, found.ID, "the bucket is gone", c.Now)
	no(err)
	name("TurnArchiveEpoch")
	no(s.TurnArchiveEpoch(ctx, c))
	name("ErasedAt")
	_, err = s.ErasedAt(ctx, []string{rows[0].UserID})
	no(err)
	name("")
}

// exerciseBeside makes every call about tables beside the export logs: one stays, in
// which rows are found and erased.
func exerciseBeside(t *testing.T, s exportops.Store, c exportops.Checkpoint, rows []exportops.ArchivedRow, epoch int64, name func(string)) {
	ctx, no := t.Context(), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var found []exportops.FoundRow
	for _, r := range rows {
		found = append(found, exportops.FoundRow{Archive: "k", ArchivedRow: r})
	}
	name("RestoreBeside")
	_, err := s.RestoreBeside(ctx, "restored", found, epoch, c.Now)
	no(err)
	name("BesideTables")
	_, err = s.BesideTables(ctx)
	no(err)
	name("Traces beside")
	traces, _, err := s.Traces(ctx, rows[0].UserID, nil, "", 1000)
	no(err)
	n := 0
	for _, trace := range traces {
		if trace.Kind == exportops.TraceBeside {
			traces[n], n = trace, n+1
		}
	}
	name("EraseTraces beside")
	if erased, err := s.EraseTraces(ctx, c, rows[0].UserID, traces[:n], nil); err != nil || erased == 0 {
		t.Fatalf("%d rows were erased: %v", erased, err)
	}
	name("")
	_, err = s.RestoreBeside(ctx, "dropped", nil, epoch, c.Now)
	no(err)
	name("DropBeside")
	no(s.DropBeside(ctx, "dropped"))
	name("")
}

// ExerciseUnknown makes every call about files that no row names and that are
// deleted, each under its name.
func ExerciseUnknown(t *testing.T, s exportops.Store, c exportops.Checkpoint, name func(string)) {
	ctx, no := t.Context(), func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files := []exportops.UnknownFile{{Store: "s", Key: "unknown", State: exportops.UnknownQuarantined, FirstSeen: c.Now, LastSeen: c.Now}}
	name("")
	no(s.RecordUnknown(ctx, c, files))
	for _, what := range []string{"", " again"} {
		name("ClaimUnknown" + what)
		out, err := s.ClaimUnknown(ctx, c, "b", files)
		no(err)
		state := exportops.DeletionFailed
		if what != "" {
			state = exportops.DeletionDone
		}
		name("Settle of unknown files")
		_, err = s.Settle(ctx, c, []exportops.Settlement{{Claim: out[0].Claim, State: state}})
		no(err)
	}
	name("ReclaimUnknown")
	_, err := s.ReclaimUnknown(ctx, c, 9)
	no(err)
	name("")
}
