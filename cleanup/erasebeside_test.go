package cleanup_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/jobs"
)

// found is every row of the archives, and the epoch in which they were read.
func (e *erasable) found(t testing.TB) (rows []exportops.FoundRow, epoch int64) {
	t.Helper()
	epoch, err := e.Store.ArchiveEpoch(t.Context())
	e.Must(err)
	k := &archive.Keeper{Store: e.Store, Objects: e.to, Dir: e.Dir, Program: "exportops test"}
	for row, err := range k.Search(t.Context(), archive.Query{}) {
		e.Must(err)
		rows = append(rows, row)
	}
	return rows, epoch
}

// beside puts every row of the archives into a table beside the export logs.
func (e *erasable) beside(t testing.TB, table string) {
	t.Helper()
	rows, epoch := e.found(t)
	_, err := e.Store.RestoreBeside(t.Context(), table, rows, epoch, e.Clock.At())
	e.Must(err)
}

// wantBeside fails unless a table holds the rows of others, and no other.
func (e *erasable) wantBeside(t testing.TB, table string) {
	t.Helper()
	want(t, "rows in "+table, e.Count(`SELECT count(*) FROM `+table), int64(len(e.kept)))
	for id := range e.kept {
		want(t, "row "+id+" in "+table, e.Count(`SELECT count(*) FROM `+table+` WHERE id = ?`, id), 1)
	}
}

func TestAUserIsErasedFromTablesBeside(t *testing.T) {
	world := copies(t)
	t.Run("and_the_rows_of_others_stay", func(t *testing.T) {
		e := world(t)
		e.beside(t, "old_rows")
		e.beside(t, "older_rows")
		res, err := e.erase(t)
		e.Must(err)
		want(t, "rows", res.Restored, 2*e.rows)
		if r := res.Receipt; r == nil || r.RestoredRows != 2*e.rows || !r.Intact() {
			t.Fatalf("the receipt is %+v", r)
		}
		e.wantErased(t)
		e.wantBeside(t, "old_rows")
		e.wantBeside(t, "older_rows")
	})
	t.Run("a_restore_that_ends_before_the_erasure_is_seen", func(t *testing.T) {
		e := world(t)
		rows, _ := e.found(t)
		store := func(s jobs.Store) jobs.Store {
			return turning{&archivesStore{s}, func() { // each time before it is turned
				epoch, err := e.Store.ArchiveEpoch(t.Context())
				e.Must(err)
				_, err = e.Store.RestoreBeside(t.Context(), "old_rows", rows, epoch, e.Clock.At())
				e.Must(err)
			}}
		}
		res, err := e.erase(t, through(e.to, store))
		if err == nil || res.Receipt != nil || res.Left != e.rows {
			t.Fatalf("%d rows are left, want %d: %+v, %v", res.Left, e.rows, res, err)
		}
		res, err = e.erase(t)
		e.Must(err)
		want(t, "rows", res.Restored, 2*e.rows) // they were restored twice
		e.wantErased(t)
		e.wantBeside(t, "old_rows")
	})
	t.Run("a_restore_that_ends_later_is_refused", func(t *testing.T) {
		e := world(t)
		rows, epoch := e.found(t)
		_, err := e.erase(t)
		e.Must(err)
		if _, err := e.Store.RestoreBeside(t.Context(), "old_rows", rows, epoch, e.Clock.At()); !errors.Is(err, exportops.ErrEpoch) {
			t.Errorf("rows that were read before: %v", err)
		}
		e.beside(t, "old_rows")
		e.wantErased(t)
		e.wantBeside(t, "old_rows")
	})
	t.Run("there_is_no_receipt_while_a_table_cannot_be_read", func(t *testing.T) {
		e := world(t)
		e.beside(t, "old_rows")
		e.Exec(`ALTER TABLE old_rows RENAME COLUMN user_id TO owner`)
		res, err := e.erase(t)
		if !exportops.IsKind(err, exportops.KindConflict) || !strings.Contains(err.Error(), "old_rows") || res.Receipt != nil {
			t.Fatalf("%+v, %v", res, err)
		}
		e.Exec(`ALTER TABLE old_rows RENAME COLUMN owner TO user_id`)
		res, err = e.erase(t)
		e.Must(err)
		want(t, "rows", res.Restored, e.rows)
		e.wantErased(t)
	})
	t.Run("a_table_that_was_dropped_is_in_nobodys_way", func(t *testing.T) {
		e := world(t)
		e.beside(t, "old_rows")
		e.Exec(`DROP TABLE old_rows`)
		res, err := e.erase(t)
		e.Must(err)
		want(t, "rows", res.Restored, 0)
		e.wantErased(t)
	})
}

// turning calls meet before the epoch of archives is turned.
type turning struct {
	*archivesStore
	meet func()
}

func (s turning) TurnArchiveEpoch(ctx context.Context, c exportops.Checkpoint) error {
	s.meet()
	return s.archivesStore.TurnArchiveEpoch(ctx, c)
}
