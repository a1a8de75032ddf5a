package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// Alerts keeps incidents and silences; exportops.AlertStore satisfies it.
type Alerts interface {
	Incident(ctx context.Context, id string) (exportops.Incident, error)
	Incidents(ctx context.Context, f exportops.IncidentFilter) ([]exportops.Incident, string, error)
	IncidentHistory(ctx context.Context, id string) ([]exportops.IncidentEvent, error)
	PlaceSilence(ctx context.Context, s exportops.Silence) (exportops.Silence, error)
	EndSilence(ctx context.Context, id int64, by string, now exportops.Time) (exportops.Silence, error)
	Silences(ctx context.Context, after exportops.Time) ([]exportops.Silence, error)
}

// Watch looks after alerts and objectives; *alerting.Service satisfies it.
type Watch interface {
	Acknowledge(ctx context.Context, id, by string) (exportops.Incident, error)
	Objectives(ctx context.Context) ([]exportops.ObjectiveState, error)
}

type alertsInput struct {
	Rule   string `query:"rule" maxLength:"200" doc:"Only of this rule"`
	Open   bool   `query:"open" doc:"Only those that are not over"`
	Fired  bool   `query:"fired" doc:"Only those that fired at any time"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Incidents a page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type alertPath struct {
	ID string `path:"id" format:"uuid" doc:"The incident"`
}

// acknowledgement is the body that says who looks at an incident.
type acknowledgement struct {
	By string `json:"by" required:"true" doc:"Who looks at it"`
}

var (
	acknowledgementFields  = fieldsOf[acknowledgement]()
	exampleAcknowledgement = json.RawMessage(`{"by":"anna"}`)
)

// alertRule is a rule as an answer has it: durations are text.
type alertRule struct {
	Name        string              `json:"name"`
	Kind        exportops.AlertKind `json:"kind"`
	Severity    exportops.Severity  `json:"severity"`
	Threshold   float64             `json:"threshold" doc:"Beyond which it alerts: a share from 0 to 1, milliseconds, bytes, hours, minutes or a number, by the kind"`
	Clear       float64             `json:"clear" doc:"Where an alert is over"`
	MinSample   int64               `json:"min_sample" doc:"With fewer exports it says nothing; 0 where it rests on none"`
	Format      exportops.Format    `json:"format,omitempty" doc:"Only exports of this format"`
	UserID      string              `json:"user_id,omitempty" doc:"Only exports of this user"`
	Source      string              `json:"source" doc:"default, or where in the settings it is written"`
	Window      string              `json:"window,omitempty" doc:"How far it looks back, such as 1h0m0s"`
	ShortWindow string              `json:"short_window,omitempty" doc:"The second window of a burn rate"`
	For         string              `json:"for,omitempty" doc:"How long it must last before it fires"`
}

type (
	incidentOutput struct{ Body exportops.Incident }
	alertOutput    struct {
		Body struct {
			exportops.Incident
			History []exportops.IncidentEvent `json:"history" nullable:"false" doc:"What happened to it, oldest first"`
		} `nameHint:"Alert"`
	}
	alertsOutput struct {
		Body struct {
			Alerts     []exportops.Incident `json:"alerts" nullable:"false" doc:"Newest first"`
			NextCursor string               `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
		} `nameHint:"AlertPage"`
	}
	rulesOutput struct {
		Body struct {
			Rules []alertRule `json:"rules" nullable:"false" doc:"In the order in which they are looked at"`
		} `nameHint:"AlertRules"`
	}
	objectivesOutput struct {
		Body struct {
			Objectives []exportops.ObjectiveState `json:"objectives" nullable:"false"`
		} `nameHint:"Objectives"`
	}
)

func (s *server) alertRoutes() {
	op := func(id, method, path, scope, summary, description string, statuses ...int) huma.Operation {
		o := huma.Operation{
			OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary, Description: description, Tags: []string{tagAlerts},
			Security: needs(scope),
		}
		s.problems(&o, append(statuses, http.StatusBadRequest, http.StatusUnauthorized)...)
		return o
	}
	handle(s, op("list-alerts", http.MethodGet, "/alerts", scopeRead, "List incidents of alert rules", "Newest first, by pages."), s.incidents)
	handle(s, op("get-alert", http.MethodGet, "/alerts/{id}", scopeRead, "Read an incident, and what happened to it", "",
		http.StatusNotFound), s.incident)
	handle(s, op("list-alert-rules", http.MethodGet, "/alerts/rules", scopeRead, "List the alert rules that hold",
		"The default rules, with what the settings change, remove and add."), s.alertRules)
	ack := op("acknowledge-alert", http.MethodPost, "/alerts/{id}/ack", scopeAdmin, "Say that somebody looks at an incident",
		"No reminders are sent of it. Who was first stays. 409 when it is over.", http.StatusNotFound, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	handle(s, ack, s.acknowledge)
	s.takesObject(ack, schemaOf[acknowledgement](s), exampleAcknowledgement)

	handle(s, op("objectives", http.MethodGet, "/slo", scopeRead, "How the objectives are kept",
		"Each over an hour, a day and 30 days, and what is left of its budget."), s.objectives)
	s.silenceRoutes(op)
}

func (s *server) incidents(ctx context.Context, in *alertsInput) (*alertsOutput, error) {
	if in.Rule != "" {
		if err := exportops.CheckAlertName("rule", in.Rule); err != nil {
			return nil, inQuery(err)
		}
	}
	page, next, err := s.Alerts.Incidents(ctx, exportops.IncidentFilter{
		Rule: in.Rule, Open: in.Open, Fired: in.Fired, Before: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, inQuery(err)
	}
	out := &alertsOutput{}
	out.Body.Alerts, out.Body.NextCursor = orEmpty(page), next
	return out, nil
}

func (s *server) incident(ctx context.Context, in *alertPath) (*alertOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	out := &alertOutput{}
	if out.Body.Incident, err = s.Alerts.Incident(ctx, id); err != nil {
		return nil, err
	}
	history, err := s.Alerts.IncidentHistory(ctx, id)
	out.Body.History = orEmpty(history)
	return out, err
}

func (s *server) acknowledge(ctx context.Context, in *alertPath) (*incidentOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	var body acknowledgement
	if err := s.decodeBody(callOf(ctx), acknowledgementFields, &body); err != nil {
		return nil, err
	}
	if err := exportops.CheckAlertName("by", body.By); err != nil {
		return nil, err
	}
	i, err := s.Watch.Acknowledge(ctx, id, body.By)
	return &incidentOutput{i}, err
}

func (s *server) alertRules(context.Context, *struct{}) (*rulesOutput, error) {
	out := &rulesOutput{}
	out.Body.Rules = make([]alertRule, len(s.Rules))
	text := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	for n, r := range s.Rules {
		out.Body.Rules[n] = alertRule{
			Name: r.Name, Kind: r.Kind, Severity: r.Severity, Threshold: r.Threshold, Clear: r.Clear, MinSample: r.MinSample,
			Format: r.Format, UserID: r.UserID, Source: r.Source, Window: text(r.Window), ShortWindow: text(r.Short), For: text(r.For),
		}
	}
	return out, nil
}

func (s *server) objectives(ctx context.Context, _ *struct{}) (*objectivesOutput, error) {
	states, err := s.Watch.Objectives(ctx)
	out := &objectivesOutput{}
	out.Body.Objectives = states
	return out, err
}
