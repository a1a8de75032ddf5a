package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// fakeOutbox holds notifications; those that are dead can be tried again, unless a
// later one was told.
type fakeOutbox struct {
	all   []exportops.Notification
	late  bool
	fail  error
	asked exportops.NotificationFilter
}

func (f *fakeOutbox) at(id string) int {
	return slices.IndexFunc(f.all, func(n exportops.Notification) bool { return n.ID == id })
}

func (f *fakeOutbox) Notification(_ context.Context, id string) (exportops.Notification, error) {
	if at := f.at(id); at >= 0 {
		return f.all[at], f.fail
	}
	return exportops.Notification{}, exportops.NoSuchNotification(id)
}

func (f *fakeOutbox) Notifications(_ context.Context, filter exportops.NotificationFilter) ([]exportops.Notification, string, error) {
	f.asked = filter
	if filter.Before == "x" {
		return nil, "", exportops.Invalid("cursor", "it is none")
	}
	return f.all, "7", f.fail
}

func (f *fakeOutbox) RetryNotifications(_ context.Context, ids []string, now exportops.Time) (done []string, err error) {
	for _, id := range ids {
		if at := f.at(id); at >= 0 && f.all[at].State == exportops.NotificationDead && !f.late {
			f.all[at].State, f.all[at].Failures, f.all[at].NextAt, f.all[at].SettledAt = exportops.NotificationPending, 0, now, nil
			done = append(done, id)
		}
	}
	return done, f.fail
}

func TestNotifications(t *testing.T) {
	const path = "/api/v1/notifications"
	settled := exportops.At(noon.Add(time.Hour))
	incident := exportops.Incident{
		ID: runID, Rule: "failure-rate", Kind: exportops.AlertFailureRate, Severity: exportops.SeverityHigh, State: exportops.IncidentFiring,
		Value: 0.2, Worst: 0.2, Threshold: 0.1, Sample: 10, Message: "too many", StartedAt: noon, FiredAt: &noon, SeenAt: noon,
	}
	dead := exportops.Notification{
		ID: exportID, Channel: "ops", IncidentID: runID, State: exportops.NotificationDead, Attempts: 12, Failures: 12, NextAt: noon,
		Error: "503", CreatedAt: noon, SettledAt: &settled, Message: exportops.Message{
			ID: exportID, Kind: exportops.MessageFiring, At: noon, Title: "high: too many", Text: "high: too many\n", Incident: &incident,
		},
	}
	o, outbox := options(), &fakeOutbox{all: []exportops.Notification{dead}}
	o.Notifications = outbox
	h := serve(t, o)
	get := func(rest, token string) request {
		return request{method: http.MethodGet, path: path + rest, token: token}
	}
	retry := request{method: http.MethodPost, path: path + "/" + exportID + "/retry", token: adminToken}

	golden(t, "notifications/list", get("?state=dead&channel=ops&limit=3&cursor=9", readToken).send(h))
	want := exportops.NotificationFilter{State: exportops.NotificationDead, Channel: "ops", Limit: 3, Before: "9"}
	if d := cmp.Diff(want, outbox.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	golden(t, "notifications/one", get("/"+exportID, readToken).send(h))
	wantProblem(t, get("?cursor=x", readToken).send(h), 400, "query.cursor")
	wantProblem(t, get("?state=gone", readToken).send(h), 400, "query.state")
	wantProblem(t, get("", "").send(h), 401, "")
	wantProblem(t, get("/"+otherExport, readToken).send(h), 404, otherExport)
	wantProblem(t, get("/x", readToken).send(h), 400, "path.id")

	denied := retry
	denied.token = readToken
	wantProblem(t, denied.send(h), 401, "")
	outbox.late = true
	wantProblem(t, retry.send(h), 409, "would be old news")
	outbox.late = false
	golden(t, "notifications/retried", retry.send(h))
	wantProblem(t, retry.send(h), 409, "is pending, not dead")
	retry.path = path + "/" + otherExport + "/retry"
	wantProblem(t, retry.send(h), 404, otherExport)
	outbox.fail = errors.New("the disk")
	wantProblem(t, get("/"+exportID, readToken).send(h), 500, "")
}
