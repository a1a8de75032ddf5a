package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/archive"
)

// shelf holds three archives, of which the second is damaged, with four rows.
type shelf struct{ asked archive.Query }

var shelved = []exportops.Archive{
	{ID: 3, State: exportops.ArchiveIntended, Store: "file:///cold", Key: "k3", Month: noon, CreatedAt: noon},
	{ID: 2, State: exportops.ArchiveDone, Store: "file:///cold", Key: "k2", Month: noon, Rows: 2, CreatedAt: noon},
	{ID: 1, State: exportops.ArchiveDone, Store: "file:///cold", Key: "k1", Month: noon, Rows: 2, CreatedAt: noon},
}

func (s *shelf) Audit(_ context.Context, sample int) (archive.Audit, error) {
	if sample == 1 {
		return archive.Audit{Archives: 2, Checked: 1, Rows: 2, Faults: []archive.Fault{}, Unrecorded: []string{}}, nil
	}
	return archive.Audit{
		Archives: 2, Checked: 2, Rows: 2, Faults: []archive.Fault{{ID: 2, Key: "k2", Fault: "its SHA-256 is not what it was"}}, Unrecorded: []string{},
	}, nil
}

func (s *shelf) Verify(_ context.Context, a exportops.Archive) (string, error) {
	if a.ID == 2 {
		return "its SHA-256 is not what it was", nil
	}
	return "", nil
}

func (s *shelf) Search(_ context.Context, q archive.Query) iter.Seq2[archive.Found, error] {
	s.asked = q
	return func(yield func(archive.Found, error) bool) {
		for i := range 4 {
			if !yield(archive.Found{Archive: "k1", ArchivedRow: exportops.ArchivedRow{ID: fmt.Sprint(i)}}, nil) {
				return
			}
		}
		if q.Format == exportops.CSV {
			yield(archive.Found{}, &exportops.Error{Kind: exportops.KindUnavailable, Message: "archive k2 is not as it was written"})
		}
	}
}

func TestArchives(t *testing.T) {
	o, k := options(), &shelf{}
	o.Keeper = k
	o.Archives = stub{archives: func(f exportops.ArchiveFilter) ([]exportops.Archive, error) {
		var page []exportops.Archive
		for _, a := range shelved {
			if (f.Before == 0 || a.ID < f.Before) && (f.State == "" || f.State == a.State) && len(page) < f.Limit {
				page = append(page, a)
			}
		}
		return page, nil
	}}
	h := serve(t, o)
	get := func(path string) request {
		return request{method: http.MethodGet, path: "/api/v1/archives" + path, token: readToken}
	}
	post := func(path string) request {
		return request{method: http.MethodPost, path: "/api/v1/archives" + path, token: adminToken}
	}
	golden(t, "archives/list", get("?limit=2").send(h))
	golden(t, "archives/last_page", get("?limit=2&cursor=2&state=done").send(h))
	golden(t, "archives/one", get("/1").send(h))
	golden(t, "archives/verified", post("/verify").send(h))
	golden(t, "archives/verified_sample", post("/verify?sample=1").send(h))
	golden(t, "archives/verified_one", post("/1/verify").send(h))
	golden(t, "archives/damaged_one", post("/2/verify").send(h))
	golden(t, "archives/search", get("/search?limit=3&user_id="+strings.ToUpper(userID)).send(h))
	if k.asked.UserID != userID {
		t.Errorf("searched for %+v", k.asked)
	}
	golden(t, "archives/search_last", get("/search?limit=3&cursor=3").send(h))
	wantProblem(t, get("/9").send(h), 404, "there is no archive 9")
	wantProblem(t, get("?cursor=x").send(h), 400, "query.cursor")
	wantProblem(t, get("/search?cursor=0").send(h), 400, "query.cursor")
	wantProblem(t, get("/search?format=csv").send(h), 503, "not as it was written")
	wantProblem(t, post("/3/verify").send(h), 409, "archive 3 is intended")
	wantProblem(t, request{method: http.MethodPost, path: "/api/v1/archives/verify", token: readToken}.send(h), 401, "")

	o.Archives = stub{days: []exportops.ChainDay{{Day: "2025-10-30", Links: 1, Hash: make([]byte, 32)}}}
	golden(t, "archives/broken_ledger", post("/verify?sample=1").send(serve(t, o)))

	o.Keeper = nil
	h = serve(t, o)
	wantProblem(t, post("/verify").send(h), 409, "no storage for archives is configured")
	wantProblem(t, get("/search").send(h), 409, "no storage for archives is configured")
}

func TestReconciling(t *testing.T) {
	o := options()
	expires := noon.String()
	url := "u/a.csv"
	missing := exportops.MissingFile{ExportID: exportID, Store: "file:///srv", Key: "a.csv", FileURL: &url, ExpiresAt: &expires, FirstSeen: noon, LastSeen: noon}
	o.Reconciled = stub{
		unknown: func(f exportops.UnknownFilter) ([]exportops.UnknownFile, error) {
			if f.Store != "file:///srv" {
				t.Errorf("asked for %+v", f)
			}
			return []exportops.UnknownFile{{Store: f.Store, Key: "b.csv", State: exportops.UnknownSeen, FirstSeen: noon, LastSeen: noon, Modified: noon}}[:min(1, f.Limit)], nil
		},
		missing: func(f exportops.MissingFilter) ([]exportops.MissingFile, error) {
			return []exportops.MissingFile{missing}, nil
		},
	}
	row := exportops.Export{
		ExportID: exportID, UserID: userID, Timestamp: noon, Format: exportops.CSV, Status: exportops.Completed, FileURL: &url, ExpiresAt: &noon,
		Config: []byte(`{}`), CreatedAt: noon, UpdatedAt: noon,
	}
	again := row
	again.ExportID, again.ExpiresAt = otherExport, nil
	o.Exports = stub{list: func(exportops.ExportFilter) ([]exportops.Export, string, error) {
		return []exportops.Export{row, again}, "", nil
	}}
	h := serve(t, o)
	golden(t, "reconcile/ran", request{method: http.MethodPost, path: "/api/v1/reconcile?dry_run=true&stuck_after_hours=48", token: adminToken}.send(h))
	golden(t, "reconcile/unknown", request{method: http.MethodGet, path: "/api/v1/reconcile/unknown?limit=1&state=seen", token: readToken}.send(h))
	golden(t, "reconcile/missing", request{method: http.MethodGet, path: "/api/v1/reconcile/missing", token: readToken}.send(h))
	golden(t, "reconcile/exports", request{method: http.MethodGet, path: "/api/v1/exports", token: readToken}.send(h))
	wantProblem(t, request{method: http.MethodPost, path: "/api/v1/reconcile", token: readToken}.send(h), 401, "")
}

func TestTheReport(t *testing.T) {
	o := options()
	evil, fail := "=HYPERLINK(1)", error(nil)
	o.Report = stub{list: func(f exportops.ExportFilter) ([]exportops.Export, string, error) {
		page := make([]exportops.Export, 200)
		for i := range page {
			page[i] = exportops.Export{ExportID: exportID, UserID: userID, Timestamp: noon, CreatedAt: noon, Status: exportops.Completed, FileURL: &evil}
		}
		if f.Cursor != "" {
			return page, "", fail
		}
		return page, "more", nil
	}}
	h := serve(t, o)
	get := func(path string) request {
		return request{method: http.MethodGet, path: "/api/v1/exports/report" + path, token: readToken}
	}
	w := get("?from=2025-10-01T00:00:00Z").send(h)
	body := w.Body.String()
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" || strings.Count(body, "\r\n") != 401 ||
		!strings.Contains(body, ",'=HYPERLINK(1),") || !strings.Contains(strings.SplitN(body, "\r\n", 2)[0], ",held,") {
		t.Errorf("%d %s %.300s", w.Code, w.Header(), body)
	}
	wantProblem(t, get("?from=2025-10-01T00:00:00Z&to=2025-09-01T00:00:00Z").send(h), 400, "query.to")

	// One that breaks off is cut off.
	fail = errors.New("no database")
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // the very value
				t.Errorf("it ended with %v", v)
			}
		}()
		get("").send(h)
		t.Error("half a report was taken for a whole one")
	}()
	o.Report = stub{list: func(exportops.ExportFilter) ([]exportops.Export, string, error) { return nil, "", fail }}
	wantProblem(t, get("").send(serve(t, o)), 500, "")
}

func TestTheReportUnderAPolicy(t *testing.T) {
	o := options()
	o.LogRetention = 30 * 24 * time.Hour
	o.Report = stub{list: func(exportops.ExportFilter) ([]exportops.Export, string, error) {
		return []exportops.Export{{ExportID: exportID, UserID: userID, Timestamp: noon, CreatedAt: noon, Status: exportops.Completed}}, "", nil
	}}
	get := func() string {
		t.Helper()
		body := request{method: http.MethodGet, path: "/api/v1/exports/report", token: readToken}.send(serve(t, o)).Body.String()
		return body[strings.LastIndex(body, ",")+1:]
	}
	if until := get(); until != exportops.At(noon.Add(o.LogRetention)).String()+"\r\n" {
		t.Errorf("without a policy the log row is kept until %q", until)
	}
	policy, err := exportops.NewPolicy(exportops.KeepFor(24*time.Hour), exportops.KeepFor(48*time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Policy = policy
	if until := get(); until != exportops.At(noon.Add(48*time.Hour)).String()+"\r\n" {
		t.Errorf("by the policy the log row is kept until %q", until)
	}
}
