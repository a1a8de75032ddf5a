package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// insertOld inserts so many rows that may go, and returns their ids.
func insertOld(t testing.TB, f Fixture, n int) (ids []string) {
	t.Helper()
	for range n {
		r := Row{}.Complete(after(noon, -time.Hour))
		f.Insert(t, r)
		ids = append(ids, r.ID)
	}
	return ids
}

func testDeleteArchived(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("what_was_edited_since_it_was_archived_stays", func(t *testing.T) { editedStays(t, open) })
	t.Run("what_may_not_go_stays", func(t *testing.T) {
		f := open(t)
		going, kept := Row{}.Complete(after(noon, -time.Hour)), Row{}.Complete(after(noon, -time.Hour))
		f.Insert(t, going, kept)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		id, members := archived(t, f, fence, going.ID, kept.ID)
		got := deleteArchived(t, f, fence, id, members, func(r exportops.LogRow) bool {
			if r.Prior != nil || !r.Counted || r.ExportID == "" {
				t.Errorf("it is asked about %+v", r)
			}
			return r.ID == going.ID
		})
		if want := (exportops.ArchivedDeletion{Deleted: 1, Kept: 1}); got != want {
			t.Fatalf("it says %+v, want %+v", got, want)
		}
		if f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, kept.ID) != 1 || f.Count(t, `SELECT count(*) FROM {logs}`) != 1 {
			t.Fatal("not the row that was to be kept is there, and it alone")
		}
	})
	t.Run("the_hours_are_sealed_and_the_metrics_go", func(t *testing.T) {
		f := open(t)
		r := Row{}.Complete(after(noon, -time.Hour))
		f.Insert(t, r)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		id, members := archived(t, f, fence, r.ID)
		deleteArchived(t, f, fence, id, members, allGo)
		if s := stateOf(t, f, after(noon, -time.Hour)); !s.Sealed || f.Count(t, `SELECT count(*) FROM exportops_export_metrics`) != 0 {
			t.Fatalf("the hour is %+v", s)
		}
	})
	t.Run("batch_by_batch_until_none_is_left", func(t *testing.T) {
		f := open(t)
		ids := insertOld(t, f, 5)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		id, _ := archived(t, f, fence, ids...)
		for left := 5; left > 0; {
			page, err := f.Store.ArchiveMembers(t.Context(), id, 0, 2)
			must(t, err)
			deleteArchived(t, f, fence, id, page, allGo)
			left -= len(page)
			if n := f.Count(t, `SELECT count(*) FROM {logs}`); n != int64(left) || len(membersLeft(t, f, id)) != left {
				t.Fatalf("%d rows and %d members are left, want %d", n, len(membersLeft(t, f, id)), left)
			}
			if a := archiveOf(t, f, id); a.Deleted != int64(5-left) {
				t.Fatalf("it says that %d are deleted, want %d", a.Deleted, 5-left)
			}
		}
		move(t, f, fence, id, exportops.ArchiveDone)
	})
	t.Run("out_of_the_middle", func(t *testing.T) {
		f := open(t)
		ids := insertOld(t, f, 7)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		id, members := archived(t, f, fence, ids...)
		deleteArchived(t, f, fence, id, members[1:5], allGo)
		want := slices.Concat(members[:1], members[5:])
		if d := cmp.Diff(want, membersLeft(t, f, id)); d != "" {
			t.Errorf("page by page (-want +got):\n%s", d)
		}
		page, err := f.Store.ArchiveMembers(t.Context(), id, 1, 2)
		must(t, err)
		if d := cmp.Diff(members[5:], page); d != "" {
			t.Errorf("from where there is none (-want +got):\n%s", d)
		}
	})
	t.Run("nothing_of_it_where_the_result_cannot_be_kept", func(t *testing.T) {
		f := open(t)
		r := Row{}.Complete(after(noon, -time.Hour))
		f.Insert(t, r)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		id, members := archived(t, f, fence, r.ID)
		no := errors.New("no")
		_, err := f.Store.DeleteArchived(t.Context(), check(fence, noon), id, members, allGo,
			func(exportops.ArchivedDeletion) (json.RawMessage, error) { return nil, no })
		if !errors.Is(err, no) || f.Count(t, `SELECT count(*) FROM {logs}`) != 1 || len(membersLeft(t, f, id)) != 1 || archiveOf(t, f, id).Deleted != 0 {
			t.Fatalf("after %v something has changed", err)
		}
	})
	t.Run("no_row_of_an_archive_that_is_not_deleting", func(t *testing.T) {
		f := open(t)
		r := Row{}.Complete(after(noon, -time.Hour))
		f.Insert(t, r)
		rollUp(t, f)
		_, fence := begin(t, f, exportops.Started)
		members := membersOf(t, f, r.ID)
		a := intend(t, f, fence, 1)
		must(t, f.Store.AddArchiveMembers(t.Context(), check(fence, noon), a.ID, members))
		for _, state := range []exportops.ArchiveState{exportops.ArchiveIntended, exportops.ArchiveWritten, exportops.ArchiveVerified} {
			move(t, f, fence, a.ID, state)
			_, err := f.Store.DeleteArchived(t.Context(), check(fence, noon), a.ID, members, allGo, nil)
			wantKind(t, err, exportops.KindConflict, "archive")
		}
		if f.Count(t, `SELECT count(*) FROM {logs}`) != 1 {
			t.Fatal("the row is gone")
		}
	})
}

// editedStays changes a row between its archive and its deletion, column by column.
func editedStays(t *testing.T, open func(testing.TB) Fixture) {
	hour := after(noon, -time.Hour)
	edit := func(query string, args ...any) func(*testing.T, Fixture, Row) {
		return func(t *testing.T, f Fixture, r Row) {
			f.Exec(t, `UPDATE {logs} SET `+query+` WHERE id = ?`, append(args, r.ID)...)
		}
	}
	other := exportops.NewID()
	deleted, kept := exportops.ArchivedDeletion{Deleted: 2}, exportops.ArchivedDeletion{Deleted: 1, Kept: 1}
	missing := exportops.ArchivedDeletion{Deleted: 1, Missing: 1}
	for name, c := range map[string]struct {
		change func(*testing.T, Fixture, Row)
		want   exportops.ArchivedDeletion
	}{
		"nothing":            {func(*testing.T, Fixture, Row) {}, deleted},
		"the_same_again":     {edit(`error_message = error_message`), deleted},
		"id":                 {edit(`id = ?`, other), missing},
		"export_id":          {edit(`export_id = ?`, other), kept},
		"user_id":            {edit(`user_id = ?`, other), kept},
		"timestamp":          {edit(`timestamp = ?`, after(hour, 2*time.Minute).String()), kept},
		"format":             {edit(`format = 'csv'`), kept},
		"config":             {edit(`config = '{"b": 2}'`), kept},
		"conversation_count": {edit(`conversation_count = 11`), kept},
		"file_size":          {edit(`file_size = 13`), kept},
		"no_file_size":       {edit(`file_size = NULL`), kept},
		"status":             {edit(`status = 'failed'`), kept},
		"file_url":           {edit(`file_url = 'c'`), kept},
		"expires_at":         {edit(`expires_at = ?`, after(noon, time.Hour).String()), kept},
		"error_message":      {edit(`error_message = 'Timeout: late'`), kept},
		"created_at":         {edit(`created_at = ?`, after(hour, time.Hour).String()), kept},
		"updated_at":         {edit(`updated_at = ?`, after(hour, time.Hour).String()), kept},
		"downloaded_count":   {edit(`downloaded_count = 1`), kept},
		"gone":               {func(t *testing.T, f Fixture, r Row) { f.Exec(t, `DELETE FROM {logs} WHERE id = ?`, r.ID) }, missing},
		"its_metric": {func(t *testing.T, f Fixture, r Row) {
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`)
			record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.Timestamp = r.ExportID, hour }))
		}, kept},
		"a_metric_of_another_export": {func(t *testing.T, f Fixture, _ Row) {
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = 1`)
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		}, deleted},
		"its_hour_is_dirty": {func(t *testing.T, f Fixture, _ Row) {
			record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		}, kept},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			r := Row{Status: "expired", FileURL: ptr("a"), FileSize: ptr(int64(12)), ExpiresAt: ptr(noon.String())}.Complete(after(hour, time.Minute))
			bystander := Row{}.Complete(after(hour, -time.Hour)) // of another hour
			f.Insert(t, r, bystander)
			rollUp(t, f)
			_, fence := begin(t, f, exportops.Started)
			id, members := archived(t, f, fence, r.ID, bystander.ID)
			c.change(t, f, r)
			if name == "the_same_again" { // a trigger may have touched it
				f.Exec(t, `UPDATE {logs} SET updated_at = ? WHERE id = ?`, r.UpdatedAt, r.ID)
			}
			if got := deleteArchived(t, f, fence, id, members, allGo); got != c.want {
				t.Fatalf("it says %+v, want %+v", got, c.want)
			}
			if n := f.Count(t, `SELECT count(*) FROM {logs} WHERE id = ?`, r.ID); n != c.want.Kept {
				t.Fatalf("%d of the row are there, want %d", n, c.want.Kept)
			}
			if left := membersLeft(t, f, id); left != nil {
				t.Fatalf("members are left: %+v", left)
			}
			if a := archiveOf(t, f, id); a.Deleted != c.want.Deleted {
				t.Fatalf("the archive says that %d are deleted, want %d", a.Deleted, c.want.Deleted)
			}
		})
	}
}
