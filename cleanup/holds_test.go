package cleanup_test

import (
	"context"
	"errors"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
	"github.com/exportops/exportops/sqlite"
)

func holdOn(exportID string) exportops.Hold {
	return exportops.Hold{Scope: exportops.HoldExport, Subject: exportID, Reason: "a case", PlacedBy: "counsel"}
}

func hold(t testing.TB, w *testworld.World, scope exportops.HoldScope, subject string) exportops.Hold {
	t.Helper()
	h := holdOn(subject)
	h.Scope, h.PlacedAt = scope, w.Clock.At()
	h, err := w.Store.PlaceHold(t.Context(), h, w.Locator)
	w.Must(err)
	return h
}

func release(w *testworld.World, h exportops.Hold) {
	_, err := w.Store.ReleaseHold(w.Context(), h.ID, "counsel", w.Clock.At())
	w.Must(err)
}

// stalling calls claiming before each claim that the store makes: after the run
// has looked who shares which file.
type stalling struct {
	*sqlite.Store
	claiming func()
}

func (s stalling) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (exportops.ClaimPage, error) {
	s.claiming()
	return s.Store.ClaimFiles(ctx, c, r)
}

func TestAHeldFile(t *testing.T) {
	holds := map[string]func(testing.TB, *testworld.World) exportops.Hold{
		"export": func(t testing.TB, w *testworld.World) exportops.Hold { return hold(t, w, exportops.HoldExport, id(1)) },
		"user":   func(t testing.TB, w *testworld.World) exportops.Hold { return hold(t, w, exportops.HoldUser, other) },
	}
	for what, place := range holds {
		for mode, change := range map[string][]func(*jobs.Request){"expiry": nil, "age": {byAge(24)}} {
			t.Run("stays_in_a_cleanup_by_"+mode+"_under_a_hold_on_its_"+what, func(t *testing.T) {
				w := newWorld(t)
				w.Insert(row{ExportID: id(1), UserID: other, URL: "held"}, row{ExportID: id(2), URL: "free"}, row{ExportID: id(3), UserID: other})
				w.Write("held", "x")
				w.Write("free", "x")
				h := place(t, w)
				dry, result := "found 3 no_file 1 held 1 would 1", "found 3 deleted 1 no_file 1 held 1 updated 2"
				if what == "user" {
					dry, result = "found 3 held 2 would 1", "found 3 deleted 1 held 2 updated 1"
				}
				want(t, "dry run", counts(clean(t, w, append(change, dryRun)...)), dry)
				want(t, "result", counts(clean(t, w, change...)), result)
				wantKeys(t, w, "held")
				want(t, "status", w.Status(1), exportops.Completed)
				release(w, h)
				if got := clean(t, w, change...); got.DeletedCount != 1 || got.Held != 0 {
					t.Errorf("after the release: %s", counts(got))
				}
				wantKeys(t, w)
			})
		}
	}
	t.Run("and_all_others_stay_under_a_hold_on_everything", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "a"}, row{ExportID: id(2), URL: "../b"}, row{ExportID: id(3)})
		w.Write("a", "x")
		h := hold(t, w, exportops.HoldAll, "")
		want(t, "dry run", counts(clean(t, w, dryRun)), "found 3 held 3")
		want(t, "result", counts(clean(t, w)), "found 3 held 3")
		release(w, h)
		want(t, "result", counts(clean(t, w, dryRun)), "found 3 no_file 1 failed 1 would 1")
	})
	t.Run("is_kept_for_a_held_row_of_any_status_that_names_it", func(t *testing.T) {
		for form, url := range forms(newWorld(t)) {
			for _, status := range exportops.Statuses {
				w := newWorld(t)
				w.Insert(row{ExportID: id(1), URL: "u/a%20b"}, row{ExportID: id(2), URL: forms(w)[form], Status: status, Expires: w.Ago(-day)})
				w.Write("u/a b", "x")
				h := hold(t, w, exportops.HoldExport, id(2))
				want(t, form+" dry run", counts(clean(t, w, dryRun)), "found 1 held 1")
				want(t, form+" of one "+string(status), counts(clean(t, w)), "found 1 held 1")
				release(w, h)
				if status == exportops.Failed || status == exportops.Expired {
					want(t, url+" after the release", counts(clean(t, w)), "found 1 deleted 1 updated 1")
				}
			}
		}
	})
	t.Run("is_kept_for_a_row_that_comes_under_a_hold_before_the_claim", func(t *testing.T) {
		for _, shared := range []bool{false, true} { // the second needs an exact look as well
			w := newWorld(t)
			w.Insert(row{ExportID: id(1), URL: "k"}, row{ExportID: id(2), URL: "s3://exports/k", Status: exportops.Expired})
			if shared {
				w.Insert(row{ExportID: id(3), URL: "file://" + w.Folder + "/k"})
			}
			w.Write("k", "x")
			placed := 0
			_, err := w.Runner(func(o *jobs.Options) {
				o.Store = stalling{w.Store, func() {
					if placed++; placed == 1 && !shared || placed == 2 && shared {
						hold(t, w, exportops.HoldExport, id(2))
					}
				}}
			}).Run(t.Context(), cronCall)
			w.Must(err)
			wantKeys(t, w, "k")
			if placed < 2 {
				t.Errorf("%d claims were made, want an exact look after the first", placed)
			}
		}
	})
	t.Run("whose_deletion_has_begun_cannot_be_held", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "k"}, row{ExportID: id(2), URL: "s3://exports/k", Status: exportops.Expired})
		w.Write("k", "x")
		refused := 0
		w.Files.Before = func([]string) error {
			for _, n := range []int{1, 2} {
				if _, err := w.Store.PlaceHold(t.Context(), holdOn(id(n)), w.Locator); exportops.IsKind(err, exportops.KindConflict) {
					refused++
				}
			}
			return nil
		}
		want(t, "result", counts(clean(t, w)), "found 1 deleted 1 updated 1")
		want(t, "refused", refused, 2)
	})
	t.Run("that_failed_before_the_hold_counts_once", func(t *testing.T) {
		w := newWorld(t)
		w.Insert(row{ExportID: id(1), URL: "k"})
		w.Write("k", "x")
		diesBefore(t, w)
		w.Files.Fail = map[string]error{"k": errors.New("permission denied")}
		placed := false
		a, err := w.Runner(func(o *jobs.Options) {
			o.Store = stalling{w.Store, func() {
				if !placed {
					placed = true
					hold(t, w, exportops.HoldExport, id(1))
				}
			}}
		}).Run(t.Context(), cronCall)
		w.Must(err)
		want(t, "result", counts(*a.Result.Files), "found 1 failed 1 recovered 1")
		want(t, "the next run", counts(clean(t, w)), "found 1 held 1")
	})
}

func TestAHeldLogRow(t *testing.T) {
	for what, place := range map[string]func(testing.TB, *testworld.World) exportops.Hold{
		"export": func(t testing.TB, w *testworld.World) exportops.Hold { return hold(t, w, exportops.HoldExport, id(1)) },
		"user":   func(t testing.TB, w *testworld.World) exportops.Hold { return hold(t, w, exportops.HoldUser, other) },
		"all":    func(t testing.TB, w *testworld.World) exportops.Hold { return hold(t, w, exportops.HoldAll, "") },
	} {
		t.Run("stays_with_its_file_under_a_hold_on_"+what, func(t *testing.T) {
			w := newWorld(t)
			long := w.Ago(40 * day)
			w.Insert(row{ExportID: id(1), UserID: other, URL: "held", Status: exportops.Expired, Timestamp: long},
				row{ExportID: id(2), URL: "free", Status: exportops.Expired, Timestamp: long},
				row{ExportID: id(3), Status: exportops.Failed, Timestamp: long})
			w.Write("held", "x")
			w.Write("free", "x")
			h := place(t, w)
			result, keys := "found 3 deleted 2 held 1 files 1", []string{"held"}
			if what == "all" {
				result, keys = "found 3 held 3", []string{"free", "held"}
			}
			dry := cleanLogs(t, w, dryRun)
			got := cleanLogs(t, w)
			want(t, "result", logCounts(got), result)
			want(t, "dry run", dryLog(dry), dryLog(got))
			wantKeys(t, w, keys...)
			if what == "user" {
				want(t, "the user's own", logCounts(cleanLogs(t, w, ofUser(other))), "found 1 held 1")
			}
			release(w, h)
			if got := cleanLogs(t, w); got.KeptHeld != 0 || w.Count(`SELECT count(*) FROM export_logs`) != 0 {
				t.Errorf("after the release: %s", logCounts(got))
			}
			wantKeys(t, w)
		})
	}
}
