package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testRegisterArchive(t *testing.T, open func(testing.TB) Fixture) {
	found := func(sequence int64, key string) exportops.Archive {
		return exportops.Archive{Store: "s", Key: key, Month: october, Sequence: sequence, Rows: 1, Bytes: 9, SHA256: "5f70bf18"}
	}
	register := func(t *testing.T, f Fixture, fence exportops.Fence, a exportops.Archive, ids ...string) (exportops.Archive, error) {
		t.Helper()
		epoch, err := f.Store.ArchiveEpoch(t.Context())
		must(t, err)
		var members []exportops.ArchiveMember
		for i, id := range ids {
			members = append(members, exportops.ArchiveMember{Position: int64(i), RowID: id})
		}
		return f.Store.RegisterArchive(t.Context(), check(fence, noon), a, epoch, members)
	}
	t.Run("keeps_its_number_and_others_go_on_after_it", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		want, row := found(7, "a/000007"), exportops.NewID()
		got, err := register(t, f, fence, want, row)
		must(t, err)
		at := noon
		want.ID, want.State, want.RunID, want.CreatedAt, want.VerifiedAt = got.ID, exportops.ArchiveDeleting, fence.RunID, noon, &at
		if d := cmp.Diff(want, archiveOf(t, f, got.ID)); d != "" || !got.Registered() {
			t.Errorf("registered %v (-want +got):\n%s", got.Registered(), d)
		}
		if left := membersLeft(t, f, got.ID); len(left) != 1 || left[0].RowID != row {
			t.Errorf("its rows are %+v", left)
		}
		if next := intend(t, f, fence, 1); next.Sequence != 8 {
			t.Errorf("the next of the month is number %d", next.Sequence)
		}
	})
	t.Run("no_key_has_two_records", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		first := intend(t, f, fence, 1)
		after := found(1, first.Month.String()+"/000003")
		after.Store = first.Store
		second, err := register(t, f, fence, after)
		must(t, err)
		if second.Sequence != 2 {
			t.Errorf("where its number is taken it is number %d", second.Sequence)
		}
		if _, err := register(t, f, fence, after); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("registered again: %v", err)
		}
		if next := intend(t, f, fence, 1); next.Sequence != 4 {
			t.Errorf("the next is number %d, whose key is %s", next.Sequence, next.Key)
		}
	})
	t.Run("not_beside_another_that_has_its_rows", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		row := exportops.NewID()
		_, err := register(t, f, fence, found(1, "a"), row)
		must(t, err)
		if _, err := register(t, f, fence, found(2, "b"), row); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("registered: %v", err)
		}
		if n := f.Count(t, `SELECT count(*) FROM exportops_archives`); n != 1 {
			t.Errorf("%d archives are recorded", n)
		}
	})
	t.Run("not_while_a_user_is_erased", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		must(t, f.Store.TurnArchiveEpoch(t.Context(), check(fence, noon)))
		if _, err := f.Store.RegisterArchive(t.Context(), check(fence, noon), found(1, "a"), 0, nil); !errors.Is(err, exportops.ErrEpoch) {
			t.Errorf("what was read before: %v", err)
		}
		_, erasing := begin(t, f, exportops.Started, func(r *exportops.RunRequest) {
			r.Job, r.Lane = exportops.EraseUser, "erase"
		})
		if _, err := register(t, f, fence, found(1, "a")); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("registered: %v", err)
		}
		_, err := f.Store.FinishRun(t.Context(), check(erasing, noon), exportops.RunDone, "")
		must(t, err)
		_, err = register(t, f, fence, found(1, "a"))
		must(t, err)
	})
	t.Run("one_that_was_lost_is_an_archive_again", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		row := exportops.NewID()
		first, err := register(t, f, fence, found(1, "a"), row)
		must(t, err)
		for range 2 { // the second time it is known
			got, err := f.Store.LoseArchive(t.Context(), first.ID, "the bucket is gone", noon)
			must(t, err)
			if d := cmp.Diff(archiveOf(t, f, first.ID), got); d != "" || got.State != exportops.ArchiveLost || got.RemovedAt == nil || got.Error != "the bucket is gone" {
				t.Errorf("it is %+v (-read +lost):\n%s", got, d)
			}
		}
		if left := membersLeft(t, f, first.ID); len(left) != 0 {
			t.Errorf("its rows are %+v", left)
		}
		again, err := register(t, f, fence, found(1, "a"), row)
		must(t, err)
		if d := cmp.Diff(first, archiveOf(t, f, again.ID)); d != "" || len(membersLeft(t, f, first.ID)) != 1 {
			t.Errorf("it is not what it was (-first +again):\n%s", d)
		}
	})
	t.Run("one_that_lies_elsewhere_now_keeps_its_record", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		want := intend(t, f, fence, 1)
		here := want
		here.ID, here.Store, here.Replaces = 0, "t", 0
		got, err := register(t, f, fence, here, exportops.NewID())
		must(t, err)
		want.Store = "t"
		if d := cmp.Diff(want, archiveOf(t, f, got.ID)); d != "" || len(membersLeft(t, f, got.ID)) != 0 {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	t.Run("not_under_the_name_of_another", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		first := intend(t, f, fence, 1)
		other := first
		other.ID, other.Store, other.SHA256 = 0, "t", "0815"
		if _, err := register(t, f, fence, other); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("with another SHA-256: %v", err)
		}
		move(t, f, fence, first.ID, exportops.ArchiveAbandoned)
		other.SHA256 = first.SHA256
		if _, err := register(t, f, fence, other); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("what was given up: %v", err)
		}
		got, err := f.Store.LoseArchive(t.Context(), first.ID, "the bucket is gone", noon)
		must(t, err)
		if d := cmp.Diff(archiveOf(t, f, first.ID), got); d != "" || got.State != exportops.ArchiveRemoved {
			t.Errorf("it is %+v (-read +lost):\n%s", got, d)
		}
		if _, err := register(t, f, fence, other); !exportops.IsKind(err, exportops.KindConflict) {
			t.Errorf("what was removed: %v", err)
		}
		_, err = f.Store.LoseArchive(t.Context(), 4711, "why", noon)
		wantKind(t, err, exportops.KindNotFound, "archive")
	})
}
