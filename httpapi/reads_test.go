package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/exportops/exportops"
)

func TestSummaries(t *testing.T) {
	h := serve(t, options())
	for name, path := range map[string]string{
		"aggregate":         "/api/v1/metrics/aggregate?start=2025-10-01T00:00:00Z&end=2025-10-02T00:00:00.5%2B01:00&period=daily",
		"aggregate_default": "/api/v1/metrics/aggregate",
		"aggregate_day":     "/api/v1/metrics/aggregate?period=daily",
		"failure_rate":      "/api/v1/metrics/failure-rate?lookback_minutes=30",
		"failure_rate_none": "/api/v1/metrics/failure-rate?lookback_minutes=1",
		"volume":            "/api/v1/metrics/volume?period=hourly&days=2",
		"volume_default":    "/api/v1/metrics/volume",
	} {
		golden(t, "summaries/"+name, request{method: http.MethodGet, path: path, token: readToken}.send(h))
	}
	for path, says := range map[string]string{
		"/api/v1/metrics/aggregate?start=2025-10-02T00:00:00Z&end=2025-10-01T00:00:00Z": "query.end",
		"/api/v1/metrics/aggregate?start=now":                                           "query.start",
		"/api/v1/metrics/aggregate?period=weekly":                                       "query.period",
		"/api/v1/metrics/failure-rate?lookback_minutes=0":                               "query.lookback_minutes",
		"/api/v1/metrics/volume?days=0":                                                 "query.days",
		"/api/v1/metrics/volume?days=1e3":                                               "query.days",
		"/api/v1/cleanup/log-statistics?retention_days=0":                               "query.retention_days",
	} {
		wantProblem(t, request{method: http.MethodGet, path: path, token: readToken}.send(h), http.StatusBadRequest, says)
	}
}

func TestLogStatisticsGoByTheRetention(t *testing.T) {
	o := options()
	o.LogRetention = 48 * time.Hour
	o.Logs = stub{logs: func(cut exportops.Time) (exportops.LogStatistics, error) {
		return exportops.LogStatistics{EligibleForCleanup: 4, TotalSizeEstimateMB: 0.5, CutoffDate: cut}, nil
	}}
	h := serve(t, o)
	golden(t, "summaries/log_statistics", request{method: http.MethodGet, path: "/api/v1/cleanup/log-statistics", token: readToken}.send(h))
	golden(t, "summaries/log_statistics_30", request{method: http.MethodGet, path: "/api/v1/cleanup/log-statistics?retention_days=30", token: adminToken}.send(h))
}

func TestRuns(t *testing.T) {
	run := exportops.Run{
		ID: runID, Job: exportops.FileCleanup, State: exportops.RunDone, Trigger: exportops.ByCron, Params: json.RawMessage(`{}`),
		Holder: "host 42", StartedAt: noon, FinishedAt: ptr(exportops.At(noon.Add(time.Second))), Result: json.RawMessage(`{"deleted_count":5}`),
	}
	var asked exportops.RunFilter
	o := options()
	o.Runs = stub{
		run: func(id string) (exportops.Run, error) {
			if id != runID {
				return exportops.Run{}, &exportops.Error{Kind: exportops.KindNotFound, Message: "there is no such run"}
			}
			return run, nil
		},
		runs: func(f exportops.RunFilter) ([]exportops.Run, string, error) {
			if f.Cursor == "bad" {
				return nil, "", exportops.Invalid("cursor", "it is none that was returned with a page")
			}
			asked = f
			return []exportops.Run{run}, "next", nil
		},
	}
	o.Runs = stub{run: o.Runs.(stub).run, runs: o.Runs.(stub).runs, cancel: func(id, by string) (exportops.Run, error) {
		if id != runID || by != "api" {
			t.Errorf("run %s cancelled by %q", id, by)
		}
		return exportops.Run{}, exportops.AlreadyEnded(run)
	}}
	h := serve(t, o)
	wantProblem(t, request{method: http.MethodPost, path: "/api/v1/runs/" + runID + "/cancel", token: adminToken}.send(h), 409, "has ended already: it is done")
	wantProblem(t, request{method: http.MethodPost, path: "/api/v1/runs/" + runID + "/cancel", token: readToken}.send(h), 401, "credential")
	golden(t, "runs/one", request{method: http.MethodGet, path: "/api/v1/runs/" + runID, token: readToken}.send(h))
	golden(t, "runs/list", request{method: http.MethodGet, path: "/api/v1/runs?job=file-cleanup&state=done&limit=1&cursor=c", token: readToken}.send(h))
	if want := (exportops.RunFilter{Job: exportops.FileCleanup, State: exportops.RunDone, Limit: 1, Cursor: "c"}); asked != want {
		t.Errorf("asked for %+v", asked)
	}
	wantProblem(t, request{method: http.MethodGet, path: "/api/v1/runs/" + exportID, token: readToken}.send(h), 404, "no such run")
	wantProblem(t, request{method: http.MethodGet, path: "/api/v1/runs/1", token: readToken}.send(h), 400, "path.id")
	for _, j := range exportops.Jobs {
		if a := (request{method: http.MethodGet, path: "/api/v1/runs?job=" + string(j), token: readToken}).send(h); a.Code != http.StatusOK {
			t.Errorf("runs of %s: %d %s", j, a.Code, a.Body)
		}
	}
	wantProblem(t, request{method: http.MethodGet, path: "/api/v1/runs?job=cleanup", token: readToken}.send(h), 400, "query.job")
	wantProblem(t, request{method: http.MethodGet, path: "/api/v1/runs?cursor=bad", token: readToken}.send(h), 400, "query.cursor")
}

func TestDeletions(t *testing.T) {
	entry := exportops.Deletion{
		ID: 7, ExportID: exportID, UserID: userID, Mode: exportops.ByExpiry, State: exportops.DeletionFailed, Store: "file:///srv",
		Bucket: "exports", Key: "a.csv", FileURL: ptr("a.csv"), ExpiresAt: ptr(noon.String()), FileSize: ptr(int64(10)),
		RowStatus: exportops.Completed, RunID: runID, Attempts: 2, Failures: 2, Error: "permission denied", ClaimedAt: noon, FinishedAt: &noon,
	}
	var asked exportops.DeletionFilter
	o := options()
	o.Deletions = stub{ledger: func(f exportops.DeletionFilter) ([]exportops.Deletion, error) {
		if f.ID == 8 || f.Before == entry.ID {
			return nil, nil
		}
		asked = f
		return []exportops.Deletion{entry}, nil
	}}
	h := serve(t, o)
	read := func(path string) *httptest.ResponseRecorder {
		return request{method: http.MethodGet, path: "/api/v1/deletions" + path, token: readToken}.send(h)
	}
	golden(t, "deletions/one", read("/7"))
	golden(t, "deletions/list", read("?limit=1&state=failed&cursor=9&run_id="+runID+"&from=2025-10-31T00:00:00Z&export_id="+strings.ToUpper(exportID)))
	want := exportops.DeletionFilter{ExportID: exportID, RunID: runID, State: exportops.DeletionFailed, From: exportops.At(noon.Add(-12 * time.Hour)), Before: 9, Limit: 1}
	if asked != want {
		t.Errorf("asked for %+v", asked)
	}
	retried := []int64{}
	o.Deletions = stub{ledger: o.Deletions.(stub).ledger, retry: func(ids []int64, by string) ([]int64, error) {
		retried = append(retried, ids...)
		if by != "api" {
			t.Errorf("by %q", by)
		}
		return ids, nil
	}}
	again := func(token string) *httptest.ResponseRecorder {
		return request{method: http.MethodPost, path: "/api/v1/deletions/7/retry", token: token}.send(serve(t, o))
	}
	wantProblem(t, again(readToken), 401, "credential")
	golden(t, "deletions/one", again(adminToken))
	entry.State = exportops.DeletionDone
	wantProblem(t, again(adminToken), 409, "entry 7 is deleted")
	if len(retried) != 1 || retried[0] != 7 {
		t.Errorf("tried again: %v", retried)
	}
	wantProblem(t, read("/8"), 404, "no entry 8")
	wantProblem(t, read("/x"), 400, "path.id")
	wantProblem(t, read("?state=gone"), 400, "query.state")
	wantProblem(t, read("?cursor=gone"), 400, "query.cursor")
	wantProblem(t, read("?run_id=gone"), 400, "query.run_id")
	wantProblem(t, request{method: http.MethodGet, path: "/api/v1/deletions", token: ingestToken}.send(h), 401, "credential")
}
