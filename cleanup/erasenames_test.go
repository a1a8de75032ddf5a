package cleanup_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
)

// mention has the person named wherever others write down names: in what stays when the
// person is erased.
func mention(t testing.TB, w *testworld.World) {
	t.Helper()
	ctx, now := t.Context(), exportops.At(w.Clock.Now())
	shout := strings.ToUpper(person)
	i := exportops.Incident{
		ID: exportops.NewID(), Rule: "of-" + person, Kind: exportops.AlertVolume, State: exportops.IncidentFiring, Message: "ask " + shout,
		AcknowledgedBy: person, StartedAt: now, SeenAt: now,
	}
	e := exportops.IncidentEvent{IncidentID: i.ID, At: now, Step: exportops.StepAcknowledged, By: person, Note: "as " + shout + " said"}
	n := exportops.NewNotification("k", "ops", exportops.Message{Kind: exportops.MessageFiring, At: now, Title: person, Text: shout, Incident: &i}, now)
	_, err := w.Store.SaveIncident(ctx, i, []exportops.IncidentEvent{e}, []exportops.Notification{n})
	w.Must(err)
	_, err = w.Store.PlaceSilence(ctx, exportops.Silence{
		Rule: "of-" + person, Subject: shout, Reason: "r", PlacedBy: person, PlacedAt: now, Until: exportops.At(now.Add(time.Hour)),
	})
	w.Must(err)
	h, err := w.Store.PlaceHold(ctx, exportops.Hold{
		Scope: exportops.HoldUser, Subject: exportops.NewID(), Reason: "like " + person, PlacedBy: shout, PlacedAt: now,
	}, exportops.Locator{})
	w.Must(err)
	h.Reason = "r"
	h, err = w.Store.PlaceHold(ctx, h, exportops.Locator{})
	w.Must(err)
	_, err = w.Store.ReleaseHold(ctx, h.ID, person, now)
	w.Must(err)
	stopped(t, w, exportops.ReconcileResult{Cursor: person + "/m", After: person + "/b", BeganAt: now}, shout)
}

// stopped leaves a reconciliation that somebody stopped before its end.
func stopped(t testing.TB, w *testworld.World, res exportops.ReconcileResult, by string) {
	t.Helper()
	now := exportops.At(w.Clock.Now())
	_, fence, _, err := w.Store.BeginRun(t.Context(), exportops.RunRequest{
		Job: exportops.Reconcile, Lane: exportops.NewID(), Params: []byte(`{}`), Trigger: exportops.ByCommand, Holder: "h", Now: now, Lease: time.Minute,
	})
	w.Must(err)
	_, err = w.Store.CancelRun(t.Context(), fence.RunID, by, now)
	w.Must(err)
	c := exportops.Checkpoint{Fence: fence, Now: now, Lease: time.Minute}
	c.Progress, err = json.Marshal(res)
	w.Must(err)
	_, err = w.Store.FinishRun(t.Context(), c, exportops.RunPartial, "")
	w.Must(err)
}

func TestAnErasureFindsNamesInWhatOthersWrote(t *testing.T) {
	w := newErasable(t)
	mention(t, w.World)
	_, err := w.erase(t)
	w.Must(err)
	w.wantErased(t)
	open, err := w.Store.OpenIncidents(t.Context())
	w.Must(err)
	held, err := w.Store.Holds(t.Context(), exportops.HoldFilter{})
	w.Must(err)
	if len(open) != 1 || len(held) != 1 || held[0].Reason != "like "+exportops.Erased {
		t.Errorf("open are %+v, and held %+v", open, held)
	}
}

// What a reconciliation had come to may be named after the person: the next goes on from
// before it, and passes over no file.
func TestAReconciliationGoesOnAfterAnErasure(t *testing.T) {
	w := newWorld(t)
	for n, key := range []string{"0", "b", "z"} {
		w.Insert(row{ExportID: id(n), URL: key, Expires: never})
		w.Write(key, "x")
	}
	stopped(t, w, exportops.ReconcileResult{Cursor: person + "/m", BeganAt: exportops.At(w.Clock.Now())}, "p")
	wantReceipt(t, w, person)
	r := reconcile(t, w)
	want(t, "went on after", r.After, exportops.Erased+"/m")
	want(t, "files seen", r.FilesSeen, 3)
}
