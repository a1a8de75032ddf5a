package cleanup_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
	"github.com/exportops/exportops/disk"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

var registerCall = jobs.Request{Job: exportops.RegisterArchives, Trigger: exportops.ByCommand}

// behind is a world whose database is a backup of before its rows were archived, those
// of the person among them.
func behind(t *testing.T) *erasable {
	t.Helper()
	a := newArchives(t)
	for _, n := range []int{0, 3, 4, 8} {
		a.Exec(`UPDATE export_logs SET user_id = ? WHERE export_id = ?`, person, id(n))
	}
	_, err := a.Metrics().Roll(t.Context(), a.Clock.At())
	a.Must(err)
	dir := t.TempDir()
	a.Exec(`VACUUM INTO ?`, filepath.Join(dir, "exportops.db"))
	a.mustRun(t)
	kept := a.seen(t)
	w := testworld.New(t, dir)
	w.Write("live", "content")
	return &erasable{archives: &archives{World: w, to: a.to, ids: a.ids}, kept: kept.kept, rows: kept.rows}
}

func (e *erasable) register(t testing.TB) exportops.RegisterResult {
	t.Helper()
	answer, err := e.Runner(e.Archiving(e.to)).Run(t.Context(), registerCall)
	e.Must(err)
	return *answer.Result.Known
}

func TestErasureWhereArchivesAreUnknown(t *testing.T) {
	t.Run("waits_until_they_are_registered", func(t *testing.T) {
		e := behind(t)
		res, err := e.erase(t)
		if !exportops.IsKind(err, exportops.KindRefused) || res.Receipt != nil {
			t.Fatalf("receipt %v, %v", res.Receipt, err)
		}
		e.register(t)
		res, err = e.erase(t)
		e.Must(err)
		if res.Receipt == nil || res.Archived != e.rows {
			t.Errorf("%d archived rows were erased, receipt %v", res.Archived, res.Receipt)
		}
		e.wantErased(t)
	})
	t.Run("none_is_registered_meanwhile_and_one_that_comes_is_told_of", func(t *testing.T) {
		e := behind(t)
		aside := filepath.Join(t.TempDir(), "aside")
		var key string // of an archive that holds the person and others
		for _, k := range e.to.Keys() {
			if body, err := os.ReadFile(filepath.Join(e.to.Folder, k)); err == nil && bytes.Contains(body, []byte(person)) {
				key = k
			}
		}
		e.Must(os.Rename(filepath.Join(e.to.Folder, key), aside))
		e.register(t)
		var met error
		to := *e.to
		to.Created = func(string) error {
			if met == nil {
				e.Must(os.Rename(aside, filepath.Join(e.to.Folder, key)))
				_, met = e.Runner(e.Archiving(e.to)).Run(t.Context(), registerCall)
			}
			return nil
		}
		_, err := e.erase(t, e.Archiving(&to))
		e.Must(err)
		if !exportops.IsKind(met, exportops.KindConflict) {
			t.Errorf("a registration during an erasure: %v", met)
		}
		if got := e.register(t); got.Registered != 1 || len(got.Left) != 1 || got.Left[0].Key != key || !strings.Contains(got.Left[0].Why, "erase these users again") {
			t.Errorf("registered %+v", got)
		}
		k := &archive.Keeper{Store: e.Store, Objects: e.to}
		for found, err := range k.Search(t.Context(), archive.Query{UserID: person}) {
			t.Errorf("found %+v, %v", found, err)
		}
		_, err = e.erase(t)
		e.Must(err)
		e.wantErased(t)
	})
}

// A backup knows archives that erasures have replaced since, or removed.
func TestErasureWhereArchivesAreGone(t *testing.T) {
	e := newErasable(t)
	dir := t.TempDir()
	e.Exec(`VACUUM INTO ?`, filepath.Join(dir, "exportops.db"))
	_, err := e.erase(t)
	e.Must(err)
	w := testworld.New(t, dir)
	w.Write("live", "content")
	e = &erasable{archives: &archives{World: w, to: e.to, ids: e.ids}, kept: e.kept, rows: e.rows}
	e.register(t)
	if res, err := e.erase(t); err == nil || res.Receipt != nil {
		t.Fatalf("receipt %v, %v", res.Receipt, err)
	}
	k := &archive.Keeper{Store: e.Store, Objects: e.to, Dir: t.TempDir()}
	audit, err := k.Audit(t.Context(), 0)
	e.Must(err)
	if len(audit.Faults) == 0 {
		t.Fatal("no archive is missing")
	}
	for _, f := range audit.Faults {
		_, err := k.Lose(t.Context(), f.ID, "erased after the backup", "operations", false, e.Clock.At())
		e.Must(err)
	}
	e.mustRun(t) // finishes what was registered
	res, err := e.erase(t)
	e.Must(err)
	if res.Receipt == nil || res.Archived != 0 {
		t.Errorf("%d archived rows were erased, receipt %v", res.Archived, res.Receipt)
	}
	e.wantErased(t)
}

// EXPORT_ARCHIVE_URL was changed, and what was archived before was copied.
func TestErasureWhereArchivesWereMoved(t *testing.T) {
	e := newErasable(t)
	moved := *e.to
	moved.Name = "test://moved"
	e.to = &moved
	if res, err := e.erase(t); !exportops.IsKind(err, exportops.KindRefused) || res.Receipt != nil {
		t.Fatalf("receipt %v, %v", res.Receipt, err)
	}
	if got := e.register(t); got.Moved == 0 || got.LeftTotal != 0 {
		t.Fatalf("registered %+v", got)
	}
	res, err := e.erase(t)
	e.Must(err)
	if res.Receipt == nil || res.Archived != e.rows {
		t.Errorf("%d archived rows were erased, receipt %v", res.Archived, res.Receipt)
	}
	e.wantErased(t)
}

// The rows of an archive that was registered are restored, and archived again: the file
// is the same.
func TestARegisteredArchiveIsTheOnlyRecordOfItsObject(t *testing.T) {
	e := behind(t)
	// As an erasure leaves them, the archives begin with a later number.
	for _, key := range e.to.Keys() {
		e.Must(e.renumber(key, 2))
	}
	e.register(t)
	e.mustRun(t) // deletes the rows that came back
	k := &archive.Keeper{Store: e.Store, Objects: e.to, Program: "exportops test"}
	e.Must(k.Restore(t.Context(), archive.Query{}, e.Clock.At(), func(archive.Restored) {}))
	e.mustRun(t)
	keys := map[string]int64{}
	for _, a := range e.Archives() {
		if keys[a.Key] != 0 {
			t.Errorf("archives %d and %d are both recorded as %s", a.ID, keys[a.Key], a.Key)
		}
		keys[a.Key] = a.ID
	}
	res, err := e.erase(t)
	if e.Must(err); res.Receipt == nil {
		t.Errorf("no receipt: %+v", res)
	}
}

// renumber gives an object, archive or manifest, another number of its month.
func (e *erasable) renumber(key string, n int) error {
	name, err := archive.ParseKey(key)
	if err != nil {
		return err
	}
	was := name.Key()
	name.Sequence = int64(n)
	to := name.Key()
	body, err := os.ReadFile(filepath.Join(e.to.Folder, key))
	if err == nil && filepath.Ext(key) == ".json" {
		to, body = name.ManifestKey(), bytes.ReplaceAll(body, []byte(was), []byte(to))
	}
	return errors.Join(err, os.WriteFile(filepath.Join(e.to.Folder, to), body, 0o600), os.Remove(filepath.Join(e.to.Folder, key)))
}

func TestErasureRemovesWhatAKilledLogCleanupLeft(t *testing.T) {
	e := newErasable(t)
	o, err := disk.OpenObjects(e.to.Folder)
	e.Must(err)
	defer o.Close()
	var body []byte // of an archive that holds the person
	for _, k := range e.to.Keys() {
		if b, err := os.ReadFile(filepath.Join(e.to.Folder, k)); err == nil && bytes.Contains(b, []byte(person)) {
			body = b
		}
	}
	left := filepath.Join(e.to.Folder, "export_logs", ".exportops-new-ABC")
	e.Must(os.WriteFile(left, body, 0o600))
	_, err = e.erase(t, through(sweeping{e.to, o}, func(s jobs.Store) jobs.Store { return s }))
	e.Must(err)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
}

func TestALogCleanupRemovesWhatAKilledOneLeft(t *testing.T) {
	a := newArchives(t)
	a.mustRun(t)
	o, err := disk.OpenObjects(a.to.Folder)
	a.Must(err)
	defer o.Close()
	left := filepath.Join(a.to.Folder, "export_logs", ".exportops-new-ABC")
	a.Must(os.WriteFile(left, []byte("rows"), 0o600))
	_, err = a.Runner(through(sweeping{a.to, o}, func(s jobs.Store) jobs.Store { return s })).Run(t.Context(), logCall)
	a.Must(err)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", left, err)
	}
}

// sweeping are a test's objects that are swept as a folder is.
type sweeping struct {
	*testworld.Objects
	folder *disk.Objects
}

func (s sweeping) Sweep(ctx context.Context) ([]string, error) { return s.folder.Sweep(ctx) }
