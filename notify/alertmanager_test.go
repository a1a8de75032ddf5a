package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/notify"
)

func alertmanager(t *testing.T, base string) *notify.Alertmanager {
	t.Helper()
	c, err := notify.NewAlertmanager(here().Client(), base)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// posted is one alert as it arrives.
type posted struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    exportops.Time
}

func (g got) alert(t *testing.T) posted {
	t.Helper()
	var all []posted
	if err := json.Unmarshal(g.body, &all); err != nil || len(all) != 1 {
		t.Fatalf("%s: %v", g.body, err)
	}
	return all[0]
}

func TestAlertmanager(t *testing.T) {
	r := receive(t, nil)
	c := alertmanager(t, strings.Replace(r.URL, "http://", "http://user:pass@", 1)+"/base/")
	short := resolved()
	soon := later(2 * time.Minute)
	short.At, short.Incident.ResolvedAt = soon, &soon
	send(t, c, firing(), resolved(), short, plain(exportops.MessageTest))
	all := r.took(t, 4)
	want(t, "path", all[0].URL.Path, "/base/api/v2/alerts")
	if user, pass, _ := all[0].BasicAuth(); user != "user" || pass != "pass" {
		t.Errorf("as %s:%s", user, pass)
	}
	labels := map[string]string{"alertname": "exportops-failed-runs", "rule": "failed-runs", "subject": "file-cleanup", "severity": "high"}
	fires, ends := all[0].alert(t), all[1].alert(t)
	want(t, "labels", fires.Labels, labels)
	want(t, "labels of the end", ends.Labels, labels)
	want(t, "begins", fires.StartsAt, noon)
	want(t, "holds for", fires.EndsAt.Sub(noon.Time).Round(time.Hour), 400*24*time.Hour)
	want(t, "ended", ends.EndsAt, later(55*time.Minute))
	want(t, "a short one ended", all[2].alert(t).EndsAt, noon)
	want(t, "a test ends", all[3].alert(t).EndsAt, later(5*time.Minute))
	wantFailure(t, c, plain(exportops.MessageSummary), true, "incidents alone")
}

// TestAlertmanagerServer tells a real one of an incident and of its end.
func TestAlertmanagerServer(t *testing.T) {
	base := os.Getenv("EXPORTOPS_TEST_ALERTMANAGER")
	if base == "" {
		t.Skip("EXPORTOPS_TEST_ALERTMANAGER is not set: run this by scripts/servers alertmanager -- go test ./notify")
	}
	m := firing()
	now := exportops.At(time.Now())
	m.At, m.Incident.StartedAt, m.Incident.Rule = now, exportops.At(now.Add(-time.Hour)), "rule-"+exportops.NewID()
	known := func() (all []posted) {
		query := url.Values{"filter": {`rule="` + m.Incident.Rule + `"`}}
		res, err := http.Get(base + "/api/v2/alerts?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s, %s, %v", res.Status, text, err)
		}
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	c := alertmanager(t, base)
	send(t, c, m, m) // twice is once
	eventually(t, "the alert", func() bool { return len(known()) == 1 })
	a := known()[0]
	want(t, "alert", []string{a.Labels["alertname"], a.Labels["severity"], a.Labels["subject"]}, []string{"exportops-" + m.Incident.Rule, "high", "file-cleanup"})
	if hold := time.Until(a.EndsAt.Time); hold < 300*24*time.Hour {
		t.Errorf("it holds for %s", hold)
	}
	m.Kind, m.Incident.State, m.Incident.ResolvedAt = exportops.MessageResolved, exportops.IncidentResolved, &now
	send(t, c, m)
	eventually(t, "its end", func() bool { return len(known()) == 0 })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
