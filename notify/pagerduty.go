package notify

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/exportops/exportops"
)

// Where PagerDuty takes events, by the region of the account.
const (
	PagerDutyUS = "https://events.pagerduty.com"
	PagerDutyEU = "https://events.eu.pagerduty.com"
)

// mostSummary is the longest summary that PagerDuty takes.
const mostSummary = 1024

// PagerDuty triggers and resolves alerts by the Events API v2, an alert an incident:
// a message that arrives twice changes nothing.
type PagerDuty struct {
	client   *http.Client
	endpoint string
	key      string
}

var _ exportops.Channel = (*PagerDuty)(nil)

// NewPagerDuty returns a channel that sends events with a routing key to an endpoint,
// PagerDutyUS or PagerDutyEU, by a client of a guard.
func NewPagerDuty(client *http.Client, endpoint, routingKey string) *PagerDuty {
	return &PagerDuty{client, endpoint, routingKey}
}

// Send implements exportops.Channel. A test is an alert that is resolved at once.
func (p *PagerDuty) Send(ctx context.Context, m exportops.Message) error {
	switch m.Kind {
	case exportops.MessageFiring, exportops.MessageReminder, exportops.MessageResolved:
		if m.Incident == nil {
			return hopeless("the message is of no incident")
		}
		action := "trigger"
		if m.Kind == exportops.MessageResolved {
			action = "resolve"
		}
		return p.event(ctx, m, action, m.Incident.ID)
	case exportops.MessageTest:
		if err := p.event(ctx, m, "trigger", m.ID); err != nil {
			return err
		}
		return p.event(ctx, m, "resolve", m.ID)
	}
	return hopeless("PagerDuty wakes people, and is told of incidents alone")
}

// pagerDutyEvent is an event as its Events API v2 takes it.
type pagerDutyEvent struct {
	RoutingKey string           `json:"routing_key"`
	Action     string           `json:"event_action"`
	DedupKey   string           `json:"dedup_key"`
	Client     string           `json:"client"`
	Payload    pagerDutyPayload `json:"payload"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp exportops.Time    `json:"timestamp"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details"`
}

func (p *PagerDuty) event(ctx context.Context, m exportops.Message, action, dedup string) error {
	e := pagerDutyEvent{
		RoutingKey: p.key, Action: action, DedupKey: dedup, Client: "exportops",
		Payload: pagerDutyPayload{
			Summary: oneLine(m.Title, mostSummary), Source: "exportops", Severity: "info", Timestamp: m.At,
			Details: map[string]string{"text": m.Text, "message": m.ID},
		},
	}
	if i := m.Incident; i != nil {
		e.Payload.Severity = pagerDutySeverity(i.Severity)
		e.Payload.Component, e.Payload.Group, e.Payload.Class = i.Subject, i.Rule, string(i.Kind)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return hopeless("the message cannot be written as JSON")
	}
	return post(ctx, p.client, p.endpoint+"/v2/enqueue", body, nil)
}

// pagerDutySeverity is the severity in PagerDuty's words.
func pagerDutySeverity(s exportops.Severity) string {
	switch s {
	case exportops.SeverityCritical:
		return "critical"
	case exportops.SeverityHigh:
		return "error"
	case exportops.SeverityWarning:
		return "warning"
	}
	return "info"
}
