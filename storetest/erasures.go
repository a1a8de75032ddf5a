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

func testErasures(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("traces_are_found_and_erased_and_others_stay", func(t *testing.T) { eraseTraces(t, open(t)) })
	t.Run("a_record_of_a_run_at_work_is_found_and_stays", func(t *testing.T) { keepAtWork(t, open(t)) })
	t.Run("exports_of_the_user_are_found_and_erased_by_their_ids", func(t *testing.T) { eraseExports(t, open(t)) })
	t.Run("a_dead_run_that_named_the_user_ends", func(t *testing.T) { endDead(t, open(t)) })
	for how, spell := range spellings {
		t.Run("a_user_is_found_in_"+how, func(t *testing.T) { foundAs(t, open(t), spell) })
	}
	t.Run("a_metric_of_anothers_export_becomes_theirs", func(t *testing.T) { eraseTold(t, open(t)) })
	t.Run("what_a_hold_covers_stays", func(t *testing.T) { keepHeld(t, open(t)) })
	t.Run("an_error_that_named_the_user_is_not_counted_by_its_name_again", func(t *testing.T) { forgetCountedError(t, open(t)) })
	t.Run("names_in_what_stays_give_way_to_a_word", func(t *testing.T) { eraseNames(t, open(t)) })
	t.Run("open_incidents_stay_apart", func(t *testing.T) { eraseOpenIncidents(t, open(t)) })
	t.Run("the_ledger_holds_without_who_had_it_tried_again", func(t *testing.T) { eraseRetrier(t, open(t)) })
	t.Run("a_claimed_entry_stays_as_it_is", func(t *testing.T) { keepClaimed(t, open(t)) })
	t.Run("no_receipt_is_kept_under_a_hold", func(t *testing.T) { heldReceipt(t, open(t)) })
	t.Run("receipts_are_kept_once_and_listed", func(t *testing.T) { keepReceipts(t, open(t)) })
	t.Run("an_erasure_that_lost_its_run_changes_nothing", func(t *testing.T) { fencedErasure(t, open(t)) })
}

// allTraces reads them in pages of a size.
func allTraces(t testing.TB, f Fixture, user string, size int) (all []exportops.Trace) {
	t.Helper()
	for next := exportops.Cursor(""); ; {
		page, after, err := f.Store.Traces(t.Context(), user, nil, next, size)
		must(t, err)
		if len(page) > size {
			t.Fatalf("a page of %d has %d", size, len(page))
		}
		all = append(all, page...)
		if next = after; next == "" {
			return all
		}
	}
}

// left is a user with a trace of every kind, that no row explains; counted in the
// three hours from one on.
func left(t testing.TB, f Fixture, user string, from exportops.Time) {
	t.Helper()
	for i := range 3 {
		hour := after(from, time.Duration(i)*time.Hour)
		record(t, f, metric(func(m *exportops.Metric) { m.Timestamp = hour }))
		r := exportops.Rollup{Start: hour, Users: []exportops.UserCount{{UserID: user, Count: 2}, {UserID: exportops.NewID(), Count: 1}}}
		version := stateOf(t, f, hour).Version
		write(t, f, r, version, true)
	}
	record(t, f, metric(func(m *exportops.Metric) { m.UserID, m.Status = user, exportops.Processing }))
	record(t, f, metric(func(m *exportops.Metric) {
		m.Status, m.ErrorType, m.ErrorMessage = exportops.Failed, ptr("quota of "+user), ptr("ask "+strings.ToUpper(user))
	}))
	for _, text := range []string{"no " + user, "no " + strings.ToUpper(user), "no " + exportops.Erased} {
		f.Exec(t, `INSERT INTO exportops_rollup_errors (start, error_type, exports) VALUES (?, ?, 2)`, from.String(), text)
	}
	_, err := f.Store.PlaceSilence(t.Context(), exportops.Silence{Reason: user + " tries again", PlacedBy: "p", PlacedAt: noon, Until: after(noon, time.Hour)})
	must(t, err)
	entry := func(id, key, reason string) {
		f.Exec(t, `INSERT INTO exportops_deletions (export_id, user_id, mode, state, store, bucket, key, file_url, row_status, run_id, token,
			attempts, error, claimed_at, finished_at) VALUES (?, ?, 'expiry', 'failed', 's', 'b', ?, ?, 'completed', 'r', 1, 1, ?, ?, ?)`,
			exportops.NewID(), id, key, key, reason, noon.String(), noon.String())
	}
	entry(user, "a", "")
	entry(exportops.NewID(), strings.ToUpper(user)+"/b", "")
	entry(exportops.NewID(), "c", "open "+user+"/c: no")
	for name, change := range map[string]func(*exportops.Checkpoint){
		"a result": func(c *exportops.Checkpoint) {
			c.Progress = json.RawMessage(`{"errors":[{"error":"` + user + ` and ` + strings.ToUpper(user) + `"}]}`)
		},
		"an error": func(*exportops.Checkpoint) {},
	} {
		c := heldRun(t, f, noon)
		change(&c)
		message := ""
		if name == "an error" {
			message = "look at " + user
		}
		_, err := f.Store.FinishRun(t.Context(), c, exportops.RunFailed, message)
		must(t, err)
	}
	f.Exec(t, `INSERT INTO exportops_missing_files (export_id, store, key, file_url, first_seen, last_seen) VALUES (?, 's', ?, 'x', ?, ?)`,
		exportops.NewID(), user+"/gone", noon.String(), noon.String())
	f.Exec(t, `INSERT INTO exportops_unknown_files (store, key, size, modified, version, state, first_seen, last_seen)
		VALUES ('s', ?, 1, ?, '', 'gone', ?, ?)`, user+"/unknown", noon.String(), noon.String(), noon.String())
	f.Exec(t, `INSERT INTO exportops_holds (scope, subject, reason, placed_by, placed_at, released_at) VALUES ('user', ?, 'r', 'p', ?, ?)`,
		user, noon.String(), noon.String())
	_, _, _, err = f.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: exportops.EraseUser, Lane: exportops.NewID(), Params: []byte(`{}`), Trigger: exportops.ByAPI,
		IdempotencyKey: "erase " + user, Holder: "storetest", Now: noon, Lease: time.Minute,
	})
	must(t, err)
}

func eraseTraces(t *testing.T, f Fixture) {
	user, other := exportops.NewID(), exportops.NewID()
	left(t, f, user, noon)
	left(t, f, other, after(noon, 24*time.Hour))
	for _, size := range []int{1, 2, 100} {
		kinds := map[exportops.TraceKind]int{}
		for _, tr := range allTraces(t, f, user, size) {
			kinds[tr.Kind]++
		}
		want := map[exportops.TraceKind]int{
			exportops.TraceCounter: 3, exportops.TraceMetric: 1, exportops.TraceEntry: 3, exportops.TraceRun: 2, exportops.TraceCall: 1,
			exportops.TraceMissing: 1, exportops.TraceFile: 1, exportops.TraceHold: 1,
			exportops.TraceText: 1, exportops.TraceError: 1, exportops.TraceSilence: 1,
		}
		for kind, n := range want {
			if kinds[kind] != n {
				t.Fatalf("pages of %d find %v, want %v", size, kinds, want)
			}
		}
	}
	before := len(allTraces(t, f, other, 100))
	c := heldRun(t, f, noon)
	found := allTraces(t, f, user, 100)
	n, err := f.Store.EraseTraces(t.Context(), c, user, found, func(n int64) (json.RawMessage, error) {
		return json.Marshal(map[string]int64{"erased": n})
	})
	must(t, err)
	if n != int64(len(found))+1 { // one hour had two counts
		t.Errorf("%d of %d were erased", n, len(found))
	}
	if n := f.Count(t, `SELECT exports FROM exportops_rollup_errors WHERE start = ? AND error_type = ?`, noon.String(), "no "+exportops.Erased); n != 6 {
		t.Errorf("%d errors are counted without whom they named, want 6", n)
	}
	r, err := f.Store.Run(t.Context(), c.RunID)
	must(t, err)
	if want := fmt.Sprintf(`{"erased":%d}`, n); string(r.Result) != want {
		t.Errorf("the run's result is %s, want %s", r.Result, want)
	}
	if again := allTraces(t, f, user, 100); len(again) != 0 {
		t.Errorf("there still are %v", again)
	}
	if n, err := f.Store.UserLeft(t.Context(), user); err != nil || n != 0 {
		t.Errorf("%d rows and metrics are left, %v", n, err)
	}
	if n := len(allTraces(t, f, other, 100)); n != before {
		t.Errorf("of another user %d of %d traces are left", n, before)
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_deletions WHERE export_id IS NULL AND user_id IS NULL AND key IS NULL
		AND file_url IS NULL AND error = '' AND state = 'failed' AND attempts = 1`); n != 3 {
		t.Errorf("%d entries stay without what named the user, want 3", n)
	}
}

// foundAs erases what is left of a user whose id is written in its own way, beside a row
// and a metric of it.
func foundAs(t *testing.T, f Fixture, spell func(string) string) {
	user := exportops.NewID()
	as := spell(user)
	row := due(after(noon, -time.Hour), func(r *Row) { r.UserID = as })
	f.Insert(t, row)
	record(t, f, metric(func(m *exportops.Metric) { m.UserID = as }))
	record(t, f, metric(func(m *exportops.Metric) { m.UserID, m.Status = as, exportops.Processing }))
	c := heldRun(t, f, noon)
	if page := claim(t, f, c.Fence); page.Claims[0] == nil {
		t.Fatal("nothing was claimed")
	}
	f.Exec(t, `UPDATE exportops_deletions SET state = 'failed', finished_at = ?`, noon.String())
	write(t, f, exportops.Rollup{Start: noon, Users: []exportops.UserCount{{UserID: as, Count: 1}}}, stateOf(t, f, noon).Version, true)

	files, _, err := f.Store.Candidates(t.Context(), exportops.Selection{Mode: exportops.ByErasure, UserID: user}, "", 5)
	must(t, err)
	rows, _, err := f.Store.LogRows(t.Context(), exportops.LogSelection{UserID: user}, "", 5)
	must(t, err)
	listed, _, err := f.Store.Exports(t.Context(), exportops.ExportFilter{UserID: user})
	must(t, err)
	left, err := f.Store.UserLeft(t.Context(), user)
	must(t, err)
	if len(files) != 1 || len(rows) != 1 || len(listed) != 1 || left != 3 {
		t.Errorf("found %d files, %d rows, %d exports, and %d rows and metrics, want 1, 1, 1 and 3", len(files), len(rows), len(listed), left)
	}
	lone, _, err := f.Store.DeleteLoneMetrics(t.Context(), c, exportops.LogSelection{UserID: user}, "", 5, nil)
	must(t, err)
	traces, _, err := f.Store.Traces(t.Context(), user, nil, "", 5)
	must(t, err)
	erased, err := f.Store.EraseTraces(t.Context(), c, user, traces, nil)
	must(t, err)
	if again := allTraces(t, f, user, 5); lone != 1 || erased != 3 || len(again) != 0 {
		t.Errorf("%d metrics and %d traces were erased, want 1, and a counter, a metric and an entry; there still are %v", lone, erased, again)
	}
}

func keepClaimed(t *testing.T, f Fixture) {
	row := due(after(noon, -time.Hour))
	f.Insert(t, row)
	c := heldRun(t, f, noon)
	page := claim(t, f, c.Fence)
	if len(page.Claims) != 1 || page.Claims[0] == nil {
		t.Fatalf("claims %v", page.Claims)
	}
	found := allTraces(t, f, row.UserID, 10)
	if len(found) != 1 {
		t.Fatalf("found %v", found)
	}
	n, err := f.Store.EraseTraces(t.Context(), c, row.UserID, found, nil)
	must(t, err)
	if d := ledger(t, f); n != 0 || d[0].Key != page.Claims[0].Key || d[0].UserID != row.UserID {
		t.Errorf("%d erased: %+v", n, d[0])
	}
	if n, err := f.Store.UserLeft(t.Context(), row.UserID); err != nil || n != 1 {
		t.Errorf("%d rows and metrics are left, %v", n, err)
	}
}

func keepHeld(t *testing.T, f Fixture) {
	m := metric(func(m *exportops.Metric) { m.Status = exportops.Processing })
	record(t, f, m)
	copied := Row{UserID: m.UserID}.Complete(after(noon, -time.Hour))
	beside(t, f, "old_rows", foundOf(t, f, copied)...)
	f.Exec(t, `DELETE FROM {logs}`)
	left := func() int64 {
		n, err := f.Store.UserLeft(t.Context(), m.UserID)
		must(t, err)
		return n + f.Count(t, `SELECT count(*) FROM old_rows`)
	}
	all := left()
	erase := func() {
		_, err := f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), m.UserID, allTraces(t, f, m.UserID, 100), nil)
		must(t, err)
	}
	for _, scope := range []exportops.HoldScope{exportops.HoldAll, exportops.HoldUser} {
		subject := ""
		if scope == exportops.HoldUser {
			subject = m.UserID
		}
		h := place(t, f, scope, subject)
		if erase(); left() != all {
			t.Fatalf("under a hold on %s %d of %d are left", scope, left(), all)
		}
		release(t, f, h)
	}
	h := place(t, f, exportops.HoldExport, m.ExportID)
	if erase(); left() != all-1 {
		t.Fatalf("under a hold on the metric's export %d of %d are left, want all but the row", left(), all)
	}
	release(t, f, h)
	if erase(); left() != all-2 {
		t.Fatalf("%d of %d are left", left(), all)
	}
}

func forgetCountedError(t *testing.T, f Fixture) {
	user := exportops.NewID()
	record(t, f, metric(func(m *exportops.Metric) {
		m.Status, m.ErrorType, m.Timestamp = exportops.Failed, ptr("quota of "+user), noon
	}))
	version := stateOf(t, f, noon).Version // whoever computes the hour reads it, and then what it counts
	rollup := exportops.Rollup{Start: noon, Errors: map[string]int64{"quota of " + user: 1}}
	_, err := f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), user, allTraces(t, f, user, 100), nil)
	must(t, err)
	write(t, f, rollup, version, false)
	if again := allTraces(t, f, user, 100); len(again) != 0 {
		t.Fatalf("there still are %v", again)
	}
}

func keepReceipts(t *testing.T, f Fixture) {
	user := exportops.NewID()
	if erased, err := f.Store.ErasedAt(t.Context(), []string{user}); err != nil || len(erased) != 0 {
		t.Errorf("before anybody was erased: %v, %v", erased, err)
	}
	hash, err := f.Store.UserHash(t.Context(), user)
	must(t, err)
	again, err := f.Store.UserHash(t.Context(), user)
	must(t, err)
	of, err := f.Store.UserHash(t.Context(), exportops.NewID())
	must(t, err)
	if hash != again || hash == of || len(hash) != 64 || strings.Contains(hash, user) {
		t.Errorf("hashes %q, %q, of another %q", hash, again, of)
	}
	c := heldRun(t, f, noon)
	var want []exportops.Erasure
	for i := range 3 {
		e := exportops.Erasure{ID: exportops.NewID(), UserHash: hash, RunID: c.RunID, FinishedAt: after(noon, time.Minute), Rows: int64(i), Entries: 7}
		e.Seal()
		for range 2 {
			must(t, f.Store.RecordErasure(t.Context(), c, user, e))
		}
		want = append([]exportops.Erasure{e}, want...)
	}
	var got []exportops.Erasure
	for cursor, pages := "", 0; ; pages++ {
		page, next, err := f.Store.Erasures(t.Context(), cursor, 2)
		must(t, err)
		got = append(got, page...)
		if cursor = next; cursor == "" {
			break
		}
		if pages > 3 {
			t.Fatal("the pages do not end")
		}
	}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] || !got[i].Intact() {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	last := exportops.Erasure{ID: exportops.NewID(), UserHash: hash, FinishedAt: after(noon, time.Hour), Archives: 2, ArchivedRows: 3, ArchivesSHA256: "a"}
	must(t, f.Store.RecordErasure(t.Context(), c, user, last))
	upper, never := strings.ToUpper(user), exportops.NewID()
	erased, err := f.Store.ErasedAt(t.Context(), []string{never, user, upper, user, ""})
	must(t, err)
	if d := cmp.Diff(map[string]exportops.Time{user: last.FinishedAt, upper: last.FinishedAt}, erased); d != "" {
		t.Errorf("erased (-want +got):\n%s", d)
	}
	if page, _, err := f.Store.Erasures(t.Context(), "", 1); err != nil || len(page) != 1 || page[0] != last {
		t.Errorf("the last receipt is %+v, %v", page, err)
	}
	_, _, err = f.Store.Erasures(t.Context(), "x", 2)
	wantKind(t, err, exportops.KindInvalid, "cursor")
	must(t, f.Store.Scrub(t.Context()))
}

// heldReceipt says that nothing is left while somebody is held.
func heldReceipt(t *testing.T, f Fixture) {
	user, another := exportops.NewID(), exportops.NewID()
	c := heldRun(t, f, noon)
	e := exportops.Erasure{ID: exportops.NewID(), UserHash: "a", RunID: c.RunID, FinishedAt: noon}
	c.Progress = json.RawMessage(`{"n":1}`)
	place(t, f, exportops.HoldUser, another)
	for subject, scope := range map[string]exportops.HoldScope{user: exportops.HoldUser, "": exportops.HoldAll} {
		h := place(t, f, scope, subject)
		wantKind(t, f.Store.RecordErasure(t.Context(), c, strings.ToUpper(user), e), exportops.KindRefused, "")
		release(t, f, h)
	}
	if page, _, err := f.Store.Erasures(t.Context(), "", 9); err != nil || len(page) > 0 || runOf(t, f, c.RunID).Result != nil {
		t.Errorf("receipts under a hold: %+v, %v", page, err)
	}
	must(t, f.Store.RecordErasure(t.Context(), c, user, e))
}

func fencedErasure(t *testing.T, f Fixture) {
	user := exportops.NewID()
	left(t, f, user, noon)
	c := heldRun(t, f, noon)
	_, err := f.Store.FinishRun(t.Context(), c, exportops.RunDone, "")
	must(t, err)
	found := allTraces(t, f, user, 100)
	if _, err := f.Store.EraseTraces(t.Context(), c, user, found, nil); err != exportops.ErrFenced { //nolint:errorlint // it is not wrapped
		t.Errorf("error %v", err)
	}
	if err := f.Store.RecordErasure(t.Context(), c, user, exportops.Erasure{ID: exportops.NewID()}); err != exportops.ErrFenced { //nolint:errorlint // likewise
		t.Errorf("error %v", err)
	}
	if again := allTraces(t, f, user, 100); len(again) != len(found) {
		t.Errorf("%d of %d are left", len(again), len(found))
	}
}

func eraseTold(t *testing.T, f Fixture) {
	for what, sealed := range map[string]bool{"in_an_hour_that_is_computed_again": false, "in_a_sealed_hour": true} {
		user, row := exportops.NewID(), Row{}.Complete(noon)
		f.Insert(t, row)
		record(t, f, metric(func(m *exportops.Metric) { m.ExportID, m.UserID, m.Timestamp = row.ExportID, user, noon }))
		write(t, f, exportops.Rollup{Start: noon, Users: []exportops.UserCount{{UserID: user, Count: 1}}}, stateOf(t, f, noon).Version, true)
		if sealed {
			f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = (1 = 1) WHERE start = ?`, noon.String())
		}
		found := allTraces(t, f, user, 100)
		if len(found) != 2 || found[0].Kind != exportops.TraceTold || found[1].Kind != exportops.TraceCounter {
			t.Fatalf("%s: found %v", what, found)
		}
		_, err := f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), user, found[:1], nil)
		must(t, err)
		_, err = f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), user, found[1:], nil)
		must(t, err)
		left, err := f.Store.UserLeft(t.Context(), user)
		must(t, err)
		theirs := f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE user_id = ?`, row.UserID)
		if again := allTraces(t, f, user, 100); left != 0 || len(again) != 0 || theirs != 1 {
			t.Errorf("%s: %d are left, and %v; the other has %d metrics", what, left, again, theirs)
		}
		counted := f.Count(t, `SELECT count(*) FROM exportops_rollup_users WHERE user_id = ?`, row.UserID)
		if state := stateOf(t, f, noon); state.Clean != sealed || (counted == 1) != sealed {
			t.Errorf("%s: the hour is %+v, and counts the other %d times", what, state, counted)
		}
		f.Exec(t, `UPDATE exportops_rollup_hours SET sealed = (1 = 0)`)
	}
}
