package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testReplace(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("puts_one_archive_into_the_place_of_another", func(t *testing.T) { replaceOne(t, open(t)) })
	t.Run("needs_no_successor_where_no_row_is_left", func(t *testing.T) { replaceByNone(t, open(t)) })
	t.Run("refuses_what_was_not_written_from_it", func(t *testing.T) { replaceWrongly(t, open(t)) })
	t.Run("refuses_what_is_held", func(t *testing.T) { replaceHeld(t, open) })
	t.Run("removes_only_what_nothing_relies_on", func(t *testing.T) { removeDiscarded(t, open(t)) })
	t.Run("is_not_for_a_run_that_is_over", func(t *testing.T) { replaceFenced(t, open(t)) })
	t.Run("knows_outdated_rows_by_the_epoch", func(t *testing.T) { turnEpoch(t, open(t)) })
	t.Run("is_adopted_like_any_other", func(t *testing.T) { adoptReplacing(t, open(t)) })
}

// doneArchive is an archive of so many rows that is done.
func doneArchive(t testing.TB, f Fixture, fence exportops.Fence, rows int64) exportops.Archive {
	t.Helper()
	a := intend(t, f, fence, 0)
	move(t, f, fence, a.ID, exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting, exportops.ArchiveDone)
	f.Exec(t, `UPDATE exportops_archives SET rows = ?, deleted = ? WHERE id = ?`, rows, rows-1, a.ID)
	return archiveOf(t, f, a.ID)
}

// writtenFrom is an archive that is written to take the place of another.
func writtenFrom(t testing.TB, f Fixture, fence exportops.Fence, a exportops.Archive, rows int64) exportops.Archive {
	t.Helper()
	by := intend(t, f, fence, rows, func(by *exportops.Archive) { by.Replaces = a.ID })
	move(t, f, fence, by.ID, exportops.ArchiveWritten)
	return archiveOf(t, f, by.ID)
}

func replaceOne(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	a := doneArchive(t, f, fence, 9)
	by := writtenFrom(t, f, fence, a, 4)
	r := exportops.Replacement{ID: a.ID, By: by.ID, UserID: exportops.NewID(), Gone: []string{exportops.NewID()}}
	later := after(noon, time.Minute)
	must(t, f.Store.ReplaceArchive(t.Context(), check(fence, later), r))
	a.State, a.ReplacedBy = exportops.ArchiveReplaced, by.ID
	by.State, by.Deleted, by.VerifiedAt, by.FinishedAt = exportops.ArchiveDone, 4, &later, &later
	for _, want := range []exportops.Archive{a, by} {
		if d := cmp.Diff(want, archiveOf(t, f, want.ID)); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
	wantKind(t, f.Store.ReplaceArchive(t.Context(), check(fence, later), r), exportops.KindConflict, "archive")
	r.ID = 1 << 40
	wantKind(t, f.Store.ReplaceArchive(t.Context(), check(fence, later), r), exportops.KindNotFound, "archive")
	r.ID, r.By = by.ID, 1<<40
	wantKind(t, f.Store.ReplaceArchive(t.Context(), check(fence, later), r), exportops.KindNotFound, "archive")
	if all, err := f.Store.AdoptArchives(t.Context(), check(fence, later)); err != nil || len(all) != 0 {
		t.Fatalf("to be finished are %+v, %v", all, err)
	}
}

func replaceByNone(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	a := doneArchive(t, f, fence, 9)
	must(t, f.Store.ReplaceArchive(t.Context(), check(fence, noon), exportops.Replacement{ID: a.ID, UserID: exportops.NewID()}))
	if a = archiveOf(t, f, a.ID); a.State != exportops.ArchiveReplaced || a.ReplacedBy != 0 {
		t.Fatalf("it is %+v", a)
	}
}

func replaceWrongly(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	a, other := doneArchive(t, f, fence, 9), doneArchive(t, f, fence, 9)
	unwritten := intend(t, f, fence, 4, func(by *exportops.Archive) { by.Replaces = a.ID })
	elsewhere := intend(t, f, fence, 4, func(by *exportops.Archive) {
		by.Replaces, by.Month = a.ID, exportops.At(october.AddDate(0, 1, 0))
	})
	move(t, f, fence, elsewhere.ID, exportops.ArchiveWritten)
	for name, by := range map[string]exportops.Archive{
		"of another":     writtenFrom(t, f, fence, other, 4),
		"not smaller":    writtenFrom(t, f, fence, a, 9),
		"empty":          writtenFrom(t, f, fence, a, 0),
		"not written":    unwritten,
		"another month":  elsewhere,
		"another's kind": other,
	} {
		err := f.Store.ReplaceArchive(t.Context(), check(fence, noon), exportops.Replacement{ID: a.ID, By: by.ID, UserID: exportops.NewID()})
		if !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(a, archiveOf(t, f, a.ID)); d != "" {
			t.Fatalf("%s: it was changed:\n%s", name, d)
		}
	}
	by := writtenFrom(t, f, fence, a, 4)
	another := heldRun(t, f, noon)
	if err := f.Store.ReplaceArchive(t.Context(), another, exportops.Replacement{ID: a.ID, By: by.ID, UserID: exportops.NewID()}); !errors.Is(err, exportops.ErrFenced) {
		t.Errorf("with what another run wrote: %v", err)
	}
}

func replaceHeld(t *testing.T, open func(testing.TB) Fixture) {
	user := exportops.NewID()
	row := Row{UserID: user}.Complete(after(noon, -time.Hour))
	for scope, subject := range map[exportops.HoldScope]string{
		exportops.HoldAll: "", exportops.HoldUser: user, exportops.HoldExport: row.ExportID,
	} {
		t.Run(string(scope), func(t *testing.T) {
			f := open(t)
			f.Insert(t, row)
			_, fence := begin(t, f, exportops.Started)
			a := doneArchive(t, f, fence, 9)
			r := exportops.Replacement{
				ID: a.ID, By: writtenFrom(t, f, fence, a, 4).ID, UserID: strings.ToUpper(user), Gone: []string{exportops.NewID(), strings.ToUpper(row.ExportID)},
			}
			other := exportops.Hold{Scope: exportops.HoldUser, Subject: exportops.NewID(), Reason: "r", PlacedBy: "p", PlacedAt: noon}
			_, err := f.Store.PlaceHold(t.Context(), other, exportops.Locator{})
			must(t, err)
			h := exportops.Hold{Scope: scope, Subject: subject, Reason: "r", PlacedBy: "p", PlacedAt: noon}
			h, err = f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
			must(t, err)
			err = f.Store.ReplaceArchive(t.Context(), check(fence, noon), r)
			wantKind(t, err, exportops.KindRefused, "")
			if !strings.Contains(err.Error(), fmt.Sprintf("hold %d", h.ID)) {
				t.Errorf("it does not name the hold %d: %v", h.ID, err)
			}
			if d := cmp.Diff(a, archiveOf(t, f, a.ID)); d != "" {
				t.Fatalf("it was changed:\n%s", d)
			}
			_, err = f.Store.ReleaseHold(t.Context(), h.ID, "p", noon)
			must(t, err)
			must(t, f.Store.ReplaceArchive(t.Context(), check(fence, noon), r))
		})
	}
}

func removeDiscarded(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	done := doneArchive(t, f, fence, 9)
	intended := intend(t, f, fence, 1)
	for _, a := range []exportops.Archive{done, intended} {
		wantKind(t, f.Store.ArchiveRemoved(t.Context(), check(fence, noon), a.ID), exportops.KindConflict, "archive")
	}
	move(t, f, fence, intended.ID, exportops.ArchiveAbandoned)
	must(t, f.Store.ReplaceArchive(t.Context(), check(fence, noon), exportops.Replacement{ID: done.ID, UserID: exportops.NewID()}))
	later := after(noon, time.Minute)
	another := heldRun(t, f, later)
	another.Now = later
	for _, id := range []int64{done.ID, intended.ID} {
		must(t, f.Store.ArchiveRemoved(t.Context(), another, id))
		another.Now = after(later, time.Second)
		must(t, f.Store.ArchiveRemoved(t.Context(), another, id)) // again
		another.Now = later
		if a := archiveOf(t, f, id); a.State != exportops.ArchiveRemoved || a.RemovedAt == nil || *a.RemovedAt != later {
			t.Fatalf("it is %+v", a)
		}
	}
	wantKind(t, f.Store.ArchiveRemoved(t.Context(), another, 1<<40), exportops.KindNotFound, "archive")
	all, err := f.Store.Archives(t.Context(), exportops.ArchiveFilter{State: exportops.ArchiveRemoved})
	must(t, err)
	if len(all) != 2 {
		t.Fatalf("%d are removed", len(all))
	}
}

func replaceFenced(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	a := doneArchive(t, f, fence, 9)
	b := doneArchive(t, f, fence, 9)
	must(t, f.Store.ReplaceArchive(t.Context(), check(fence, noon), exportops.Replacement{ID: b.ID, UserID: exportops.NewID()}))
	c := heldRun(t, f, noon)
	_, err := f.Store.FinishRun(t.Context(), c, exportops.RunDone, "")
	must(t, err)
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	for what, err := range map[string]error{
		"ReplaceArchive":   f.Store.ReplaceArchive(t.Context(), c, exportops.Replacement{ID: a.ID, UserID: exportops.NewID()}),
		"ArchiveRemoved":   f.Store.ArchiveRemoved(t.Context(), c, b.ID),
		"TurnArchiveEpoch": f.Store.TurnArchiveEpoch(t.Context(), c),
	} {
		if !errors.Is(err, exportops.ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if now, err := f.Store.ArchiveEpoch(t.Context()); err != nil || now != epoch {
		t.Errorf("the epoch was turned: %d, %v", now, err)
	}
	if archiveOf(t, f, a.ID).State != exportops.ArchiveDone || archiveOf(t, f, b.ID).State != exportops.ArchiveReplaced {
		t.Error("an archive was changed")
	}
}

func turnEpoch(t *testing.T, f Fixture) {
	row := Row{}.Complete(after(noon, -time.Hour))
	f.Insert(t, row)
	rows, _, err := f.Store.ArchivedRows(t.Context(), []string{row.ID})
	must(t, err)
	f.Exec(t, `DELETE FROM {logs} WHERE id = ?`, row.ID)
	_, fence := begin(t, f, exportops.Started)
	c := check(fence, noon)
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	must(t, f.Store.TurnArchiveEpoch(t.Context(), c))
	begun := exportops.Archive{Store: "s", Month: october, Rows: 1}
	name := func(n int64) string { return fmt.Sprint("epoch ", n) }
	if _, err := f.Store.BeginArchive(t.Context(), c, begun, epoch, name); !errors.Is(err, exportops.ErrEpoch) {
		t.Errorf("an archive of rows that are outdated: %v", err)
	}
	if _, err := f.Store.RestoreRows(t.Context(), rows, epoch, noon); !errors.Is(err, exportops.ErrEpoch) {
		t.Errorf("rows that are outdated: %v", err)
	}
	if n := f.Count(t, `SELECT (SELECT count(*) FROM {logs}) + (SELECT count(*) FROM exportops_archives)`); n != 0 {
		t.Errorf("%d rows and archives came of it", n)
	}
	begun.Replaces = 1 // it is not read from the export logs
	_, err = f.Store.BeginArchive(t.Context(), c, begun, epoch, name)
	must(t, err)
	now, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	begun.Replaces = 0
	_, err = f.Store.BeginArchive(t.Context(), c, begun, now, name)
	must(t, err)
	_, err = f.Store.RestoreRows(t.Context(), rows, now, noon)
	must(t, err)
}

func adoptReplacing(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	a := doneArchive(t, f, fence, 9)
	by := writtenFrom(t, f, fence, a, 4)
	_, err := f.Store.FinishRun(t.Context(), check(fence, noon), exportops.RunFailed, "")
	must(t, err)
	another := heldRun(t, f, noon)
	all, err := f.Store.AdoptArchives(t.Context(), another)
	must(t, err)
	if len(all) != 1 || all[0].ID != by.ID || all[0].Replaces != a.ID {
		t.Fatalf("to be finished are %+v", all)
	}
}
