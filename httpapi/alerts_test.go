package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
)

// fakeAlerts has one incident and one silence, and remembers what it was asked.
type fakeAlerts struct {
	asked  exportops.IncidentFilter
	placed exportops.Silence
	ended  struct {
		id int64
		by string
	}
	acknowledgedBy string
	over           bool
}

var anIncident = exportops.Incident{
	ID: runID, Rule: "failure-rate", Kind: exportops.AlertFailureRate, Severity: exportops.SeverityHigh, State: exportops.IncidentFiring,
	Value: 0.15, Worst: 0.2, Threshold: 0.1, Sample: 20, Message: "Export failure rate (15.00%) exceeds threshold (10%)", StartedAt: noon,
	FiredAt: &noon, SeenAt: noon, Version: 2,
}

func (f *fakeAlerts) Incident(_ context.Context, id string) (exportops.Incident, error) {
	if id != runID {
		return exportops.Incident{}, exportops.NoSuchIncident(id)
	}
	return anIncident, nil
}

func (f *fakeAlerts) Incidents(_ context.Context, filter exportops.IncidentFilter) ([]exportops.Incident, string, error) {
	if filter.Before == "bad" {
		return nil, "", exportops.Invalid("cursor", "it is none that was returned with a page")
	}
	f.asked = filter
	return []exportops.Incident{anIncident}, "7", nil
}

func (f *fakeAlerts) IncidentHistory(context.Context, string) ([]exportops.IncidentEvent, error) {
	return []exportops.IncidentEvent{
		{IncidentID: runID, At: noon, Step: exportops.StepPending, Value: 0.15}, {IncidentID: runID, At: noon, Step: exportops.StepFiring, Value: 0.15},
	}, nil
}

func (f *fakeAlerts) PlaceSilence(_ context.Context, s exportops.Silence) (exportops.Silence, error) {
	f.placed = s
	s.ID = 3
	return s, nil
}

func (f *fakeAlerts) EndSilence(_ context.Context, id int64, by string, now exportops.Time) (exportops.Silence, error) {
	if id != 3 {
		return exportops.Silence{}, exportops.NoSuchSilence(id)
	}
	f.ended.id, f.ended.by = id, by
	return exportops.Silence{ID: id, Rule: "volume", Until: now, Reason: "a load test", PlacedBy: "anna", PlacedAt: noon, EndedAt: &now, EndedBy: by}, nil
}

func (f *fakeAlerts) Silences(_ context.Context, after exportops.Time) ([]exportops.Silence, error) {
	return []exportops.Silence{{ID: 3, Rule: "volume", Until: exportops.At(after.Add(time.Hour)), Reason: "a load test", PlacedBy: "anna", PlacedAt: noon}}, nil
}

func (f *fakeAlerts) Acknowledge(ctx context.Context, id, by string) (exportops.Incident, error) {
	i, err := f.Incident(ctx, id)
	if err == nil && f.over {
		err = &exportops.Error{Kind: exportops.KindConflict, Message: "incident " + id + " is over"}
	}
	f.acknowledgedBy = by
	i.AcknowledgedAt, i.AcknowledgedBy = &noon, by
	return i, err
}

func (f *fakeAlerts) Objectives(context.Context) ([]exportops.ObjectiveState, error) {
	return exportops.JudgeObjectives([]exportops.ObjectiveFigures{
		{}, {Exports: exportops.Figures{Completed: 9, Failed: 1}}, {Exports: exportops.Figures{Completed: 99, Failed: 1}, Gone: 10},
	}), nil
}

func TestAlerts(t *testing.T) {
	f := &fakeAlerts{}
	o := options()
	o.Alerts, o.Watch = f, f
	var err error
	o.Rules, err = alerting.Rules([]alerting.Change{{Name: "csv-failures", Source: "exportops.yaml:3", Fields: []alerting.Field{
		{Name: "kind", Text: "failure_rate"}, {Name: "threshold", Text: "5%"}, {Name: "window", Text: "1h"}, {Name: "format", Text: "csv"}, {Name: "for", Text: "5m"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	h := serve(t, o)
	get := func(path string) *httptest.ResponseRecorder {
		return request{method: http.MethodGet, path: "/api/v1" + path, token: readToken}.send(h)
	}
	send := func(method, path, token, body string) *httptest.ResponseRecorder {
		return request{method: method, path: "/api/v1" + path, token: token, body: body}.send(h)
	}
	golden(t, "alerts/list", get("/alerts?rule=failure-rate&open=true&fired=true&limit=1&cursor=9"))
	if d := cmp.Diff(exportops.IncidentFilter{Rule: "failure-rate", Open: true, Fired: true, Before: "9", Limit: 1}, f.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	golden(t, "alerts/one", get("/alerts/"+strings.ToUpper(runID)))
	golden(t, "alerts/rules", get("/alerts/rules"))
	golden(t, "alerts/objectives", get("/slo"))
	golden(t, "alerts/acknowledged", send(http.MethodPost, "/alerts/"+runID+"/ack", adminToken, `{"by":"anna"}`))
	if f.acknowledgedBy != "anna" {
		t.Errorf("acknowledged by %q", f.acknowledgedBy)
	}
	wantProblem(t, get("/alerts/"+exportID), 404, "no incident "+exportID)
	wantProblem(t, get("/alerts/1"), 400, "path.id")
	wantProblem(t, get("/alerts?cursor=bad"), 400, "query.cursor")
	wantProblem(t, get("/alerts?rule=a%00b"), 400, "query.rule")
	wantProblem(t, get("/alerts?rule="+strings.Repeat("a", 201)), 400, "query.rule")
	wantProblem(t, get("/alerts?open=maybe"), 400, "query.open")
	wantProblem(t, get("/alerts?state=firing"), 400, "query.state")
	for body, location := range map[string]string{
		`{}`: "body.by", `{"by":" "}`: "body.by", `{"by":"a\u0000"}`: "body.by", `{"by":"` + strings.Repeat("a", 201) + `"}`: "body.by",
		`{"by":"a","note":"x"}`: "body.note",
	} {
		wantProblem(t, send(http.MethodPost, "/alerts/"+runID+"/ack", adminToken, body), 422, location)
	}
	wantProblem(t, send(http.MethodPost, "/alerts/"+exportID+"/ack", adminToken, `{"by":"anna"}`), 404, "no incident")
	wantProblem(t, send(http.MethodPost, "/alerts/x/ack", adminToken, `{"by":"anna"}`), 400, "path.id")
	wantProblem(t, send(http.MethodPost, "/alerts/"+runID+"/ack", readToken, `{"by":"anna"}`), 401, "credential")
	f.over = true
	wantProblem(t, send(http.MethodPost, "/alerts/"+runID+"/ack", adminToken, `{"by":"anna"}`), 409, "is over")
	for _, path := range []string{"/alerts", "/alerts/" + runID, "/alerts/rules", "/slo", "/silences"} {
		wantProblem(t, send(http.MethodGet, path, ingestToken, ""), 401, "credential")
	}
}

func TestSilences(t *testing.T) {
	f := &fakeAlerts{}
	o := options()
	o.Alerts, o.Watch = f, f
	h := serve(t, o)
	send := func(method, path, token, body string) *httptest.ResponseRecorder {
		return request{method: method, path: "/api/v1/silences" + path, token: token, body: body}.send(h)
	}
	golden(t, "silences/list", send(http.MethodGet, "", readToken, ""))
	golden(t, "silences/placed", send(http.MethodPost, "", adminToken, `{"rule":"volume","for":"2h","reason":" a load test ","by":"anna"}`))
	want := exportops.Silence{Rule: "volume", Until: exportops.At(noon.Add(2 * time.Hour)), Reason: "a load test", PlacedBy: "anna", PlacedAt: noon}
	if d := cmp.Diff(want, f.placed); d != "" {
		t.Errorf("placed (-want +got):\n%s", d)
	}
	golden(t, "silences/ended", send(http.MethodDelete, "/3?ended_by=ben", adminToken, ""))
	if f.ended.id != 3 || f.ended.by != "ben" {
		t.Errorf("ended %+v", f.ended)
	}
	long := strings.Repeat("a", 201)
	for body, location := range map[string]string{
		`{"for":"2h","reason":"r"}`:                                             "body.by",
		`{"for":"2h","by":"a"}`:                                                 "body.reason",
		`{"reason":"r","by":"a"}`:                                               "body.for",
		`{"for":"soon","reason":"r","by":"a"}`:                                  "body.for",
		`{"for":"1s","reason":"r","by":"a"}`:                                    "body.for",
		`{"for":"2161h","reason":"r","by":"a"}`:                                 "body.for",
		`{"for":"-2h","reason":"r","by":"a"}`:                                   "body.for",
		`{"for":"2h","reason":"a\u0000b","by":"a"}`:                             "body.reason",
		`{"for":"2h","reason":"r","by":"a","rule":"` + long + `"}`:              "body.rule",
		`{"for":"2h","reason":"r","by":"a","subject":"a\u0000"}`:                "body.subject",
		`{"for":"2h","reason":"` + strings.Repeat("a", 2001) + `","by":"a"}`:    "body.reason",
		`{"for":"2h","reason":"r","by":"a","until":"2027-01-01T00:00:00.000Z"}`: "body.until",
	} {
		wantProblem(t, send(http.MethodPost, "", adminToken, body), 422, location)
	}
	wantProblem(t, send(http.MethodPost, "", readToken, `{"for":"2h","reason":"r","by":"a"}`), 401, "credential")
	wantProblem(t, send(http.MethodDelete, "/3?ended_by=ben", readToken, ""), 401, "credential")
	wantProblem(t, send(http.MethodDelete, "/3", adminToken, ""), 400, "query.ended_by")
	wantProblem(t, send(http.MethodDelete, "/3?ended_by=a%00", adminToken, ""), 400, "query.ended_by")
	wantProblem(t, send(http.MethodDelete, "/x?ended_by=a", adminToken, ""), 400, "path.id")
	wantProblem(t, send(http.MethodDelete, "/4?ended_by=a", adminToken, ""), 404, "no silence 4")
}
