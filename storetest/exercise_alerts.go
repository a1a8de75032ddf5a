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
		_, err := s.SaveIncident(ctx, i, []exportops.IncidentEvent{step(i, exportops.StepPending, c.Now)})
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
