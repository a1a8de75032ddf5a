package cleanup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/jobs"
)

// quarantined writes files that no row names, and lets their grace go by.
func quarantined(t testing.TB, w *testworld.World, keys ...string) {
	t.Helper()
	for _, key := range keys {
		w.Write(key, "content")
	}
	reconcile(t, w)
	w.Clock.Advance(8 * day)
	reconcile(t, w)
}

// unknownPlan makes a plan of what is quarantined.
func unknownPlan(t testing.TB, w *testworld.World) []byte {
	t.Helper()
	var out bytes.Buffer
	a, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.UnknownCleanup, DryRun: true, PlanOut: &out})
	w.Must(err)
	wantUnknownSum(t, *a.Result.Unknown)
	return out.Bytes()
}

func discarding(t testing.TB, plan []byte) func(*jobs.Request) {
	p := readPlan(t, plan)
	return func(r *jobs.Request) {
		*r = jobs.Request{Job: exportops.UnknownCleanup, Trigger: exportops.ByCommand, Plan: p}
	}
}

// discard applies a plan to its end.
func discard(t testing.TB, w *testworld.World, plan []byte) exportops.UnknownCleanupResult {
	t.Helper()
	var req jobs.Request
	discarding(t, plan)(&req)
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	wantUnknownSum(t, *a.Result.Unknown)
	return *a.Result.Unknown
}

func wantUnknownSum(t testing.TB, r exportops.UnknownCleanupResult) {
	t.Helper()
	was := r.TotalFound
	if r.SumUp(); r.TotalFound != was {
		t.Errorf("total_found is %d, and its parts add up to %d", was, r.TotalFound)
	}
}

// unknownCounts says what a result counts, in short.
func unknownCounts(r exportops.UnknownCleanupResult) string {
	var parts []string
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"deleted", r.DeletedCount},
		{"failed", r.FailedCount},
		{"absent", r.AlreadyAbsent},
		{"changed", r.Changed},
		{"named", r.KeptNamed},
		{"unclear", r.KeptUnclear},
		{"held", r.KeptHeld},
		{"claimed", r.KeptClaimed},
		{"archive", r.KeptArchive},
		{"not_ours", r.KeptNotOurs},
		{"in_grace", r.KeptInGrace},
		{"would", r.WouldDelete},
		{"remaining", r.Remaining},
		{"closed", r.Closed},
	} {
		if c.n != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.name, c.n))
		}
	}
	return strings.Join(parts, " ")
}

func unknownEntries(w *testworld.World) []string {
	return w.Strings(`SELECT key || ': ' || state || ' ' || evidence FROM exportops_deletions WHERE mode = 'unknown' ORDER BY key`)
}

func TestAPlanOfUnknownFiles(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), URL: "known", Expires: never})
	w.Write("known", "x")
	quarantined(t, w, "a", "b/c", "export_logs/year=2025/month=10/000001-5f70bf18.parquet")
	w.Write("young", "x")
	reconcile(t, w)
	plan := unknownPlan(t, w)
	wantKeys(t, w, "a", "b/c", "export_logs/year=2025/month=10/000001-5f70bf18.parquet", "known", "young")
	p := readPlan(t, plan)
	got := map[string]string{}
	for e, err := range p.UnknownEntries() {
		w.Must(err)
		got[e.Key] = strings.TrimSpace(e.Do + " " + string(e.Why))
	}
	want(t, "entries", got, map[string]string{
		"a": "delete", "b/c": "delete", "export_logs/year=2025/month=10/000001-5f70bf18.parquet": "keep archive",
	})
	want(t, "bytes", p.Totals.Bytes, int64(14))

	res := discard(t, w, plan)
	want(t, "result", unknownCounts(res), "deleted 2")
	want(t, "bytes", res.BytesFreed, int64(14))
	want(t, "plan", res.Plan, p.SHA256)
	wantKeys(t, w, "export_logs/year=2025/month=10/000001-5f70bf18.parquet", "known", "young")
	wantList(t, "ledger", unknownEntries(w), "a: deleted confirmed", "b/c: deleted confirmed")
	wantList(t, "records", unknown(w), "a: gone", "b/c: gone", "export_logs/year=2025/month=10/000001-5f70bf18.parquet: quarantined", "young: seen")
	want(t, "an event", len(w.Events.Of(exportops.EventUnknownComplete)), 1)
	want(t, "applied again", unknownCounts(discard(t, w, plan)), "")
	chained := w.Count(`SELECT count(*) FROM exportops_deletions WHERE chain_day IS NOT NULL`)
	want(t, "links", chained, int64(2))
}

func TestAnUnknownFileIsKept(t *testing.T) {
	for name, x := range map[string]struct {
		meanwhile func(*testworld.World)
		want      string
	}{
		"when_a_row_names_it": {func(w *testworld.World) { w.Insert(row{ExportID: id(1), URL: "dir/a", Expires: never}) }, "named 1"},
		"when_a_row_names_it_in_a_url": {func(w *testworld.World) {
			w.Insert(row{ExportID: id(1), URL: "s3://exports/dir%2Fa", Status: exportops.Failed})
		}, "named 1"},
		"when_a_row_names_it_as_an_image": {func(w *testworld.World) {
			w.Insert(row{ExportID: id(1), URL: "https://files.example.com/storage/v1/render/image/public/exports/dir/a", Expires: never})
		}, "named 1"},
		"when_a_row_of_our_host_may": {func(w *testworld.World) {
			w.Insert(row{ExportID: id(1), URL: "https://files.example.com//exports/dir/a", Expires: never})
		}, "unclear 1"},
		"when_an_unreadable_row_may":     {func(w *testworld.World) { w.Insert(row{ExportID: id(1), URL: "ftp://x/a?b"}) }, "unclear 1"},
		"when_it_was_written_again":      {func(w *testworld.World) { w.WriteAt("dir/a", "CONTENT", w.Clock.Now()) }, "changed 1"},
		"when_it_has_another_old_time":   {func(w *testworld.World) { w.WriteAt("dir/a", "CONTENT", w.Clock.Now().Add(-100*day)) }, "changed 1"},
		"when_its_size_is_another":       {func(w *testworld.World) { w.Write("dir/a", "longer than before") }, "changed 1"},
		"when_it_is_recorded_as_adopted": {func(w *testworld.World) { w.Exec(`UPDATE exportops_unknown_files SET state = 'adopted'`) }, "named 1"},
		"when_its_grace_began_anew":      {func(w *testworld.World) { w.Exec(`UPDATE exportops_unknown_files SET state = 'seen'`) }, "in_grace 1"},
		"when_it_is_not_recorded":        {func(w *testworld.World) { w.Exec(`DELETE FROM exportops_unknown_files`) }, "changed 1"},
		"when_everything_is_held":        {func(w *testworld.World) { hold(t, w, exportops.HoldAll, "") }, "held 1"},
		"when_it_lies_outside_by_now":    {func(w *testworld.World) { w.Locator.Prefix = "di/" }, "not_ours 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			quarantined(t, w, "dir/a")
			plan := unknownPlan(t, w)
			want(t, "listed", readPlan(t, plan).Totals.Delete, int64(1))
			x.meanwhile(w)
			want(t, "result", unknownCounts(discard(t, w, plan)), x.want)
			wantKeys(t, w, "dir/a")
		})
	}
}

func TestAHoldKeepsUnknownFilesUnderItsKey(t *testing.T) {
	w := newWorld(t)
	quarantined(t, w, strings.ToUpper(testworld.User)+"/a", "z")
	hold(t, w, exportops.HoldUser, testworld.User)
	want(t, "result", unknownCounts(discard(t, w, unknownPlan(t, w))), "deleted 1 held 1")
	wantKeys(t, w, strings.ToUpper(testworld.User)+"/a")
}

// A row may come to name a file between the look at the beginning and the claim,
// without a timestamp that tells.
func TestARowThatComesToNameAClaimedFile(t *testing.T) {
	w := newWorld(t)
	w.Insert(row{ExportID: id(1), Timestamp: w.Ago(100 * day), Status: exportops.Processing, Expires: never})
	quarantined(t, w, "a", "b")
	plan := unknownPlan(t, w)
	named := false
	r := w.Runner(func(o *jobs.Options) {
		o.Store = &claiming{Store: o.Store, claimed: func() {
			named = true
			w.Exec(`UPDATE export_logs SET status = 'completed', file_url = 'b' WHERE export_id = ?`, id(1))
			_, err := w.Store.PlaceHold(t.Context(), exportops.Hold{
				Scope: exportops.HoldExport, Subject: id(1), Reason: "r", PlacedBy: "p", PlacedAt: w.Clock.At(),
			}, w.Locator)
			if !exportops.IsKind(err, exportops.KindConflict) {
				t.Errorf("a hold on a claimed file: %v", err)
			}
		}}
	})
	var req jobs.Request
	discarding(t, plan)(&req)
	a, err := r.Run(t.Context(), req)
	w.Must(err)
	want(t, "named in time", named, true)
	want(t, "result", unknownCounts(*a.Result.Unknown), "deleted 1 named 1")
	wantKeys(t, w, "b")
	wantList(t, "ledger", unknownEntries(w), "a: deleted confirmed", "b: changed ")
}

// claiming calls claimed after files were claimed.
type claiming struct {
	jobs.Store
	claimed func()
}

func (c *claiming) ClaimUnknown(ctx context.Context, cp exportops.Checkpoint, bucket string, files []exportops.UnknownFile) (
	[]exportops.UnknownClaim, error,
) {
	out, err := c.Store.ClaimUnknown(ctx, cp, bucket, files)
	c.claimed()
	return out, err
}

func TestAPlanOfUnknownFilesThatWasInterruptedGoesOn(t *testing.T) {
	for name, dies := range map[string]func(testing.TB, *testworld.World, ...func(*jobs.Request)){
		"before_a_batch_is_deleted": diesBefore, "after_it_was": diesAfter,
	} {
		for _, again := range []string{"at_once", "after_a_comparison", "after_a_file_cleanup"} {
			t.Run(name+"/"+again, func(t *testing.T) {
				w := newWorld(t)
				w.Files.Batch = 4
				var keys []string
				for i := range 10 {
					keys = append(keys, fmt.Sprintf("f%d", i))
				}
				quarantined(t, w, keys...)
				plan := unknownPlan(t, w)
				dies(t, w, discarding(t, plan))
				want(t, "claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(4))
				switch again {
				case "after_a_comparison":
					reconcile(t, w)
					want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(0))
				case "after_a_file_cleanup":
					clean(t, w)
					want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(4))
				}
				res := discard(t, w, plan)
				want(t, "complete", res.Complete, true)
				if again != "after_a_comparison" {
					want(t, "result", unknownCounts(res), "deleted 10")
				}
				wantKeys(t, w)
				want(t, "open claims", w.Count(`SELECT count(*) FROM exportops_deletions WHERE state = 'claimed'`), int64(0))
				want(t, "gone", w.Count(`SELECT count(*) FROM exportops_unknown_files WHERE state = 'gone'`), int64(10))
			})
		}
	}
}

func TestUnknownFilesThatCannotBeDeleted(t *testing.T) {
	w := newWorld(t)
	quarantined(t, w, "a", "b")
	plan := unknownPlan(t, w)
	w.Files.Fail = map[string]error{"a": os.ErrPermission}
	var req jobs.Request
	discarding(t, plan)(&req)
	for range 6 {
		a, err := w.Runner().Run(t.Context(), req)
		w.Must(err)
		if a.Failure == "" || a.Result.Unknown.FailedCount != 1 || a.Result.Unknown.Errors[0].Key != "a" {
			t.Fatalf("%q %+v", a.Failure, a.Result.Unknown)
		}
	}
	want(t, "entries", w.Count(`SELECT count(*) FROM exportops_deletions WHERE key = 'a'`), int64(1))
	d, err := w.Store.Deletions(t.Context(), exportops.DeletionFilter{State: exportops.DeletionQuarantined})
	w.Must(err)
	if len(d) != 1 || d[0].Attempts != 6 || !strings.Contains(d[0].NextStep(), "reconcile --plan-out") {
		t.Fatalf("%+v", d)
	}
	w.Files.Fail = nil
	want(t, "result", unknownCounts(discard(t, w, plan)), "deleted 1")
	want(t, "events of failures", len(w.Events.Of(exportops.EventUnknownFailed)), 6)
}

func TestManyUnknownFilesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
		INSERT INTO exportops_unknown_files SELECT ?, 'f' || i, 1, ?2, '', 'quarantined', ?2, ?2 FROM n`, w.Files.ID(), w.Ago(20*day))
	plan := unknownPlan(t, w)
	var req jobs.Request
	discarding(t, plan)(&req)
	a, err := w.Runner().Run(t.Context(), req)
	if !exportops.IsKind(err, exportops.KindRefused) || a.Result.Unknown.Guards.Files.Found != 10_001 {
		t.Fatalf("%v %+v", err, a.Result.Unknown)
	}
	want(t, "entries", len(unknownEntries(w)), 0)
	req.Force = true
	a, err = w.Runner().Run(t.Context(), req)
	w.Must(err)
	want(t, "absent", a.Result.Unknown.AlreadyAbsent, int64(10_001))
	want(t, "overridden by", a.Result.Unknown.Guards.OverriddenBy, exportops.ByForce)
}

// forged returns a plan that was edited, with a hash that fits.
func forged(plan []byte, old, instead string) []byte {
	s := strings.ReplaceAll(string(plan), old, instead)
	at := strings.LastIndex(s, `"sha256":`)
	sum := sha256.Sum256([]byte(s[:at]))
	return []byte(s[:at] + `"sha256":"` + hex.EncodeToString(sum[:]) + "\"}\n")
}

func TestAForgedPlanOfUnknownFiles(t *testing.T) {
	outside := func(w *testworld.World) string { return filepath.Join(w.Dir, "outside") }
	for name, x := range map[string]struct{ key, want string }{
		"that_names_a_known_file":       {"known", "named 1"},
		"that_names_an_unknown_file":    {"seen", "changed 1"},
		"that_climbs_out":               {"../outside", "not_ours 1"},
		"that_climbs_out_from_a_folder": {"x/../../outside", "not_ours 1"},
		"that_is_absolute":              {"/outside", "not_ours 1"},
		"that_names_our_marker":         {".exportops-root", "changed 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Insert(row{ExportID: id(1), URL: "known", Expires: never})
			w.Write("known", "content")
			quarantined(t, w, "quarry")
			w.Write("seen", "content")
			w.Write(".exportops-root", "content")
			w.Must(os.WriteFile(outside(w), []byte("content"), 0o600))
			reconcile(t, w)
			plan := forged(unknownPlan(t, w), `"quarry"`, `"`+x.key+`"`)
			want(t, "result", unknownCounts(discard(t, w, plan)), x.want)
			wantKeys(t, w, ".exportops-root", "known", "quarry", "seen")
			if _, err := os.Stat(outside(w)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("that_lists_a_file_twice", func(t *testing.T) {
		w := newWorld(t)
		quarantined(t, w, "a", "b")
		plan := forged(unknownPlan(t, w), `"key":"b"`, `"key":"a"`)
		want(t, "result", unknownCounts(discard(t, w, plan)), "deleted 1")
		wantKeys(t, w, "b")
	})
	t.Run("of_another_job_or_version", func(t *testing.T) {
		w := newWorld(t)
		quarantined(t, w, "a")
		plan := readPlan(t, unknownPlan(t, w))
		_, err := w.Runner().Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Plan: plan})
		wantRefused(t, err)
		_, err = w.Runner(func(o *jobs.Options) { o.Database = "another" }).Run(t.Context(), jobs.Request{Job: exportops.UnknownCleanup, Plan: plan})
		wantRefused(t, err)
		_, err = w.Runner(func(o *jobs.Options) { o.Files = elsewhere{o.Files} }).Run(t.Context(), jobs.Request{Job: exportops.UnknownCleanup, Plan: plan})
		wantRefused(t, err)
		_, err = w.Runner().Run(t.Context(), jobs.Request{Job: exportops.UnknownCleanup})
		if !exportops.IsKind(err, exportops.KindInvalid) {
			t.Errorf("without a plan: %v", err)
		}
		wantKeys(t, w, "a")
	})
}

func wantRefused(t testing.TB, err error) {
	t.Helper()
	if !exportops.IsKind(err, exportops.KindRefused) {
		t.Errorf("error is %v, want %s", err, exportops.KindRefused)
	}
}

func TestACancelledPlanOfUnknownFilesSaysWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.Files.Batch = 2
	quarantined(t, w, "a", "b", "c", "d", "e")
	plan := unknownPlan(t, w)
	var req jobs.Request
	discarding(t, plan)(&req)
	req.Budget = time.Hour
	w.Files.Change = func([]string, []exportops.FileResult) error { w.Clock.Advance(2 * time.Hour); return nil }
	a, err := w.Runner().Run(t.Context(), req)
	w.Must(err)
	want(t, "result", unknownCounts(*a.Result.Unknown), "deleted 2 remaining 3")
	want(t, "state", a.Run.State, exportops.RunPartial)
	w.Files.Change = nil
	want(t, "the rest", unknownCounts(discard(t, w, plan)), "deleted 3")
}
