package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// fakeHolds answers what it is told to, and remembers what it was asked.
type fakeHolds struct {
	placed   exportops.Hold
	released struct {
		id int64
		by string
	}
	asked exportops.HoldFilter
	fail  error
}

func (f *fakeHolds) PlaceHold(_ context.Context, h exportops.Hold, _ exportops.Locator) (exportops.Hold, error) {
	f.placed = h
	h.ID = 7
	return h, f.fail
}

func (f *fakeHolds) ReleaseHold(_ context.Context, id int64, by string, now exportops.Time) (exportops.Hold, error) {
	f.released.id, f.released.by = id, by
	return exportops.Hold{ID: id, Scope: exportops.HoldAll, Reason: "r", PlacedBy: "p", PlacedAt: noon, ReleasedAt: &now, ReleasedBy: by}, f.fail
}

func (f *fakeHolds) Holds(_ context.Context, filter exportops.HoldFilter) ([]exportops.Hold, error) {
	f.asked = filter
	var page []exportops.Hold
	for id := int64(9); id > 0 && len(page) < filter.Limit; id-- {
		if filter.Before == 0 || id < filter.Before {
			page = append(page, exportops.Hold{ID: id, Scope: exportops.HoldUser, Subject: userID, Reason: "a case", PlacedBy: "counsel", PlacedAt: noon})
		}
	}
	return page, f.fail
}

func TestHolds(t *testing.T) {
	const path = "/api/v1/holds"
	f := &fakeHolds{}
	o := options()
	o.Holds = f
	h := serve(t, o)
	post := func(body string) request {
		return request{method: http.MethodPost, path: path, token: adminToken, body: body, header: []string{"Content-Type", "application/json"}}
	}
	golden(t, "holds/placed", post(`{"scope":"export","subject":"7F3C2A10-9B1E-4C55-8A54-0C1D2E3F4A5B","reason":" a case ","placed_by":"counsel"}`).send(h))
	want := exportops.Hold{Scope: exportops.HoldExport, Subject: exportID, Reason: "a case", PlacedBy: "counsel", PlacedAt: noon}
	if d := cmp.Diff(want, f.placed); d != "" {
		t.Errorf("placed (-want +got):\n%s", d)
	}
	for body, location := range map[string]string{
		`{"scope":"user","reason":"r","placed_by":"p"}`:                                                   "body.subject",
		`{"scope":"all","subject":"` + userID + `","reason":"r","placed_by":"p"}`:                         "body.subject",
		`{"scope":"everything","reason":"r","placed_by":"p"}`:                                             "body.scope",
		`{"scope":"all","reason":"  ","placed_by":"p"}`:                                                   "body.reason",
		`{"scope":"all","reason":"r"}`:                                                                    "body.placed_by",
		`{"scope":"all","reason":"r","placed_by":"p","row_only":true}`:                                    "body.row_only",
		`{"scope":"all","reason":"r","placed_by":"p","row_only":"yes"}`:                                   "body.row_only",
		`{"scope":"all","reason":"r","placed_by":"p","until":"2027-01-01T00:00:00.000Z"}`:                 "body.until",
		`{"scope":"export","subject":"` + exportID + `","reason":"r","placed_by":"a\u0000","row_only":1}`: "body.row_only",
	} {
		wantProblem(t, post(body).send(h), 422, location)
	}
	f.fail = want.TooLate(exportops.Deletion{ExportID: exportID, State: exportops.DeletionClaimed, RunID: runID, ClaimedAt: noon})
	golden(t, "holds/too_late", post(`{"scope":"export","subject":"`+exportID+`","reason":"a case","placed_by":"counsel"}`).send(h))
	f.fail = nil

	golden(t, "holds/list", request{method: http.MethodGet, path: path + "?limit=2&all=true", token: adminToken}.send(h))
	if d := cmp.Diff(exportops.HoldFilter{All: true, Limit: 2}, f.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	golden(t, "holds/last_page", request{method: http.MethodGet, path: path + "?limit=2&cursor=2", token: adminToken}.send(h))
	wantProblem(t, request{method: http.MethodGet, path: path + "?cursor=x", token: adminToken}.send(h), 400, "query.cursor")
	wantProblem(t, request{method: http.MethodGet, path: path, token: readToken}.send(h), 401, "")

	golden(t, "holds/released", request{method: http.MethodDelete, path: path + "/7?released_by=counsel", token: adminToken}.send(h))
	if f.released.id != 7 || f.released.by != "counsel" {
		t.Errorf("released %+v", f.released)
	}
	wantProblem(t, request{method: http.MethodDelete, path: path + "/7", token: adminToken}.send(h), 400, "query.released_by")
	wantProblem(t, request{method: http.MethodDelete, path: path + "/x?released_by=p", token: adminToken}.send(h), 400, "path.id")
	f.fail = exportops.NoSuchHold(8)
	wantProblem(t, request{method: http.MethodDelete, path: path + "/8?released_by=p", token: adminToken}.send(h), 404, "")
}
