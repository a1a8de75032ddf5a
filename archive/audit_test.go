package archive_test

import (
	"context"
	"fmt"
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

const another = "6e2f1d2f-3c4b-4d5e-9f70-8192a3b4c5d6"

// archived is a world whose rows of July, August and September are archived: one a
// day, every other of another user.
type archived struct {
	*testworld.World
	to     *testworld.Objects
	keeper *archive.Keeper
}

func newArchived(t *testing.T) archived {
	t.Helper()
	w := testworld.New(t, t.TempDir())
	for i := range 60 {
		r := testworld.Row{
			ExportID: testworld.ID(i), Status: exportops.Failed, Error: fmt.Sprintf("Timeout: %d", i), Expires: testworld.Never,
			Timestamp: w.Ago(time.Duration(40+i) * testworld.Day), Format: string(exportops.Formats[i%4]),
		}
		if i%2 == 1 {
			r.UserID = another
		}
		w.Insert(r)
	}
	a := archived{World: w, to: w.Objects()}
	a.keeper = &archive.Keeper{Store: w.Store, Objects: a.to, Dir: t.TempDir(), Program: "exportops test"}
	a.cleanLogs(t)
	if n := len(w.Archives()); n != 3 || w.Count(`SELECT count(*) FROM export_logs`) != 0 {
		t.Fatalf("there are %d archives, want 3", n)
	}
	return a
}

func (a archived) cleanLogs(t *testing.T) {
	t.Helper()
	_, err := a.Runner(a.Archiving(a.to)).Run(t.Context(), jobs.Request{Job: exportops.LogCleanup, Trigger: exportops.ByCron})
	a.Must(err)
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func TestAudit(t *testing.T) {
	audit := func(t *testing.T, a archived, sample int) archive.Audit {
		t.Helper()
		found, err := a.keeper.Audit(t.Context(), sample)
		a.Must(err)
		left, err := os.ReadDir(a.keeper.Dir)
		a.Must(err)
		same(t, "temporary files", len(left), 0)
		return found
	}
	t.Run("finds_all_as_it_was_written", func(t *testing.T) {
		a := newArchived(t)
		var bytes int64
		for _, x := range a.Archives() {
			bytes += x.Bytes
		}
		before := a.Dump()
		same(t, "found", audit(t, a, 0), archive.Audit{
			Archives: 3, Checked: 3, Rows: 60, Bytes: bytes, Faults: []archive.Fault{}, Unrecorded: []string{},
		})
		same(t, "a sample", audit(t, a, 2).Checked, 2)
		same(t, "more than there are", audit(t, a, 9).Checked, 3)
		same(t, "database", a.Dump(), before)
	})
	for name, c := range map[string]struct {
		damage func(a archived, key, manifest string) error
		says   string
	}{
		"a_flipped_byte": {func(a archived, key, _ string) error { return a.to.Flip(key) }, "its SHA-256 is not what it was"},
		"a_cut": {func(a archived, key, _ string) error {
			return os.Truncate(filepath.Join(a.to.Folder, key), 100)
		}, "another size"},
		"more_than_was_written": {func(a archived, key, _ string) error {
			f, err := os.OpenFile(filepath.Join(a.to.Folder, key), os.O_APPEND|os.O_WRONLY, 0)
			a.Must(err)
			_, err = f.WriteString("x")
			a.Must(err)
			return f.Close()
		}, "another size"},
		"its_loss":                 {func(a archived, key, _ string) error { return a.to.Delete(a.Context(), key) }, "there is no such object"},
		"the_loss_of_its_manifest": {func(a archived, _, m string) error { return a.to.Delete(a.Context(), m) }, "its manifest is missing"},
		"a_manifest_that_is_none": {func(a archived, _, m string) error {
			return os.WriteFile(filepath.Join(a.to.Folder, m), []byte("{}"), 0o600)
		}, "its manifest is none"},
		"the_manifest_of_another": {func(a archived, _, m string) error {
			other := strings.TrimSuffix(a.Archives()[0].Key, ".parquet") + ".json"
			text, err := os.ReadFile(filepath.Join(a.to.Folder, other))
			a.Must(err)
			return os.WriteFile(filepath.Join(a.to.Folder, m), text, 0o600)
		}, "describes another archive"},
		"a_record_that_counts_otherwise": {func(a archived, key, _ string) error {
			a.Exec(`UPDATE exportops_archives SET rows = rows + 1 WHERE key = ?`, key)
			return nil
		}, "rows, and"},
		"another_storage": {func(a archived, key, _ string) error {
			a.Exec(`UPDATE exportops_archives SET store = 'file:///elsewhere' WHERE key = ?`, key)
			return nil
		}, "lies in file:///elsewhere"},
	} {
		t.Run("finds_"+name, func(t *testing.T) {
			a := newArchived(t)
			key := a.Archives()[1].Key
			a.Must(c.damage(a, key, strings.TrimSuffix(key, ".parquet")+".json"))
			found := audit(t, a, 0)
			if len(found.Faults) != 1 || found.Faults[0].Key != key || !strings.Contains(found.Faults[0].Fault, c.says) {
				t.Fatalf("found %+v, want that of %s it says %q", found, key, c.says)
			}
			same(t, "checked", found.Checked, 3)
		})
	}
	t.Run("names_what_no_record_knows", func(t *testing.T) {
		a := newArchived(t)
		stray := "export_logs/year=2025/month=08/000009-01020304.parquet"
		a.Must(a.to.Put(stray, []byte("x")))
		a.Must(a.to.Put("something/else", []byte("x")))
		found := audit(t, a, 1)
		same(t, "unrecorded", found.Unrecorded, []string{stray})
		same(t, "faults", len(found.Faults), 0)
	})
}

func TestSearch(t *testing.T) {
	a := newArchived(t)
	at := func(days int) exportops.Time {
		return exportops.At(testworld.Noon.Add(-time.Duration(days) * testworld.Day))
	}
	for name, c := range map[string]struct {
		q    archive.Query
		want func(i int) bool
	}{
		"everything":        {archive.Query{}, func(int) bool { return true }},
		"a_user":            {archive.Query{UserID: strings.ToUpper(another)}, func(i int) bool { return i%2 == 1 }},
		"an_export":         {archive.Query{ExportID: testworld.ID(7)}, func(i int) bool { return i == 7 }},
		"a_format":          {archive.Query{Format: exportops.JSONL}, func(i int) bool { return i%4 == 1 }},
		"a_time":            {archive.Query{From: at(50), To: at(45)}, func(i int) bool { return i > 5 && i <= 10 }},
		"from_then_on":      {archive.Query{From: at(45)}, func(i int) bool { return i <= 5 }},
		"up_to_then":        {archive.Query{To: at(95)}, func(i int) bool { return i > 55 }},
		"a_user_and_a_time": {archive.Query{UserID: another, From: at(45)}, func(i int) bool { return i <= 5 && i%2 == 1 }},
		"nobody":            {archive.Query{UserID: exportops.NewID()}, func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := []string{}, []string{}
			for i := range 60 {
				if c.want(i) {
					want = append(want, testworld.ID(i))
				}
			}
			for found, err := range a.keeper.Search(t.Context(), c.q) {
				a.Must(err)
				if !strings.HasPrefix(found.Archive, "export_logs/year=2025/month=") {
					t.Errorf("it lies in %q", found.Archive)
				}
				got = append(got, found.ExportID)
			}
			slices.Sort(got)
			same(t, "found", got, want)
		})
	}
	t.Run("reads_no_archive_of_another_time", func(t *testing.T) {
		read := 0
		a.to.Opening = func(string) error { read++; return nil }
		for _, err := range a.keeper.Search(t.Context(), archive.Query{From: at(42)}) {
			a.Must(err)
		}
		same(t, "archives that were read", read, 1)
		a.to.Opening = nil
	})
	t.Run("ends_with_an_error_where_an_archive_is_damaged", func(t *testing.T) {
		damaged := a.Archives()[2].Key
		a.Must(a.to.Flip(damaged))
		n := 0
		var last error
		for found, err := range a.keeper.Search(t.Context(), archive.Query{}) {
			if last = err; err == nil && found.Archive == damaged {
				t.Fatal("a row of it was handed out")
			}
			n++
		}
		if last == nil || !strings.Contains(last.Error(), damaged) {
			t.Fatalf("after %d rows: %v", n, last)
		}
	})
}

func TestRestore(t *testing.T) {
	restore := func(t *testing.T, a archived, q archive.Query) (found, fresh int64) {
		t.Helper()
		a.Must(a.keeper.Restore(t.Context(), q, a.Clock.At(), func(r archive.Restored) { found, fresh = found+r.Found, fresh+r.Fresh }))
		return found, fresh
	}
	a := newArchived(t)
	year := func() exportops.Summary {
		s, err := a.Metrics().Aggregate(t.Context(), exportops.At(testworld.Noon.AddDate(-1, 0, 0)), a.Clock.At(), exportops.Daily)
		a.Must(err)
		return s
	}
	counted := year()
	same(t, "exports", counted.TotalExports, 60)
	found, fresh := restore(t, a, archive.Query{UserID: another})
	same(t, "of a user", [2]int64{found, fresh}, [2]int64{30, 30})
	found, fresh = restore(t, a, archive.Query{})
	same(t, "then all", [2]int64{found, fresh}, [2]int64{60, 30})
	same(t, "rows", a.Count(`SELECT count(*) FROM export_logs`), 60)
	_, err := a.Metrics().Roll(t.Context(), a.Clock.At())
	a.Must(err)
	same(t, "the year, with its rows again", year(), counted)
	before, _ := a.Archived(a.to)
	a.cleanLogs(t)
	_, times := a.Archived(a.to)
	if len(times) != len(before) || a.Count(`SELECT count(*) FROM export_logs`) != 0 {
		t.Fatalf("%d rows are in archives, and %d in the table", len(times), a.Count(`SELECT count(*) FROM export_logs`))
	}
	same(t, "the year, without them", year(), counted)
}

// What a verification finds stays with the archive until a later one finds it right.
func TestWhatAnAuditFoundIsKept(t *testing.T) {
	a := newArchived(t)
	faulty := func() int64 {
		t.Helper()
		b, err := a.Store.Backlog(t.Context(), exportops.BacklogSpan{Now: a.Clock.At(), Stuck: a.Clock.At()})
		a.Must(err)
		return b.FaultyArchives
	}
	audit := func(sample int) archive.Audit {
		t.Helper()
		found, err := a.keeper.Audit(t.Context(), sample)
		a.Must(err)
		return found
	}
	audit(0)
	same(t, "faulty at first", faulty(), 0)
	bad := a.Archives()[1]
	a.Must(a.to.Flip(bad.Key))
	audit(0)
	same(t, "faulty after a byte was flipped", faulty(), 1)
	for range 5 { // a sample takes it in, whichever else it takes
		found := audit(1)
		same(t, "checked", found.Checked, 1)
		same(t, "faults", len(found.Faults), 1)
		same(t, "archives", found.Archives, 3)
	}
	a.Must(a.to.Flip(bad.Key)) // as it was
	same(t, "faults once it is restored", len(audit(1).Faults), 0)
	same(t, "faulty once it is restored", faulty(), 0)

	a.Must(a.to.Flip(bad.Key))
	record, err := a.Store.Archive(t.Context(), bad.ID)
	a.Must(err)
	fault, err := a.keeper.Verify(t.Context(), record)
	a.Must(err)
	if fault == "" || faulty() != 1 {
		t.Fatalf("one by one: %q, %d are faulty", fault, faulty())
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a.Must(a.to.Flip(bad.Key))
	if record, err = a.Store.Archive(t.Context(), bad.ID); err == nil {
		_, err = a.keeper.Verify(gone, record)
	}
	if err == nil || faulty() != 1 {
		t.Fatalf("one that was given up in the middle: %v, %d are faulty", err, faulty())
	}
}

func TestARowOfTheZeroTimeIsFoundByTime(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	a := archived{World: w, to: w.Objects()}
	a.keeper = &archive.Keeper{Store: a.Store, Objects: a.to, Program: "exportops test"}
	a.Insert(testworld.Row{ExportID: testworld.ID(1), Status: exportops.Failed, Expires: testworld.Never, Timestamp: exportops.Time{}.String(), Created: a.Ago(100 * testworld.Day)})
	_, err := a.Metrics().Roll(t.Context(), a.Clock.At())
	a.Must(err)
	a.cleanLogs(t)
	n := 0
	for _, err := range a.keeper.Search(t.Context(), archive.Query{To: a.Clock.At()}) {
		a.Must(err)
		n++
	}
	same(t, "found", n, 1)
}
