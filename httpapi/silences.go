package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// newSilence is the body that places a silence.
type newSilence struct {
	Rule    string `json:"rule,omitempty" doc:"Of this rule alone; left out for every rule"`
	Subject string `json:"subject,omitempty" doc:"Of this subject alone, such as a job"`
	For     string `json:"for" required:"true" doc:"How long, such as 2h; at most 2160h"`
	Reason  string `json:"reason" required:"true" doc:"Why"`
	By      string `json:"by" required:"true" doc:"Who places it"`
}

var (
	newSilenceFields  = fieldsOf[newSilence]()
	exampleNewSilence = json.RawMessage(`{"rule":"volume","for":"2h","reason":"a load test","by":"anna"}`)
)

type silencePath struct {
	ID      int64  `path:"id" minimum:"1" doc:"The silence"`
	EndedBy string `query:"ended_by" required:"true" minLength:"1" maxLength:"200" doc:"Who ends it"`
}

type (
	silenceOutput  struct{ Body exportops.Silence }
	silencesOutput struct {
		Body struct {
			Silences []exportops.Silence `json:"silences" nullable:"false" doc:"Newest first"`
		} `nameHint:"Silences"`
	}
)

func (s *server) silenceRoutes(op func(id, method, path, scope, summary, description string, statuses ...int) huma.Operation) {
	place := op("place-silence", http.MethodPost, "/silences", scopeAdmin, "Silence a rule, or all, for a while",
		"Incidents are kept as ever, and those that still fire when it ends are told of then.", http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	place.DefaultStatus = http.StatusCreated
	handle(s, place, s.placeSilence)
	s.takesObject(place, schemaOf[newSilence](s), exampleNewSilence)
	handle(s, op("list-silences", http.MethodGet, "/silences", scopeRead, "List the silences that are not over", ""), s.silences)
	handle(s, op("end-silence", http.MethodDelete, "/silences/{id}", scopeAdmin, "End a silence before its time",
		"One that is over stays as it is.", http.StatusNotFound), s.endSilence)
}

func (s *server) placeSilence(ctx context.Context, _ *struct{}) (*silenceOutput, error) {
	var in newSilence
	if err := s.decodeBody(callOf(ctx), newSilenceFields, &in); err != nil {
		return nil, err
	}
	length, err := time.ParseDuration(in.For)
	if err != nil {
		return nil, exportops.Invalid("for", "%s is not a duration such as 2h", shortName(in.For))
	}
	now := s.now()
	q, err := exportops.Silence{
		Rule: in.Rule, Subject: in.Subject, Until: exportops.At(now.Add(length)), Reason: in.Reason, PlacedBy: in.By, PlacedAt: now,
	}.Check()
	if err != nil {
		return nil, err
	}
	q, err = s.Alerts.PlaceSilence(ctx, q)
	return &silenceOutput{q}, err
}

func (s *server) silences(ctx context.Context, _ *struct{}) (*silencesOutput, error) {
	all, err := s.Alerts.Silences(ctx, s.now())
	out := &silencesOutput{}
	out.Body.Silences = orEmpty(all)
	return out, err
}

func (s *server) endSilence(ctx context.Context, in *silencePath) (*silenceOutput, error) {
	if err := exportops.CheckAlertName("ended_by", in.EndedBy); err != nil {
		return nil, inQuery(err)
	}
	q, err := s.Alerts.EndSilence(ctx, in.ID, in.EndedBy, s.now())
	return &silenceOutput{q}, err
}
