package storetest

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// ExerciseAlerts makes every call about alerts, each under its name.
func ExerciseAlerts(t *testing.T, s exportops.Store, c exportops.Checkpoint, name func(string)) {
	ctx := t.Context()
	no := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	i := incident("volume", "")
	for _, n := range []string{"SaveIncident", "SaveIncident again"} {
		name(n)
		_, err := s.SaveIncident(ctx, i, []exportops.IncidentEvent{step(i, exportops.StepPending, c.Now)},
			[]exportops.Notification{message("ops", n, &i)})
		no(err)
		i.Version++
	}
	name("OpenIncidents")
	_, err := s.OpenIncidents(ctx)
	no(err)
	name("Incident")
	_, err = s.Incident(ctx, i.ID)
	no(err)
	name("Incidents")
	_, _, err = s.Incidents(ctx, exportops.IncidentFilter{})
	no(err)
	name("IncidentHistory")
	_, err = s.IncidentHistory(ctx, i.ID)
	no(err)
	name("PlaceSilence")
	q, err := s.PlaceSilence(ctx, exportops.Silence{Until: after(c.Now, time.Hour), Reason: "r", PlacedBy: "p", PlacedAt: c.Now})
	no(err)
	name("EndSilence")
	_, err = s.EndSilence(ctx, q.ID, "p", c.Now)
	no(err)
	name("Silences")
	_, err = s.Silences(ctx, c.Now)
	no(err)
	exerciseOutbox(t, s, c, name)
	name("ForgetAlerts")
	_, err = s.ForgetAlerts(ctx, c, c.Now, 9)
	no(err)
	name("Backlog")
	_, err = s.Backlog(ctx, exportops.BacklogSpan{Now: c.Now, Stuck: c.Now})
	no(err)
	name("Expiring")
	_, err = s.Expiring(ctx, exportops.Span{From: c.Now, To: after(c.Now, time.Hour)})
	no(err)
	name("")
}

// exerciseOutbox makes every call about notifications, each under its name.
func exerciseOutbox(t *testing.T, s exportops.Store, c exportops.Checkpoint, name func(string)) {
	ctx := t.Context()
	name("EnqueueNotifications")
	_, err := s.EnqueueNotifications(ctx, []exportops.Notification{message("ops", "summary", nil)})
	must(t, err)
	name("HasNotification")
	_, err = s.HasNotification(ctx, "summary")
	must(t, err)
	name("ClaimNotifications")
	claimed, err := s.ClaimNotifications(ctx, exportops.NotificationClaim{Now: after(noon, time.Hour), Lease: time.Minute, Room: map[string]int{"ops": 1}})
	must(t, err)
	if len(claimed) != 1 {
		t.Fatalf("claimed %+v", claimed)
	}
	name("SettleNotification")
	_, err = s.SettleNotification(ctx, exportops.NotificationOutcome{
		ID: claimed[0].ID, Attempt: 1, Now: c.Now, State: exportops.NotificationDead, NextAt: c.Now, Error: "404",
	})
	must(t, err)
	name("Notification")
	_, err = s.Notification(ctx, claimed[0].ID)
	must(t, err)
	name("Notifications")
	_, _, err = s.Notifications(ctx, exportops.NotificationFilter{})
	must(t, err)
	name("NotificationBacklog")
	_, err = s.NotificationBacklog(ctx, c.Now)
	must(t, err)
	name("RetryNotifications")
	_, err = s.RetryNotifications(ctx, []string{claimed[0].ID}, c.Now)
	must(t, err)
}
