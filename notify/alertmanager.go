package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/exportops/exportops"
)

// Alertmanager keeps an alert as long as it is told of it. We tell it of changes and
// send reminders, so each alert says itself until when it holds.
const (
	// firesFor is how long an alert holds of which nothing more is said: an incident
	// that was acknowledged is not repeated, and is not over for that.
	firesFor = 400 * 24 * time.Hour
	// clocksDiffer is by how much an end is put back. An end that lies ahead of
	// Alertmanager's clock would be taken for that of an alert that fires.
	clocksDiffer = 5 * time.Minute
	// testFor is how long a test shows.
	testFor = 5 * time.Minute
)

// Alertmanager posts alerts to the API v2 of Prometheus Alertmanager, which passes
// them on. An alert is that of a rule and its subject: a message that arrives twice
// changes nothing.
type Alertmanager struct {
	client *http.Client
	url    string // of its API's collection of alerts
}

var _ exportops.Channel = (*Alertmanager)(nil)

// NewAlertmanager returns a channel that posts to the Alertmanager at a URL, which may
// hold a user and password, by a client of a guard.
func NewAlertmanager(client *http.Client, base string) (*Alertmanager, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, hopeless("the URL of Alertmanager cannot be read")
	}
	return &Alertmanager{client, u.JoinPath("api", "v2", "alerts").String()}, nil
}

// alert is an alert as its API takes it.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    exportops.Time    `json:"startsAt"`
	EndsAt      exportops.Time    `json:"endsAt"`
}

// Send implements exportops.Channel.
func (a *Alertmanager) Send(ctx context.Context, m exportops.Message) error {
	out := alert{
		Labels:      map[string]string{"alertname": "exportops-test"},
		Annotations: map[string]string{"summary": oneLine(m.Title, mostTitle), "description": m.Text, "message": m.ID},
		StartsAt:    m.At, EndsAt: exportops.At(m.At.Add(testFor)),
	}
	switch i := m.Incident; {
	case m.Kind == exportops.MessageTest:
	case i == nil:
		return hopeless("Alertmanager is told of incidents alone")
	default:
		out.Labels = map[string]string{
			"alertname": "exportops-" + i.Rule, "rule": i.Rule, "subject": i.Subject, "severity": string(i.Severity),
		}
		out.Annotations["incident"] = i.ID
		out.StartsAt, out.EndsAt = i.StartedAt, exportops.At(m.At.Add(firesFor))
		if m.Kind == exportops.MessageResolved {
			out.EndsAt = ended(*i, m.At)
		}
	}
	body, err := json.Marshal([]alert{out})
	if err != nil {
		return hopeless("the message cannot be written as JSON")
	}
	return post(ctx, a.client, a.url, body, nil)
}

// ended is the end of an incident as Alertmanager is told it: surely past by its
// clock, and not before the beginning.
func ended(i exportops.Incident, at exportops.Time) exportops.Time {
	end := at
	if i.ResolvedAt != nil {
		end = *i.ResolvedAt
	}
	if end = exportops.At(end.Add(-clocksDiffer)); end.Before(i.StartedAt.Time) {
		return i.StartedAt
	}
	return end
}
