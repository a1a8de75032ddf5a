package cleanup_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

var byHand = jobs.Request{Job: exportops.Reconcile, Trigger: exportops.ByCommand, Rate: 1 << 30}

// reconcile runs one reconciliation, which must say that nothing failed.
func reconcile(t testing.TB, w *testworld.World, change ...func(*jobs.Request)) exportops.ReconcileResult {
	t.Helper()
	req := byHand
	for _, c := range change {
		c(&req)
	}
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	if a.Failure != "" || !a.Result.Recon.Complete {
		t.Fatalf("%s %+v", a.Failure, a.Result.Recon)
	}
	return *a.Result.Recon
}

// unknown lists what is recorded, as "key: state".
func unknown(w *testworld.World) []string {
	return w.Strings(`SELECT key || ': ' || state FROM exportops_unknown_files ORDER BY key`)
}

func missing(w *testworld.World) []string {
	return w.Strings(`SELECT export_id FROM exportops_missing_files ORDER BY 1`)
}

func wantList(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

func TestTheLifeOfAnUnknownFile(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "known", Expires: never})
	for _, key := range []string{"known", "adopted", "gone", "again", "stays"} {
		w.Write(key, "x")
	}
	r := reconcile(t, w)
	if r.FilesSeen != 5 || r.FilesKnown != 1 || r.UnknownSeen != 4 || len(r.Unknown) != 4 {
		t.Fatalf("%+v", r)
	}
	wantList(t, "at first", unknown(w), "adopted: seen", "again: seen", "gone: seen", "stays: seen")
	w.Clock.Advance(7*day - time.Millisecond)
	w.WriteAt("again", "y", w.Clock.Now().Add(-time.Hour))
	reconcile(t, w)
	wantList(t, "in the grace", unknown(w), "adopted: seen", "again: seen", "gone: seen", "stays: seen")
	w.Clock.Advance(time.Millisecond)
	r = reconcile(t, w)
	wantList(t, "after it", unknown(w), "adopted: quarantined", "again: seen", "gone: quarantined", "stays: quarantined")
	if r.Quarantined != 3 || r.UnknownSeen != 1 {
		t.Fatalf("%+v", r)
	}
	w.Insert(row{ExportID: id(2), URL: "adopted", Status: exportops.Failed})
	w.Must(os.Remove(filepath.Join(w.Folder, "gone")))
	w.Write("stays", "longer") // another file: its grace begins anew
	w.Clock.Advance(6 * day)
	r = reconcile(t, w)
	wantList(t, "later", unknown(w), "adopted: adopted", "again: seen", "gone: gone", "stays: seen")
	if r.Adopted != 1 || r.Gone != 1 {
		t.Fatalf("%+v", r)
	}
	w.Clock.Advance(7 * day)
	reconcile(t, w)
	wantList(t, "at last", unknown(w), "adopted: adopted", "again: quarantined", "gone: gone", "stays: quarantined")
	wantList(t, "files", w.Keys(), "adopted", "again", "known", "stays") // it deletes nothing
}

func TestARowOfAnyKindKnowsItsFile(t *testing.T) {
	w := newWorld(t)
	w.Locator.KeyPrefix = "{user_id}/"
	urls := []string{
		"plain/a.csv", "s3://exports/a%20b", "https://files.example.com/storage/v1/object/public/exports/public/x",
		"https://files.example.com/storage/v1/object/sign/exports/signed?token=abc", "file://" + filepath.ToSlash(w.Folder) + "/local",
		"100%25.md", "https://elsewhere.example.com/cdn/unreadable.csv?v=1", "ftp://x/old%20name",
	}
	for i, key := range []string{"plain/a.csv", "a b", "public/x", "signed", "local", "100%.md", "100%25.md", "some/unreadable.csv", "u/old name"} {
		w.Write(key, "x")
		if i < len(urls) {
			w.Insert(row{ExportID: id(i), URL: urls[i], Status: exportops.Statuses[i%5]})
		}
	}
	r := reconcile(t, w)
	wantList(t, "unknown", unknown(w), "some/unreadable.csv: seen", "u/old name: seen")
	if r.UnreadableRows != 2 || r.UnknownHeldUp != 2 {
		t.Fatalf("%+v", r)
	}
	w.Clock.Advance(30 * day)
	reconcile(t, w)
	wantList(t, "never quarantined", unknown(w), "some/unreadable.csv: seen", "u/old name: seen")
}

func TestAFileThatWasJustWrittenWaits(t *testing.T) {
	w := newWorld(t)
	w.WriteAt("new", "x", w.Clock.Now().Add(-time.Minute))
	w.WriteAt("later", "x", w.Clock.Now().Add(time.Hour))
	if r := reconcile(t, w); r.FilesRecent != 2 || len(unknown(w)) != 0 {
		t.Fatalf("%+v, %q", r, unknown(w))
	}
}

func TestARowThatComesDuringTheWalkKnowsItsFile(t *testing.T) {
	w := newWorld(t)
	w.Write("a", "x")
	w.Files.FileStore = &walked{FileStore: w.Files.FileStore, each: func(int) error {
		w.Insert(row{ExportID: id(1), URL: "a", Timestamp: w.Ago(0)})
		return nil
	}}
	if r := reconcile(t, w); r.FilesKnown != 1 || len(unknown(w)) != 0 {
		t.Fatalf("%+v, %q", r, unknown(w))
	}
}

func TestAClaimedFileIsNeitherUnknownNorMissing(t *testing.T) {
	w := newWorld(t)
	expired(w, 2)
	w.Files.Before = func([]string) error { return errors.New("it dies here") }
	if _, err := w.Runner().Run(t.Context(), cronCall); err == nil {
		t.Fatal("the cleanup was to fail")
	}
	if n := w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`); n != 2 {
		t.Fatalf("%d claims", n)
	}
	// One lost its row, the other its file, and it looks live.
	w.Exec(`DELETE FROM export_logs WHERE export_id = ?`, id(1))
	w.Exec(`UPDATE exportops_deletions SET expires_at = NULL WHERE export_id = ?`, id(2))
	w.Exec(`UPDATE export_logs SET expires_at = NULL WHERE export_id = ?`, id(2))
	w.Must(os.Remove(filepath.Join(w.Folder, "f2")))
	reconcile(t, w)
	wantList(t, "unknown", unknown(w))
	wantList(t, "missing", missing(w))
}

func TestMissingFiles(t *testing.T) {
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1), URL: "there", Expires: never},
		row{ExportID: id(2), URL: "lost", Expires: never},
		row{ExportID: id(3), URL: "also/lost.csv", Expires: w.Ago(-day)},
		row{ExportID: id(4), URL: "was due"}, // the cleanup's business
		row{ExportID: id(5), URL: "failed", Status: exportops.Failed},
		row{ExportID: id(6), URL: "queued", Status: exportops.Queued},
		row{ExportID: id(7), URL: "/api/export/download/x", Expires: never},
		row{ExportID: id(8), URL: "../refused", Expires: never},
		row{ExportID: id(9), URL: "just made", Expires: never, Timestamp: w.Ago(time.Minute)},
		row{ExportID: id(10), URL: "100%25", Expires: never}, // there in its other reading
	)
	w.Write("there", "x")
	w.Write("100%25", "x")
	before := w.Strings(`SELECT json_array(export_id, status, file_url, expires_at, updated_at) FROM export_logs WHERE status <> 'failed' AND status <> 'queued' ORDER BY 1`)
	r := reconcile(t, w)
	wantList(t, "missing", missing(w), id(2), id(3))
	if r.MissingFiles != 2 || len(r.Missing) != 2 || r.Missing[0].Key != "lost" {
		t.Fatalf("%+v", r)
	}
	after := w.Strings(`SELECT json_array(export_id, status, file_url, expires_at, updated_at) FROM export_logs WHERE status <> 'failed' AND status <> 'queued' ORDER BY 1`)
	if d := cmp.Diff(before, after); d != "" {
		t.Fatalf("rows changed (-before +after):\n%s", d)
	}
	events := w.Events.Of(exportops.EventFilesMissing)
	if e, ok := events[0].(exportops.MissingFilesEvent); len(events) != 1 || !ok || !slices.Equal(e.ExportIDs, []string{id(2), id(3)}) {
		t.Fatalf("events %+v", events)
	}
	first := w.Strings(`SELECT first_seen FROM exportops_missing_files WHERE export_id = '` + id(2) + `'`)
	w.Clock.Advance(time.Hour)
	w.Write("also/lost.csv", "back")
	r = reconcile(t, w)
	wantList(t, "missing still", missing(w), id(2), id(9))
	wantList(t, "since", w.Strings(`SELECT first_seen FROM exportops_missing_files WHERE export_id = '`+id(2)+`'`), first...)
	if r.MissingCleared != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestStuckExports(t *testing.T) {
	w := newWorld(t)
	w.Insert(
		row{ExportID: id(1), Status: exportops.Queued, Timestamp: w.Ago(25 * time.Hour)},
		row{ExportID: id(2), Status: exportops.Processing, Timestamp: w.Ago(25 * time.Hour)},
		row{ExportID: id(3), Status: exportops.Processing, Timestamp: w.Ago(23 * time.Hour)},
		row{ExportID: id(4), Status: exportops.Processing, Timestamp: w.Ago(25 * time.Hour)},
		row{ExportID: id(5), Status: exportops.Completed, Timestamp: w.Ago(25 * time.Hour), Expires: never},
	)
	w.Exec(`UPDATE export_logs SET updated_at = ? WHERE export_id = ?`, w.Ago(time.Hour), id(4)) // it is at work
	if r := reconcile(t, w, dryRun); r.WouldFailStuck != 2 || w.Status(1) != exportops.Queued {
		t.Fatalf("%+v", r)
	}
	r := reconcile(t, w)
	if r.StuckFailed != 2 || !slices.Equal(r.Stuck, []string{id(1), id(2)}) {
		t.Fatalf("%+v", r)
	}
	want := map[string]exportops.Status{
		id(1): exportops.Failed, id(2): exportops.Failed, id(3): exportops.Processing, id(4): exportops.Processing, id(5): exportops.Completed,
	}
	if d := cmp.Diff(want, w.Statuses()); d != "" {
		t.Fatal(d)
	}
	wantList(t, "the reason", w.Strings(`SELECT DISTINCT error_message FROM export_logs WHERE status = 'failed'`), "Stuck: no outcome within 24h0m0s")
	wantList(t, "counted as", w.Strings(`SELECT status || ' ' || error_type FROM exportops_export_metrics WHERE export_id IN ('`+id(1)+`', '`+id(2)+`')`),
		"failed Stuck", "failed Stuck")
	if r := reconcile(t, w, func(r *jobs.Request) { r.StuckAfter = 22 * time.Hour }); r.StuckFailed != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestReconcileNeedsItsRoot(t *testing.T) {
	for name, spoil := range map[string]func(w *testworld.World){
		"missing": func(w *testworld.World) { w.Must(os.RemoveAll(w.Folder)) },
		"empty": func(w *testworld.World) {
			w.Must(os.Remove(filepath.Join(w.Folder, "a")))
			w.Must(os.Remove(filepath.Join(w.Folder, "b")))
		},
		"missing before the end": func(w *testworld.World) {
			w.Files.FileStore = &walked{FileStore: w.Files.FileStore, each: func(int) error { return os.RemoveAll(w.Folder) }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Insert(row{ExportID: id(1), URL: "a", Expires: never}, row{ExportID: id(2), URL: "c", Expires: never})
			w.Write("a", "x")
			w.Write("b", "x")
			reconcile(t, w)
			was := append(unknown(w), missing(w)...)
			spoil(w)
			w.Clock.Advance(time.Hour)
			if _, err := w.Runner().Run(t.Context(), byHand); !exportops.IsKind(err, exportops.KindUnavailable) {
				t.Fatalf("error is %v, want unavailable", err)
			}
			wantList(t, "recorded", append(unknown(w), missing(w)...), was...)
		})
	}
}

func TestADryReconciliationChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "lost", Expires: never}, row{ExportID: id(2), Status: exportops.Queued})
	w.Write("unknown", "x")
	before := w.Dump()
	r := reconcile(t, w, dryRun)
	if r.UnknownSeen != 1 || r.MissingFiles != 1 || r.WouldFailStuck != 1 || !r.DryRun {
		t.Fatalf("%+v", r)
	}
	if d := cmp.Diff(before, w.Dump()); d != "" {
		t.Fatal(d)
	}
}

// walked steps in while files are walked through.
type walked struct {
	exportops.FileStore
	each func(n int) error
}

func (f *walked) Walk(ctx context.Context, after string) iter.Seq2[exportops.WalkedFile, error] {
	return func(yield func(exportops.WalkedFile, error) bool) {
		n := 0
		for file, err := range f.FileStore.Walk(ctx, after) {
			if err == nil {
				err = f.each(n)
			}
			if n++; !yield(file, err) || err != nil {
				return
			}
		}
	}
}

// manyFiles makes n files, of which every tenth is unknown, and as many rows
// whose files are missing.
func manyFiles(w *testworld.World, n int) {
	var rows []row
	for i := range n {
		key := fmt.Sprintf("u%d/%05d", i%7, i)
		w.Write(key, "x")
		if i%10 != 0 {
			rows = append(rows, row{ExportID: id(i), URL: key, Expires: never})
			continue
		}
		rows = append(rows, row{ExportID: id(i), URL: key + ".lost", Expires: never})
	}
	w.Insert(rows...)
}

// A run of little time, or one that dies, is gone on with where it stopped, and
// the end is that of a run that was not disturbed.
func TestReconcileGoesOnWhereItStopped(t *testing.T) {
	const n = 2500
	end := func(w *testworld.World) []string {
		return append(w.Strings(`SELECT key || ' ' || state FROM exportops_unknown_files ORDER BY key`), missing(w)...)
	}
	calm := newWorld(t)
	manyFiles(calm, n)
	reconcile(t, calm)
	for name, disturb := range map[string]func(w *testworld.World, n int) error{
		"its time is over": func(w *testworld.World, n int) error {
			if n == 500 {
				w.Clock.Advance(40 * time.Second)
			}
			return nil
		},
		"storage fails": func(_ *testworld.World, n int) error {
			if n == 1800 {
				return errors.New("storage failed")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			manyFiles(w, n)
			files := w.Files.FileStore
			w.Files.FileStore = &walked{FileStore: files, each: func(n int) error { return disturb(w, n) }}
			req := byHand
			req.Budget = time.Minute
			a, err := w.Runner().Run(t.Context(), req)
			if err == nil && a.Run.State != exportops.RunPartial {
				t.Fatalf("the run is %s", a.Run.State)
			}
			if err == nil && (a.Result.Recon.Cursor == "" || a.Result.Recon.Complete) {
				t.Fatalf("%+v", a.Result.Recon)
			}
			w.Files.FileStore = files
			r := reconcile(t, w)
			if err == nil && r.FilesSeen+a.Result.Recon.FilesSeen != n {
				t.Fatalf("%d and %d files seen, of %d", a.Result.Recon.FilesSeen, r.FilesSeen, n)
			}
			if d := cmp.Diff(end(calm), end(w)); d != "" {
				t.Fatalf("(-undisturbed +disturbed):\n%s", strings.Join(strings.Split(d, "\n")[:20], "\n"))
			}
		})
	}
}

// What the walk does not record, as it was written just now or cannot be looked at, is
// there all the same.
func TestAnUnknownFileThatIsWrittenAgainIsNotGone(t *testing.T) {
	w := newWorld(t)
	quarantined(t, w, "again", "goes")
	w.WriteAt("again", "longer", w.Clock.Now())
	w.Must(os.Remove(filepath.Join(w.Folder, "goes")))
	w.Clock.Advance(time.Minute)
	if r := reconcile(t, w, dryRun); r.Gone != 1 || r.FilesRecent != 1 {
		t.Errorf("by a dry run: %+v", r.ReconcileCounts)
	}
	if r := reconcile(t, w); r.Gone != 1 || r.FilesRecent != 1 {
		t.Errorf("%+v", r.ReconcileCounts)
	}
	wantList(t, "at once", unknown(w), "again: quarantined", "goes: gone")
	want(t, "what a plan does", unknownCounts(discard(t, w, unknownPlan(t, w))), "changed 1")
	w.Clock.Advance(time.Hour)
	reconcile(t, w)
	wantList(t, "later", unknown(w), "again: seen", "goes: gone") // its grace begins anew
}
