package notify

import (
	"context"
	"net/http"

	"github.com/PagerDuty/go-pagerduty"

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

func (p *PagerDuty) event(ctx context.Context, m exportops.Message, action, dedup string) error {
	e := pagerduty.V2Event{
		RoutingKey: p.key, Action: action, DedupKey: dedup, Client: "exportops",
		Payload: &pagerduty.V2Payload{
			Summary: oneLine(m.Title, mostSummary), Source: "exportops", Severity: "info", Timestamp: m.At.String(),
			Details: map[string]string{"text": m.Text, "message": m.ID},
		},
	}
	if i := m.Incident; i != nil {
		e.Payload.Severity = pagerDutySeverity(i.Severity)
		e.Payload.Component, e.Payload.Group, e.Payload.Class = i.Subject, i.Rule, string(i.Kind)
	}
	// The library keeps no more of an error than its text, and takes an answer that it
	// cannot read for one: what happened is heard from the client below it.
	c := &overheard{client: p.client}
	api := pagerduty.NewClient("", pagerduty.WithV2EventsAPIEndpoint(p.endpoint))
	api.HTTPClient = c
	if _, err := api.ManageEventWithContext(ctx, &e); err != nil && !c.taken {
		return attempted(c.err)
	}
	return nil
}

// overheard keeps how a request of a library ended.
type overheard struct {
	client *http.Client
	taken  bool
	err    error
}

// Do implements the client that the library works with.
func (o *overheard) Do(req *http.Request) (*http.Response, error) {
	res, err := o.client.Do(req) //nolint:gosec // of a guard, which decides where it may go
	o.taken, o.err = err == nil, err
	return res, err
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
