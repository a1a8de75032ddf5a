package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// mentions says of one user what others wrote of them, or they of others, in records
// that stay: in small letters, in capitals and in both.
func mentions(t *testing.T, f Fixture, user string) (i exportops.Incident, s exportops.Silence, holds []exportops.Hold, runID string) {
	t.Helper()
	upper, mixed := strings.ToUpper(user), spellings["mixed_case"](user)
	i = incident("volume", "store")
	i.Message, i.AcknowledgedBy = "ask "+upper, mixed
	e := step(i, exportops.StepAcknowledged, noon)
	e.By, e.Note = user, mixed+" and "+user
	n := message("ops", i.ID, &i)
	n.Message.Title, n.Message.Text = "of "+user, "by "+mixed+"\nand "+upper
	_, err := f.Store.SaveIncident(t.Context(), i, []exportops.IncidentEvent{e}, []exportops.Notification{n})
	must(t, err)
	sent := claimed(t, f, noon, 1, "ops")
	settle(t, f, sent[0], exportops.NotificationDead, noon, "no "+user, true)

	s, err = f.Store.PlaceSilence(t.Context(), exportops.Silence{
		Rule: "of-" + user, Subject: upper, Reason: "r", PlacedBy: mixed, PlacedAt: noon, Until: after(noon, time.Hour),
	})
	must(t, err)
	_, err = f.Store.EndSilence(t.Context(), s.ID, user, noon)
	must(t, err)
	for _, scope := range []exportops.HoldScope{exportops.HoldUser, exportops.HoldAll} {
		subject := ""
		if scope == exportops.HoldUser {
			subject = exportops.NewID()
		}
		for _, text := range []string{"as " + mixed + " asked", "r"} {
			h := holdOn(scope, subject)
			h.Reason, h.PlacedBy = text, upper
			h, err = f.Store.PlaceHold(t.Context(), h, exportops.Locator{})
			must(t, err)
			holds = append(holds, h)
		}
		h, err := f.Store.ReleaseHold(t.Context(), holds[len(holds)-1].ID, user, noon)
		must(t, err)
		holds[len(holds)-1] = h
	}
	c := beginRun(t, f, exportops.FileCleanup)
	a, err := f.Store.RegisterArchive(t.Context(), c, exportops.Archive{
		Store: "s", Key: "k", Month: october, Sequence: 1, Rows: 1, Bytes: 9, SHA256: "5f70bf18",
	}, 0, nil)
	must(t, err)
	_, err = f.Store.LoseArchive(t.Context(), a.ID, mixed+" deleted it", noon)
	must(t, err)
	_, err = f.Store.CancelRun(t.Context(), c.RunID, mixed, noon)
	must(t, err)
	_, err = f.Store.FinishRun(t.Context(), c, exportops.RunPartial, "")
	must(t, err)
	return i, s, holds, c.RunID
}

func eraseNames(t *testing.T, f Fixture) {
	user := exportops.NewID()
	i, s, holds, runID := mentions(t, f, user)
	kinds := map[exportops.TraceKind]int{}
	for _, tr := range allTraces(t, f, user, 2) {
		kinds[tr.Kind]++
	}
	want := map[exportops.TraceKind]int{
		exportops.TraceIncident: 1, exportops.TraceEvent: 1, exportops.TraceNotice: 1, exportops.TraceSilence: 1, exportops.TraceHeld: 4, exportops.TraceRun: 1,
		exportops.TraceLost: 1,
	}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Fatalf("found (-want +got):\n%s", d)
	}
	c, found := heldRun(t, f, noon), allTraces(t, f, user, 100)
	n, err := f.Store.EraseTraces(t.Context(), c, user, found, nil)
	must(t, err)
	if again := allTraces(t, f, user, 100); n != int64(len(found)) || len(again) != 0 {
		t.Errorf("%d of %d were erased, which leaves %v", n, len(found), again)
	}
	got, err := f.Store.Incident(t.Context(), i.ID)
	must(t, err)
	i.Message, i.AcknowledgedBy, i.Version = "ask (erased)", "(erased)", 2
	if d := cmp.Diff(i, got); d != "" {
		t.Errorf("the incident (-want +got):\n%s", d)
	}
	save(t, f, exportops.Incident{ID: i.ID, Rule: i.Rule, Subject: i.Subject, State: i.State, Version: 1}, false) // as it was read before
	history, err := f.Store.IncidentHistory(t.Context(), i.ID)
	must(t, err)
	if len(history) != 1 || history[0].By != "(erased)" || history[0].Note != "(erased) and (erased)" {
		t.Errorf("its history is %+v", history)
	}
	told, _, err := f.Store.Notifications(t.Context(), exportops.NotificationFilter{})
	must(t, err)
	if len(told) != 1 || told[0].Message.Title != "of (erased)" || told[0].Message.Text != "by (erased)\nand (erased)" || told[0].Error != "no (erased)" {
		t.Errorf("notifications are %+v", told)
	}
	if a := archiveOf(t, f, 1); a.Error != "(erased) deleted it" {
		t.Errorf("the archive is %+v", a)
	}
	silences, err := f.Store.Silences(t.Context(), exportops.Time{})
	must(t, err)
	s.Rule, s.Subject, s.PlacedBy, s.EndedBy, s.EndedAt, s.Until = "of-(erased)", "(erased)", "(erased)", "(erased)", ptr(noon), noon
	if d := cmp.Diff([]exportops.Silence{s}, silences); d != "" {
		t.Errorf("silences (-want +got):\n%s", d)
	}
	for k := range holds {
		h := &holds[k]
		if h.PlacedBy, h.UnderWay = "(erased)", 0; h.Reason != "r" {
			h.Reason = "as (erased) asked"
		}
		if h.ReleasedBy != "" {
			h.ReleasedBy = "(erased)"
		}
	}
	kept, err := f.Store.Holds(t.Context(), exportops.HoldFilter{All: true})
	must(t, err)
	for k := range holds {
		if d := cmp.Diff(holds[k], kept[len(kept)-1-k]); d != "" {
			t.Errorf("hold %d (-want +got):\n%s", holds[k].ID, d)
		}
	}
	if r := runOf(t, f, runID); r.CancelledBy != "(erased)" || r.State != exportops.RunPartial {
		t.Errorf("the run is %+v", r)
	}
}

// eraseOpenIncidents erases a user whom rules of several open incidents name: each stays
// one of its own, until the next look at the rules ends it.
func eraseOpenIncidents(t *testing.T, f Fixture) {
	user := exportops.NewID()
	for _, rule := range []string{"of-" + user, "of-" + strings.ToUpper(user), "of-" + exportops.Erased} {
		save(t, f, incident(rule, "store"), true)
	}
	_, err := f.Store.EraseTraces(t.Context(), heldRun(t, f, noon), user, allTraces(t, f, user, 100), nil)
	must(t, err)
	open, err := f.Store.OpenIncidents(t.Context())
	must(t, err)
	if again := allTraces(t, f, user, 100); len(open) != 3 || len(again) != 0 {
		t.Fatalf("%d are open, and there still are %v", len(open), again)
	}
	for _, i := range open {
		i.State, i.ResolvedAt = exportops.IncidentResolved, ptr(noon)
		save(t, f, i, true)
	}
}

// eraseRetrier erases a user who had two deletions tried again: one of them is linked
// since, and the other not.
func eraseRetrier(t *testing.T, f Fixture) {
	user := exportops.NewID()
	cp := ledgerOf(t, f)
	failed, err := f.Store.Deletions(t.Context(), exportops.DeletionFilter{State: exportops.DeletionFailed})
	must(t, err)
	for k, d := range failed[:2] {
		done, err := f.Store.RetryDeletions(t.Context(), []int64{d.ID}, strings.ToUpper(user), noon)
		must(t, err)
		if linked := chainAll(t, f, cp, cp.Now); len(done) != 1 || linked != 1 {
			t.Fatalf("%v are tried again, and %d are linked", done, linked)
		}
		if k == 1 {
			_, err = f.Store.RetryDeletions(t.Context(), []int64{d.ID}, user, noon)
			must(t, err)
		}
	}
	found := allTraces(t, f, user, 100)
	n, err := f.Store.EraseTraces(t.Context(), cp, user, found, nil)
	must(t, err)
	if again := allTraces(t, f, user, 100); len(found) != 2 || n != 2 || len(again) != 0 {
		t.Errorf("%d of %v were erased, which leaves %v", n, found, again)
	}
	wantWhole(t, f)
	if linked := chainAll(t, f, cp, cp.Now); linked != 2 {
		t.Errorf("%d entries are linked again, want 2", linked)
	}
	wantWhole(t, f)
	for _, was := range failed[:2] {
		all, err := f.Store.Deletions(t.Context(), exportops.DeletionFilter{ID: was.ID})
		must(t, err)
		if d := all[0]; d.RetriedBy != exportops.Erased || d.Key != was.Key || d.UserID != was.UserID {
			t.Errorf("the entry of another is %+v", d)
		}
	}
}
