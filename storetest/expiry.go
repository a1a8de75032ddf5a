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

func testExpiry(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("changes_rows_that_are_as_listed", func(t *testing.T) { changeExpiry(t, open(t)) })
	t.Run("touches_nothing_but_the_expiry", func(t *testing.T) { onlyTheExpiry(t, open(t)) })
	t.Run("leaves_rows_that_are_held_or_claimed", func(t *testing.T) { expiryHeld(t, open(t)) })
	t.Run("whoever_lost_the_run_changes_nothing", func(t *testing.T) { expiryFenced(t, open(t)) })
	t.Run("nothing_is_kept_without_its_count", func(t *testing.T) { expiryCounted(t, open(t)) })
}

// noResult keeps no progress.
func noResult([]exportops.ExpiryKept) (json.RawMessage, error) { return nil, nil }

func changeTo(r Row, to *exportops.Time) exportops.ExpiryChange {
	return exportops.ExpiryChange{ExportID: r.ExportID, FileURL: r.FileURL, From: r.ExpiresAt, To: to}
}

// expiryOf reads an expiry back, "" for none.
func expiryOf(t testing.TB, f Fixture, exportID string) string {
	t.Helper()
	rows, err := f.Store.CandidatesByID(t.Context(), []string{exportID})
	must(t, err)
	if len(rows) != 1 || rows[0].ExpiresAt == nil {
		return ""
	}
	return *rows[0].ExpiresAt
}

func changeExpiry(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	later, sooner := after(noon, 48*time.Hour), after(noon, time.Hour)
	had := after(noon, 24*time.Hour).String()
	row := func(change ...func(*Row)) Row {
		r := Row{FileURL: ptr("k"), ExpiresAt: ptr(had)}.Complete(noon)
		for _, c := range change {
			c(&r)
		}
		return r
	}
	rows := []Row{
		row(), row(), row(), row(func(r *Row) { r.ExpiresAt = nil }),
		row(), row(), row(), row(func(r *Row) { r.Status = "failed" }), row(func(r *Row) { r.ExpiresAt = ptr(later.String()) }),
		row(func(r *Row) { r.FileURL = nil }), // no file, and still an expiry
	}
	f.Insert(t, rows...)
	changes := []exportops.ExpiryChange{
		changeTo(rows[0], &later), changeTo(rows[1], &sooner), changeTo(rows[2], nil), changeTo(rows[3], &later),
		changeTo(rows[4], &later), changeTo(rows[5], &later), changeTo(rows[6], &later), changeTo(rows[7], &later),
		changeTo(rows[8], &later), changeTo(rows[9], &later), changeTo(Row{ExportID: exportops.NewID()}, &later),
	}
	f.Exec(t, `UPDATE {logs} SET expires_at = ? WHERE export_id = ?`, sooner.String(), rows[4].ExportID)
	f.Exec(t, `UPDATE {logs} SET file_url = 'other' WHERE export_id = ?`, rows[5].ExportID)
	f.Exec(t, `UPDATE {logs} SET expires_at = NULL WHERE export_id = ?`, rows[6].ExportID)
	kept, err := f.Store.ChangeExpiry(t.Context(), check(fence, noon), changes, noResult)
	must(t, err)
	changed := exportops.ExpiryChanged
	want := []exportops.ExpiryKept{"", "", "", "", changed, changed, changed, changed, exportops.ExpirySame, "", changed}
	if d := cmp.Diff(want, kept); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	var got []string
	for _, r := range rows {
		got = append(got, expiryOf(t, f, r.ExportID))
	}
	if d := cmp.Diff([]string{
		later.String(), sooner.String(), "", later.String(), sooner.String(), had, "", had, later.String(), later.String(),
	}, got); d != "" {
		t.Fatalf("expiries (-want +got):\n%s", d)
	}
	// Applied again, it is done.
	kept, err = f.Store.ChangeExpiry(t.Context(), check(fence, noon), changes[:4], noResult)
	must(t, err)
	if slices.ContainsFunc(kept, func(k exportops.ExpiryKept) bool { return k != exportops.ExpirySame }) {
		t.Fatalf("again: %q", kept)
	}
	kept, err = f.Store.ChangeExpiry(t.Context(), check(fence, noon), nil, noResult)
	if must(t, err); len(kept) != 0 {
		t.Fatalf("of nothing: %q", kept)
	}
}

func onlyTheExpiry(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	r := Row{FileURL: ptr("k"), ExpiresAt: ptr(after(noon, time.Hour).String()), FileSize: ptr(int64(7))}.Complete(noon)
	f.Insert(t, r)
	read := func() exportops.Export {
		e, err := f.Store.Export(t.Context(), r.ExportID)
		must(t, err)
		return e
	}
	before, to := read(), after(noon, 2*time.Hour)
	_, err := f.Store.ChangeExpiry(t.Context(), check(fence, noon), []exportops.ExpiryChange{changeTo(r, &to)}, noResult)
	must(t, err)
	now := read()
	if now.ExpiresAt == nil || !now.ExpiresAt.Equal(to.Time) {
		t.Fatalf("it expires at %v", now.ExpiresAt)
	}
	now.ExpiresAt, now.UpdatedAt = before.ExpiresAt, before.UpdatedAt // which a trigger may keep
	if d := cmp.Diff(before, now); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	// Its duration was frozen before.
	for _, o := range outcomes(t, f) {
		if o.DurationMS == nil || *o.DurationMS != took.Milliseconds() {
			t.Fatalf("%+v", o)
		}
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_export_metrics WHERE source = 'observed'`); n != 1 {
		t.Fatalf("%d metrics were frozen", n)
	}
}

func expiryHeld(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	past, to := after(noon, -time.Hour).String(), after(noon, time.Hour)
	var rows []Row
	for _, key := range []string{"claimed", "held", "of a held user", "free"} {
		r := Row{FileURL: ptr(key), ExpiresAt: ptr(past)}.Complete(after(noon, -2*time.Hour))
		rows = append(rows, r)
	}
	f.Insert(t, rows...)
	c := check(fence, noon)
	_, err := f.Store.ClaimFiles(t.Context(), c, exportops.ClaimRequest{
		Selection: exportops.Selection{Mode: exportops.ByExpiry, Now: noon}, Store: "s", ExportIDs: []string{rows[0].ExportID},
		Decide: func([]exportops.Candidate, []exportops.Candidate) []exportops.Decision {
			return []exportops.Decision{{Verdict: exportops.Claim, Location: exportops.Location{Bucket: "b", Key: "claimed"}}}
		},
	})
	must(t, err)
	for scope, subject := range map[exportops.HoldScope]string{exportops.HoldExport: rows[1].ExportID, exportops.HoldUser: rows[2].UserID} {
		_, err := f.Store.PlaceHold(t.Context(), exportops.Hold{
			Scope: scope, Subject: subject, Reason: "r", PlacedBy: "p", PlacedAt: noon,
		}, exportops.Locator{})
		must(t, err)
	}
	var changes []exportops.ExpiryChange
	for _, r := range rows {
		changes = append(changes, changeTo(r, &to))
	}
	kept, err := f.Store.ChangeExpiry(t.Context(), c, changes, noResult)
	must(t, err)
	if d := cmp.Diff([]exportops.ExpiryKept{exportops.ExpiryClaimed, exportops.ExpiryHeld, exportops.ExpiryHeld, ""}, kept); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	for i, want := range []string{past, past, past, to.String()} {
		if got := expiryOf(t, f, rows[i].ExportID); got != want {
			t.Errorf("%s expires at %s, want %s", *rows[i].FileURL, got, want)
		}
	}
}

func expiryFenced(t *testing.T, f Fixture) {
	_, fence := begin(t, f, exportops.Started)
	begin(t, f, exportops.TookOver, at(dead))
	r := Row{FileURL: ptr("k")}.Complete(noon)
	f.Insert(t, r)
	_, err := f.Store.ChangeExpiry(t.Context(), check(fence, noon), []exportops.ExpiryChange{changeTo(r, &noon)}, noResult)
	if !errors.Is(err, exportops.ErrFenced) || expiryOf(t, f, r.ExportID) != "" {
		t.Fatalf("%v, it expires at %q", err, expiryOf(t, f, r.ExportID))
	}
}

func expiryCounted(t *testing.T, f Fixture) {
	run, fence := begin(t, f, exportops.Started)
	r := Row{FileURL: ptr("k")}.Complete(noon)
	f.Insert(t, r)
	change, broken := []exportops.ExpiryChange{changeTo(r, &noon)}, errors.New("it cannot be counted")
	_, err := f.Store.ChangeExpiry(t.Context(), check(fence, noon), change, func([]exportops.ExpiryKept) (json.RawMessage, error) { return nil, broken })
	if !errors.Is(err, broken) || expiryOf(t, f, r.ExportID) != "" {
		t.Fatalf("%v, it expires at %q", err, expiryOf(t, f, r.ExportID))
	}
	_, err = f.Store.ChangeExpiry(t.Context(), check(fence, noon), change, func(kept []exportops.ExpiryKept) (json.RawMessage, error) {
		return json.RawMessage(`{"n":1}`), nil
	})
	must(t, err)
	got, err := f.Store.Run(t.Context(), run.ID)
	must(t, err)
	if string(got.Result) != `{"n":1}` {
		t.Fatalf("the result is %s", got.Result)
	}
}
