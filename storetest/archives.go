package storetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testArchives(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("rows", func(t *testing.T) { testArchivedRows(t, open) })
	t.Run("large_rows", func(t *testing.T) { testLargeArchivedRows(t, open) })
	t.Run("states", func(t *testing.T) { testArchiveStates(t, open) })
	t.Run("register", func(t *testing.T) { testRegisterArchive(t, open) })
	t.Run("members", func(t *testing.T) { testArchiveMembers(t, open) })
	t.Run("delete", func(t *testing.T) { testDeleteArchived(t, open) })
	t.Run("owners", func(t *testing.T) { testArchiveOwners(t, open) })
	t.Run("list", func(t *testing.T) { testArchiveList(t, open) })
	t.Run("restore", func(t *testing.T) { testRestore(t, open) })
	t.Run("replace", func(t *testing.T) { testReplace(t, open) })
}

func testLargeArchivedRows(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	ids := []string{"no id"}
	for range 3 {
		row := Row{Status: "failed", Config: `{"a": "` + strings.Repeat("x", exportops.ArchivedAtOnce*2/3) + `"}`}.Complete(after(noon, -time.Hour))
		f.Insert(t, row)
		ids = append(ids, row.ID)
	}
	rows, read, err := f.Store.ArchivedRows(t.Context(), ids)
	must(t, err)
	if len(rows) != 2 || read != 3 || rows[1].ID != ids[2] {
		t.Errorf("of three large rows %d are read at once, which is to come to %d ids", len(rows), read)
	}
	rows, read, err = f.Store.ArchivedRows(t.Context(), ids[read:])
	must(t, err)
	if len(rows) != 1 || read != 1 || rows[0].ID != ids[3] {
		t.Errorf("then %d, which comes to %d", len(rows), read)
	}
}

// october is the month of most of the archives.
var october = exportops.Time{Time: time.Date(2025, 10, 1, 0, 0, 0, 0, time.UTC)}

// intend begins an archive of so many rows, without members.
func intend(t testing.TB, f Fixture, fence exportops.Fence, rows int64, change ...func(*exportops.Archive)) exportops.Archive {
	t.Helper()
	oldest, newest := after(noon, -time.Hour), noon
	want := exportops.Archive{
		Store: "file:///srv/archive", Month: october, Rows: rows, Oldest: &oldest, Newest: &newest, Bytes: 4711, SHA256: "5f70bf18",
	}
	for _, c := range change {
		c(&want)
	}
	epoch, err := f.Store.ArchiveEpoch(t.Context())
	must(t, err)
	got, err := f.Store.BeginArchive(t.Context(), check(fence, noon), want, epoch, func(n int64) string { return fmt.Sprintf("%s/%06d", want.Month, n) })
	must(t, err)
	want.ID, want.Sequence, want.Key = got.ID, got.Sequence, fmt.Sprintf("%s/%06d", want.Month, got.Sequence)
	want.State, want.RunID, want.CreatedAt = exportops.ArchiveIntended, fence.RunID, noon
	for how, got := range map[string]exportops.Archive{"begun": got, "read": archiveOf(t, f, got.ID)} {
		if d := cmp.Diff(want, got); d != "" || got.ID == 0 {
			t.Fatalf("%s (-want +got):\n%s", how, d)
		}
	}
	return got
}

func archiveOf(t testing.TB, f Fixture, id int64) exportops.Archive {
	t.Helper()
	a, err := f.Store.Archive(t.Context(), id)
	must(t, err)
	return a
}

func move(t testing.TB, f Fixture, fence exportops.Fence, id int64, to ...exportops.ArchiveState) {
	t.Helper()
	for _, state := range to {
		a, err := f.Store.MoveArchive(t.Context(), check(fence, noon), id, state, "")
		must(t, err)
		if d := cmp.Diff(archiveOf(t, f, id), a); d != "" || a.State != state {
			t.Fatalf("it is %s (-read +moved):\n%s", a.State, d)
		}
	}
}

// membersOf hashes rows as they are now.
func membersOf(t testing.TB, f Fixture, ids ...string) []exportops.ArchiveMember {
	t.Helper()
	rows, _, err := f.Store.ArchivedRows(t.Context(), ids)
	must(t, err)
	if len(rows) != len(ids) {
		t.Fatalf("%d of %d rows were read", len(rows), len(ids))
	}
	members := make([]exportops.ArchiveMember, len(rows))
	for i := range rows {
		members[i] = exportops.ArchiveMember{Position: int64(i), RowID: rows[i].ID, Hash: rows[i].Hash()}
	}
	return members
}

// archived takes rows as far as an archive whose rows are being deleted.
func archived(t testing.TB, f Fixture, fence exportops.Fence, ids ...string) (int64, []exportops.ArchiveMember) {
	t.Helper()
	members := membersOf(t, f, ids...)
	a := intend(t, f, fence, int64(len(ids)))
	must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members))
	move(t, f, fence, a.ID, exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting)
	return a.ID, members
}

func allGo(exportops.LogRow) bool { return true }

func membersLeft(t testing.TB, f Fixture, id int64) []exportops.ArchiveMember {
	t.Helper()
	var all []exportops.ArchiveMember
	for from := int64(0); ; {
		page, err := f.Store.ArchiveMembers(t.Context(), id, from, 2)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		from = page[len(page)-1].Position + 1
	}
}

func testArchivedRows(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	asked := after(noon, -time.Hour)
	full := Row{
		Status: "failed", Config: `{"a": 1}`, Conversations: 7, FileSize: ptr(int64(12)), FileURL: ptr("a/b"),
		ExpiresAt: ptr(noon.String()), Error: ptr("Timeout: late"),
	}.Complete(asked)
	bare := Row{Status: "failed", Config: `{"a": 1}`}.Complete(asked)
	f.Insert(t, full, bare)
	record(t, f, metric(func(m *exportops.Metric) {
		m.ExportID, m.UserID, m.Status, m.Attempt, m.Timestamp = full.ExportID, full.UserID, exportops.Failed, 3, asked
		m.ErrorType, m.ErrorMessage = ptr("Timeout"), ptr("late")
	}))
	of := func(r Row) exportops.ArchivedRow {
		return exportops.ArchivedRow{
			ID: r.ID, ExportID: r.ExportID, UserID: r.UserID, Timestamp: r.Timestamp, Format: r.Format, Config: r.Config,
			ConversationCount: r.Conversations, FileSize: r.FileSize, Status: r.Status, FileURL: r.FileURL, ExpiresAt: r.ExpiresAt,
			ErrorMessage: r.Error, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, DownloadedCount: ptr(int64(0)),
		}
	}
	want := []exportops.ArchivedRow{of(full), of(bare)}
	want[0].Metric = &exportops.ArchivedMetric{
		Status: "failed", Source: "measured", Attempt: 3, Format: "csv", ConversationCount: 150, DurationMS: ptr(int64(2500)),
		FileSizeBytes: ptr(int64(524288)), ErrorType: ptr("Timeout"), ErrorMessage: ptr("late"), Timestamp: asked.String(),
		CountedHour: ptr(asked.Hour().String()),
	}
	got, _, err := f.Store.ArchivedRows(t.Context(), []string{full.ID, exportops.NewID(), "no id", bare.ID})
	must(t, err)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if f.Typed {
		return
	}
	f.Exec(t, `UPDATE {logs} SET config = x'00ff' WHERE id = ?`, full.ID)
	if got, _, err := f.Store.ArchivedRows(t.Context(), []string{full.ID, bare.ID}); err != nil || len(got) != 1 || got[0].ID != bare.ID {
		t.Fatalf("with bytes for a text come %+v, %v", got, err)
	}
}

func testArchiveStates(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	_, fence := begin(t, f, exportops.Started)
	way := map[exportops.ArchiveState][]exportops.ArchiveState{
		exportops.ArchiveIntended: nil,
		exportops.ArchiveWritten:  {exportops.ArchiveWritten},
		exportops.ArchiveVerified: {exportops.ArchiveWritten, exportops.ArchiveVerified},
		exportops.ArchiveDeleting: {exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting},
		exportops.ArchiveDone: {
			exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting, exportops.ArchiveDone,
		},
		exportops.ArchiveAbandoned: {exportops.ArchiveAbandoned},
	}
	later := after(noon, time.Second)
	for from, steps := range way {
		for _, to := range exportops.ArchiveStates {
			t.Run(fmt.Sprintf("%s_to_%s", from, to), func(t *testing.T) {
				a := intend(t, f, fence, 0)
				move(t, f, fence, a.ID, steps...)
				was := archiveOf(t, f, a.ID)
				got, err := f.Store.MoveArchive(t.Context(), check(fence, later), a.ID, to, "why")
				if !from.MayBecome(to) {
					wantKind(t, err, exportops.KindConflict, "archive")
					if d := cmp.Diff(was, archiveOf(t, f, a.ID)); d != "" {
						t.Fatalf("it was changed:\n%s", d)
					}
					return
				}
				must(t, err)
				want := was.Moved(to, "why", later)
				for how, got := range map[string]exportops.Archive{"moved": got, "read": archiveOf(t, f, a.ID)} {
					if d := cmp.Diff(want, got); d != "" {
						t.Fatalf("%s (-want +got):\n%s", how, d)
					}
				}
			})
		}
	}
	_, err := f.Store.MoveArchive(t.Context(), check(fence, noon), 1<<40, exportops.ArchiveWritten, "")
	wantKind(t, err, exportops.KindNotFound, "archive")
	_, err = f.Store.Archive(t.Context(), 1<<40)
	wantKind(t, err, exportops.KindNotFound, "archive")
}

func testArchiveMembers(t *testing.T, open func(testing.TB) Fixture) {
	three := func(t *testing.T, f Fixture) []exportops.ArchiveMember {
		var ids []string
		for range 3 {
			r := Row{}.Complete(after(noon, -time.Hour))
			f.Insert(t, r)
			ids = append(ids, r.ID)
		}
		return membersOf(t, f, ids...)
	}
	t.Run("are_kept_in_their_places", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		members, a := three(t, f), intend(t, f, fence, 3)
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members[:1]))
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members[1:]))
		if d := cmp.Diff(members, membersLeft(t, f, a.ID)); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
	t.Run("must_be_all_there_before_it_is_written", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		members, a := three(t, f), intend(t, f, fence, 3)
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members[:2]))
		_, err := f.Store.MoveArchive(t.Context(), check(fence, noon), a.ID, exportops.ArchiveWritten, "")
		wantKind(t, err, exportops.KindConflict, "archive")
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members[2:]))
		move(t, f, fence, a.ID, exportops.ArchiveWritten)
		wantKind(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members[2:]), exportops.KindConflict, "archive")
	})
	t.Run("must_be_dealt_with_before_it_is_done", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		var ids []string
		for _, m := range three(t, f) {
			ids = append(ids, m.RowID)
		}
		id, _ := archived(t, f, fence, ids...)
		_, err := f.Store.MoveArchive(t.Context(), check(fence, noon), id, exportops.ArchiveDone, "")
		wantKind(t, err, exportops.KindConflict, "archive")
	})
	t.Run("are_of_one_archive_until_that_is_finished", func(t *testing.T) {
		f := open(t)
		_, fence := begin(t, f, exportops.Started)
		members := three(t, f)
		first, second := intend(t, f, fence, 3), intend(t, f, fence, 3)
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), first.ID, members))
		wantKind(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), second.ID, members[1:]), exportops.KindConflict, "archive")
		if left := membersLeft(t, f, second.ID); left != nil {
			t.Fatalf("the second has %+v", left)
		}
		move(t, f, fence, first.ID, exportops.ArchiveAbandoned)
		if left := membersLeft(t, f, first.ID); left != nil {
			t.Fatalf("what was abandoned has %+v", left)
		}
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), second.ID, members))
	})
}

// testArchiveOwners is about who may go on with an archive.
func testArchiveOwners(t *testing.T, open func(testing.TB) Fixture) {
	adopt := func(t *testing.T, f Fixture, fence exportops.Fence, now exportops.Time) (ids []int64) {
		t.Helper()
		all, err := f.Store.AdoptArchives(t.Context(), check(fence, now))
		must(t, err)
		for _, a := range all {
			if d := cmp.Diff(archiveOf(t, f, a.ID), a); d != "" || a.RunID != fence.RunID {
				t.Fatalf("it is of run %s (-read +adopted):\n%s", a.RunID, d)
			}
			ids = append(ids, a.ID)
		}
		return ids
	}
	t.Run("a_live_run_keeps_its_archives", func(t *testing.T) {
		f := open(t)
		_, first := begin(t, f, exportops.Started)
		_, second := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup))
		a := intend(t, f, first, 0)
		if ids := adopt(t, f, second, alive); ids != nil {
			t.Fatalf("the other got %v", ids)
		}
		if d := cmp.Diff([]int64{a.ID}, adopt(t, f, first, alive)); d != "" {
			t.Fatalf("it has (-want +got):\n%s", d)
		}
	})
	for name, end := range map[string]func(*testing.T, Fixture, exportops.Fence){
		"whose_lease_is_over": func(*testing.T, Fixture, exportops.Fence) {},
		"that_has_ended": func(t *testing.T, f Fixture, fence exportops.Fence) {
			finish(t, f, fence, noon, exportops.RunFailed)
		},
	} {
		t.Run("the_archives_of_a_run_"+name+"_go_to_the_next", func(t *testing.T) {
			f := open(t)
			_, first := begin(t, f, exportops.Started)
			a, done, given, b := intend(t, f, first, 0), intend(t, f, first, 0), intend(t, f, first, 0), intend(t, f, first, 0)
			move(t, f, first, done.ID, exportops.ArchiveWritten, exportops.ArchiveVerified, exportops.ArchiveDeleting, exportops.ArchiveDone)
			move(t, f, first, given.ID, exportops.ArchiveAbandoned)
			end(t, f, first)
			_, second := begin(t, f, exportops.Started, ofJob(exportops.LogCleanup), at(dead))
			if d := cmp.Diff([]int64{a.ID, b.ID}, adopt(t, f, second, dead)); d != "" {
				t.Fatalf("it has (-want +got):\n%s", d)
			}
			for what, err := range archiveChanges(t, f, check(first, dead), a.ID) {
				wantFenced(t, what, err)
			}
			move(t, f, second, a.ID, exportops.ArchiveWritten)
		})
	}
}

// archiveChanges tries all that a run can do to an archive of its own.
func archiveChanges(t testing.TB, f Fixture, c exportops.Checkpoint, id int64) map[string]error {
	t.Helper()
	m := []exportops.ArchiveMember{{RowID: exportops.NewID()}}
	_, moved := f.Store.MoveArchive(t.Context(), c, id, exportops.ArchiveWritten, "")
	_, deleted := f.Store.DeleteArchived(t.Context(), c, id, m, allGo, nil)
	return map[string]error{
		"AddArchiveMembers": f.Store.AddArchiveMembers(t.Context(), c, id, m), "MoveArchive": moved, "DeleteArchived": deleted,
	}
}

func testArchiveList(t *testing.T, open func(testing.TB) Fixture) {
	f := open(t)
	_, fence := begin(t, f, exportops.Started)
	november := exportops.At(october.AddDate(0, 1, 0))
	var all []exportops.Archive // newest first
	for i := range 7 {
		a := intend(t, f, fence, 0, func(a *exportops.Archive) {
			if a.Oldest = nil; i%2 == 1 {
				a.Month, a.Newest = november, nil
			}
		})
		if want := int64(i/2) + 1; a.Sequence != want {
			t.Fatalf("archive %d is the %d. of its month, want %d", i, a.Sequence, want)
		}
		if i%3 == 0 {
			move(t, f, fence, a.ID, exportops.ArchiveWritten)
		}
		all = append([]exportops.Archive{archiveOf(t, f, a.ID)}, all...)
	}
	for _, state := range []exportops.ArchiveState{"", exportops.ArchiveWritten, exportops.ArchiveDone} {
		var want, got []exportops.Archive
		for _, a := range all {
			if state == "" || a.State == state {
				want = append(want, a)
			}
		}
		for filter := (exportops.ArchiveFilter{State: state, Limit: 2}); ; {
			page, err := f.Store.Archives(t.Context(), filter)
			must(t, err)
			if got = append(got, page...); len(page) < filter.Limit {
				break
			}
			filter.Before = page[len(page)-1].ID
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%q (-want +got):\n%s", state, d)
		}
	}
}

func deleteArchived(t testing.TB, f Fixture, fence exportops.Fence, id int64, members []exportops.ArchiveMember,
	goes func(exportops.LogRow) bool,
) exportops.ArchivedDeletion {
	t.Helper()
	var told exportops.ArchivedDeletion
	got, err := f.Store.DeleteArchived(t.Context(), check(fence, noon), id, members, goes,
		func(d exportops.ArchivedDeletion) (json.RawMessage, error) {
			told = d
			return json.RawMessage(fmt.Sprintf(`{"deleted_count":%d}`, d.Deleted)), nil
		})
	must(t, err)
	if got.Took = 0; got != told {
		t.Fatalf("progress was told %+v, and the answer is %+v", told, got)
	}
	if r := runOf(t, f, fence.RunID).Result; string(r) != fmt.Sprintf(`{"deleted_count":%d}`, got.Deleted) {
		t.Fatalf("the result of the run is %s", r)
	}
	return got
}
