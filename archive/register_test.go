package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// restored is a world whose database is a backup of before its rows were archived,
// beside the archives that were written since.
func restored(t *testing.T) archived {
	t.Helper()
	before := testworld.New(t, t.TempDir())
	for i := range 60 {
		before.Insert(testworld.Row{
			ExportID: testworld.ID(i), Status: exportops.Failed, Expires: testworld.Never,
			Timestamp: before.Ago(time.Duration(40+i) * testworld.Day),
		})
	}
	_, err := before.Metrics().Roll(t.Context(), before.Clock.At())
	before.Must(err)
	dir := t.TempDir()
	before.Exec(`VACUUM INTO ?`, filepath.Join(dir, "exportops.db"))
	was := archived{World: before, to: before.Objects()}
	was.cleanLogs(t)
	same(t, "objects", len(was.to.Keys()), 6)

	a := archived{World: testworld.New(t, dir), to: was.to}
	a.keeper = &archive.Keeper{Store: a.Store, Objects: a.to, Dir: t.TempDir(), Program: "exportops test"}
	return a
}

func (a archived) register(t *testing.T, dry bool) exportops.RegisterResult {
	t.Helper()
	answer, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{
		Job: exportops.RegisterArchives, Trigger: exportops.ByCommand, DryRun: dry,
	})
	a.Must(err)
	same(t, "complete", answer.Result.Known.Complete, true)
	same(t, "it says that something was left", answer.Failure != "", !dry && answer.Result.Known.LeftTotal > 0)
	return *answer.Result.Known
}

// once reports how often each row is found in the archives.
func (a archived) once(t *testing.T) (rows, most int) {
	t.Helper()
	times := map[string]int{}
	for found, err := range a.keeper.Search(t.Context(), archive.Query{}) {
		a.Must(err)
		times[found.ID]++
		most = max(most, times[found.ID])
	}
	return len(times), most
}

func TestRegister(t *testing.T) {
	t.Run("archives_nothing_twice", func(t *testing.T) {
		a := restored(t)
		before := a.Dump()
		dry := a.register(t, true)
		same(t, "dry run", [4]int64{dry.Found, dry.Registered, dry.Rows, dry.RowsPresent}, [4]int64{3, 0, 60, 60})
		if d := cmp.Diff(before, a.Dump()); d != "" {
			t.Errorf("a dry run changed the database:\n%s", d)
		}
		got := a.register(t, false)
		same(t, "result", [4]int64{got.Found, got.Registered, got.Rows, got.RowsPresent}, [4]int64{3, 3, 60, 60})
		same(t, "found again", a.register(t, false).Found, 0)

		a.Exec(`UPDATE export_logs SET error_message = 'edited' WHERE export_id = ?`, testworld.ID(7))
		a.cleanLogs(t)
		a.cleanLogs(t) // archives the one that was edited
		same(t, "rows left", a.Count(`SELECT count(*) FROM export_logs`), 0)
		same(t, "objects", len(a.to.Keys()), 8)
		rows, most := a.once(t)
		same(t, "rows in archives", rows, 60)
		same(t, "and the edited one twice, in its two forms", most, 2)
		audit, err := a.keeper.Audit(t.Context(), 0)
		a.Must(err)
		same(t, "audit", [3]int64{audit.Archives, audit.Checked - int64(len(audit.Faults)), audit.UnrecordedTotal}, [3]int64{4, 4, 0})
	})
	t.Run("of_rows_that_are_gone", func(t *testing.T) {
		a := restored(t)
		a.Exec(`DELETE FROM export_logs`)
		got := a.register(t, false)
		same(t, "result", [3]int64{got.Registered, got.Rows, got.RowsPresent}, [3]int64{3, 60, 0})
		a.cleanLogs(t)
		rows, most := a.once(t)
		same(t, "found", [2]int{rows, most}, [2]int{60, 1})
	})
	t.Run("without_it_nothing_collides_or_is_lost", func(t *testing.T) {
		a := restored(t)
		a.Exec(`DELETE FROM export_logs WHERE export_id = ?`, testworld.ID(3)) // so that the files are others
		old := map[string]string{}
		for _, key := range a.to.Keys() {
			old[key] = textOf(t, a, key)
		}
		a.cleanLogs(t)
		same(t, "rows left", a.Count(`SELECT count(*) FROM export_logs`), 0)
		for key, text := range old {
			same(t, key, textOf(t, a, key) == text, true)
		}
		rows, most := a.once(t)
		same(t, "found", [2]int{rows, most}, [2]int{59, 1})
	})
	t.Run("leaves_what_is_not_as_it_was_written", func(t *testing.T) {
		a := restored(t)
		keys := slices.DeleteFunc(a.to.Keys(), func(k string) bool { return filepath.Ext(k) == ".json" })
		a.Must(a.to.Flip(keys[0]))
		a.Must(os.Remove(filepath.Join(a.to.Folder, keys[1][:len(keys[1])-len("parquet")]+"json")))
		a.Must(os.WriteFile(filepath.Join(a.to.Folder, filepath.Dir(keys[2]), "notes.txt"), []byte("x"), 0o600))
		got := a.register(t, false)
		same(t, "result", [3]int64{got.Found, got.Registered, got.LeftTotal}, [3]int64{3, 1, 2})
		same(t, "reasons", got.Left[1].Why, "its manifest is missing")
		// The rows make the same file again, whose name is taken by the damaged one:
		// that is found out, nothing is deleted, and the next run takes another name.
		_, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
		same(t, "it fails", exportops.IsKind(err, exportops.KindUnavailable), true)
		a.cleanLogs(t)
		same(t, "rows left", a.Count(`SELECT count(*) FROM export_logs`), 0)
		rows, most := a.once(t)
		same(t, "found", [2]int{rows, most}, [2]int{60, 1})
	})
	t.Run("leaves_rows_that_another_archive_holds", func(t *testing.T) {
		a := restored(t)
		keys := slices.DeleteFunc(a.to.Keys(), func(k string) bool { return filepath.Ext(k) == ".json" })
		text := textOf(t, a, keys[0])
		other := filepath.Join(filepath.Dir(keys[0]), "000009"+filepath.Base(keys[0])[6:])
		a.Must(os.WriteFile(filepath.Join(a.to.Folder, other), []byte(text), 0o600))
		got := a.register(t, false)
		same(t, "result", [3]int64{got.Found, got.Registered, got.LeftTotal}, [3]int64{4, 3, 1})
	})
}

// emptied is a world whose archives are finished, and the first of them.
func emptied(t *testing.T) (archived, exportops.Archive) {
	t.Helper()
	a := newArchived(t)
	return a, a.Archives()[0]
}

func TestRegisterWhatWasMoved(t *testing.T) {
	a, first := emptied(t)
	moved := *a.to
	moved.Name, moved.Folder = "test://moved", filepath.Join(a.Dir, "moved")
	a.Must(os.CopyFS(moved.Folder, os.DirFS(a.to.Folder)))
	before, _ := a.once(t)
	a.to = &moved
	a.keeper.Objects = a.to
	if _, err := a.keeper.Holding(t.Context(), first, another); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Fatalf("it lies elsewhere: %v", err)
	}
	known := a.Archives()
	dry := a.register(t, true)
	same(t, "dry run", [4]int64{dry.Found, dry.Registered, dry.Moved, dry.Rows}, [4]int64{3, 0, 0, 60})
	got := a.register(t, false)
	same(t, "result", [5]int64{got.Found, got.Registered, got.Moved, got.Rows, got.LeftTotal}, [5]int64{3, 3, 3, 60, 0})
	for i := range known {
		known[i].Store = "test://moved"
	}
	same(t, "records", a.Archives(), known)
	a.cleanLogs(t)
	rows, most := a.once(t)
	same(t, "found", [2]int{rows, most}, [2]int{before, 1})
	audit, err := a.keeper.Audit(t.Context(), 0)
	a.Must(err)
	same(t, "audit", [3]int64{audit.Checked, int64(len(audit.Faults)), audit.UnrecordedTotal}, [3]int64{3, 0, 0})
}

func TestLost(t *testing.T) {
	lose := func(a archived, id int64, unseen bool) error {
		_, err := a.keeper.Lose(t.Context(), id, "the disk is broken", "operations", unseen, a.Clock.At())
		return err
	}
	t.Run("and_found_again", func(t *testing.T) {
		a, first := emptied(t)
		if err := lose(a, first.ID, false); !exportops.IsKind(err, exportops.KindConflict) {
			t.Fatalf("its object is there: %v", err)
		}
		aside := filepath.Join(a.Dir, "aside")
		a.Must(os.Rename(filepath.Join(a.to.Folder, first.Key), aside))
		var failed error
		for _, err := range a.keeper.Search(t.Context(), archive.Query{}) {
			failed = errors.Join(failed, err)
		}
		same(t, "the search fails", exportops.IsKind(failed, exportops.KindUnavailable) && strings.Contains(failed.Error(), "is not there"), true)
		if err := lose(a, first.ID, true); !exportops.IsKind(err, exportops.KindInvalid) {
			t.Fatalf("unseen, where it can be looked for: %v", err)
		}
		a.Must(lose(a, first.ID, false))
		now := a.Archives()[0]
		same(t, "it is", [2]string{string(now.State), now.Error}, [2]string{"lost", "lost: the disk is broken (operations)"})
		rows, _ := a.once(t)
		same(t, "found", rows, 60-int(first.Rows))
		a.cleanLogs(t)
		audit, err := a.keeper.Audit(t.Context(), 0)
		a.Must(err)
		same(t, "audit", [3]int64{audit.Checked, int64(len(audit.Faults)), audit.UnrecordedTotal}, [3]int64{2, 0, 0})

		a.Must(os.Rename(aside, filepath.Join(a.to.Folder, first.Key)))
		unknown, err := a.keeper.Unrecorded(t.Context())
		a.Must(err)
		same(t, "unknown", unknown, []string{first.Key})
		got := a.register(t, false)
		same(t, "result", [3]int64{got.Registered, got.Moved, got.LeftTotal}, [3]int64{1, 0, 0})
		a.cleanLogs(t)
		rows, most := a.once(t)
		same(t, "found again", [2]int{rows, most}, [2]int{60, 1})
		same(t, "it is", string(a.Archives()[0].State), "done")
	})
	t.Run("with_its_storage", func(t *testing.T) {
		a, first := emptied(t)
		a.to = &testworld.Objects{Name: "test://new", Folder: t.TempDir()}
		a.keeper.Objects = a.to
		if err := lose(a, first.ID, false); !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Fatalf("nobody looked: %v", err)
		}
		a.Must(lose(a, first.ID, true))
		same(t, "it is", a.Archives()[0].Error, "lost with test://archive, where nobody could look: the disk is broken (operations)")
	})
	t.Run("but_not_what_cannot_be_looked_for", func(t *testing.T) {
		a, first := emptied(t)
		a.to.Opening = func(string) error { return errors.New("the network is down") }
		if err := lose(a, first.ID, false); err == nil {
			t.Fatal("it is lost")
		}
		same(t, "it is", string(a.Archives()[0].State), "done")
	})
}

// What lies under the name of an archive that was removed holds what was to be gone.
func TestWhatWasRemovedIsNotRegistered(t *testing.T) {
	a, first := emptied(t)
	name, err := archive.ParseKey(first.Key)
	a.Must(err)
	was := map[string]string{first.Key: textOf(t, a, first.Key), name.ManifestKey(): textOf(t, a, name.ManifestKey())}
	_, err = a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByCommand, UserID: another})
	a.Must(err)
	for key, text := range was {
		a.Must(os.WriteFile(filepath.Join(a.to.Folder, key), []byte(text), 0o600))
	}
	left, err := a.keeper.Unrecorded(t.Context())
	a.Must(err)
	same(t, "unknown", left, []string{first.Key})
	got := a.register(t, false)
	same(t, "result", [2]int64{got.Registered, got.LeftTotal}, [2]int64{0, 1})
	same(t, "it says that it was removed", strings.Contains(got.Left[0].Why, "delete the object"), true)
}

// The rows of an archive that was registered may be gone: it is never given up.
func TestWhatWasRegisteredIsKeptThoughItIsMisread(t *testing.T) {
	a := restored(t)
	a.Exec(`DELETE FROM export_logs`)
	a.register(t, false)
	key := a.Archives()[0].Key
	a.Must(a.to.Flip(key))
	_, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
	same(t, "it fails", exportops.IsKind(err, exportops.KindUnavailable), true)
	a.Must(a.to.Flip(key))
	a.cleanLogs(t)
	rows, most := a.once(t)
	same(t, "found", [2]int{rows, most}, [2]int{60, 1})
}

func textOf(t *testing.T, a archived, key string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(a.to.Folder, key))
	a.Must(err)
	return string(b)
}
