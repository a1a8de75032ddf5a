package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/jobs"
)

const (
	aggregatePath = "/api/cron/export-metrics-aggregate"
	filesPath     = "/api/cron/export-file-cleanup"
	logsPath      = "/api/cron/export-log-cleanup"
)

func TestCronAnswers(t *testing.T) {
	failing := func(a jobs.Answer, err error) func(context.Context, jobs.Request) (jobs.Answer, error) {
		return func(context.Context, jobs.Request) (jobs.Answer, error) { return a, err }
	}
	partly := jobs.Answer{
		Run: exportops.Run{ID: runID}, Failure: "2 of 5 files could not be deleted",
		Result: jobs.Result{Files: &exportops.FileCleanupResult{
			TotalFound: 5, DeletedCount: 3, FailedCount: 2, LogsUpdated: 3, Complete: true, RunID: runID, Timestamp: noon, ErrorsTotal: 2,
			Errors: []exportops.ExportError{{ExportID: exportID, Error: "<script>"}, {ExportID: otherExport, Error: "denied"}},
		}},
	}
	refusal := &exportops.Error{Kind: exportops.KindRefused, Message: "120000 files are due, more than ten times the 900 of the largest of the last runs", Hint: "look at a dry run, then repeat with force=true"}
	for _, tc := range []struct {
		name, path string
		run        func(context.Context, jobs.Request) (jobs.Answer, error)
		status     int
	}{
		{"aggregate", aggregatePath, succeed, 200},
		{"files", filesPath, succeed, 200},
		{"logs", logsPath, succeed, 200},
		{"items_failed", filesPath, failing(partly, nil), 500},
		{"job_failed", logsPath, failing(jobs.Answer{}, errors.New("disk I/O error at /secret/path")), 500},
		{"storage_missing", filesPath, failing(jobs.Answer{}, &exportops.Error{Kind: exportops.KindUnavailable, Message: "the storage root is missing", Hint: "mount it"}), 500},
		{"refused", filesPath, failing(jobs.Answer{}, refusal), 409},
		{"refused_with_figures", filesPath, failing(jobs.Answer{Result: partly.Result}, refusal), 409},
		{"conflict", filesPath, failing(jobs.Answer{}, &exportops.Error{Kind: exportops.KindConflict, Message: "a run with other parameters is active"}), 409},
		{"pending", filesPath, failing(jobs.Answer{Run: exportops.Run{ID: runID, State: exportops.RunRunning}, Pending: true}, nil), 202},
		{"no_result", filesPath, failing(jobs.Answer{Run: exportops.Run{ID: runID}}, nil), 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options()
			o.Jobs = &fakeJobs{run: tc.run}
			h := serve(t, o)
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := request{method: method, path: tc.path, token: cronSecret}.send(h)
				if w.Code != tc.status {
					t.Errorf("%s: %d, want %d", method, w.Code, tc.status)
				}
				golden(t, "cron/"+tc.name, w)
			}
		})
	}
}

func TestCronAsksForWhatTheCallSays(t *testing.T) {
	seven := 7
	for _, tc := range []struct {
		name, path string
		header     []string
		want       jobs.Request
	}{
		{"defaults", filesPath, nil, jobs.Request{Job: exportops.FileCleanup}},
		{"dry_run", logsPath + "?dry_run=true", nil, jobs.Request{Job: exportops.LogCleanup, DryRun: true}},
		{"force", aggregatePath + "?force=true&dry_run=false", nil, jobs.Request{Job: exportops.MetricsAggregate, Force: true}},
		{"by_age", filesPath + "?retention_hours=7", nil, jobs.Request{Job: exportops.FileCleanup, RetentionHours: &seven}},
		{"retention", logsPath + "?retention_days=7", nil, jobs.Request{Job: exportops.LogCleanup, RetentionDays: &seven}},
		{"key", filesPath, []string{"Idempotency-Key", "k-1", "Upstash-Message-Id", "m"}, jobs.Request{Job: exportops.FileCleanup, IdempotencyKey: "k-1"}},
		{"qstash", filesPath, []string{"Upstash-Message-Id", "msg_1"}, jobs.Request{Job: exportops.FileCleanup, IdempotencyKey: "qstash file-cleanup msg_1"}},
		{
			"cloud_scheduler", logsPath,
			[]string{"X-CloudScheduler-JobName", "nightly", "X-CloudScheduler-ScheduleTime", "2025-10-31T03:00:00Z"},
			jobs.Request{Job: exportops.LogCleanup, IdempotencyKey: "cloudscheduler log-cleanup nightly 2025-10-31T03:00:00Z"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options()
			j := &fakeJobs{run: succeed}
			o.Jobs = j
			w := request{method: http.MethodGet, path: tc.path, token: cronSecret, header: tc.header}.send(serve(t, o))
			tc.want.Trigger, tc.want.Budget = exportops.ByCron, httpapi.DefaultBudget
			if w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff(tc.want, j.last); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCronRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, tc := range []struct{ name, path, says string }{
		{"retention_of_zero_hours", filesPath + "?retention_hours=0", "query.retention_hours"},
		{"negative_retention", logsPath + "?retention_days=-1", "query.retention_days"},
		{"retention_in_words", logsPath + "?retention_days=seven", "query.retention_days"},
		{"retention_beyond_int", logsPath + "?retention_days=99999999999999999999", "query.retention_days"},
		{"retention_of_another_job", filesPath + "?retention_days=3", "retention_days: there is no such parameter"},
		{"misspelt_dry_run", filesPath + "?dryrun=true", "dryrun: there is no such parameter"},
		{"dry_run_in_other_words", filesPath + "?dry_run=yes", "query.dry_run"},
		{"empty_dry_run", filesPath + "?dry_run=", "dry_run: empty"},
		{"dry_run_twice", filesPath + "?dry_run=true&dry_run=false", "dry_run: given 2 times"},
		{"malformed_query", filesPath + "?dry_run=%zz", "malformed"},
		{"semicolons", filesPath + "?dry_run=true;force=true", "malformed"},
		{"hostile_name", filesPath + "?%3Cscript%3E%00%FF=1", "there is no such parameter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options()
			o.Jobs = &fakeJobs{run: func(context.Context, jobs.Request) (jobs.Answer, error) {
				t.Error("the job ran")
				return jobs.Answer{}, nil
			}}
			wantProblem(t, request{method: http.MethodPost, path: tc.path, token: cronSecret}.send(serve(t, o)), 400, tc.says)
		})
	}
	w := request{method: http.MethodPost, path: filesPath, token: cronSecret, header: []string{"Idempotency-Key", "a\tb"}}.send(serve(t, options()))
	wantProblem(t, w, 400, "header.Idempotency-Key")
}

func TestARunGoesOnWhenItsCallerHangsUpAndEndsWithTheServer(t *testing.T) {
	base, stop := context.WithCancel(t.Context())
	caller, hangUp := context.WithCancel(t.Context())
	o := options()
	o.Base = base
	o.Jobs = &fakeJobs{run: func(ctx context.Context, r jobs.Request) (jobs.Answer, error) {
		hangUp()
		if ctx.Err() != nil {
			t.Error("the run ended with its caller")
		}
		stop()
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
			t.Error("the run did not end with the server")
		}
		return succeed(ctx, r)
	}}
	send(serve(t, o), request{method: http.MethodPost, path: filesPath, token: cronSecret}.build(caller, nil))
}

func TestUserLogCleanup(t *testing.T) {
	path := "/api/v1/users/" + userID + "/export-logs"
	o := options()
	j := &fakeJobs{run: succeed}
	o.Jobs = j
	w := request{method: http.MethodDelete, path: path, token: adminToken}.send(serve(t, o))
	golden(t, "users/deleted", w)
	want := jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByAPI, UserID: userID, Budget: httpapi.DefaultBudget}
	if diff := cmp.Diff(want, j.last); diff != "" {
		t.Error(diff)
	}

	o.Jobs = &fakeJobs{run: func(ctx context.Context, r jobs.Request) (jobs.Answer, error) {
		a, err := succeed(ctx, r)
		a.Failure, a.Result.Logs.FailedCount = "1 file could not be deleted", 1
		return a, err
	}}
	golden(t, "users/failed", request{method: http.MethodDelete, path: path, token: adminToken}.send(serve(t, o)))
	wantProblem(t, request{method: http.MethodDelete, path: "/api/v1/users/nobody/export-logs", token: adminToken}.send(serve(t, o)), 400, "path.user_id")
}

func TestErasure(t *testing.T) {
	path := "/api/v1/users/" + userID + "/erasure"
	o := options()
	receipt := exportops.Erasure{ID: exportops.NewID(), UserHash: "aa", Rows: 3}
	receipt.Seal()
	j := &fakeJobs{run: func(_ context.Context, r jobs.Request) (jobs.Answer, error) {
		return jobs.Answer{Result: jobs.Result{Erased: &exportops.ErasureResult{Receipt: &receipt}}}, nil
	}}
	o.Jobs = j
	w := request{method: http.MethodPost, path: path, token: adminToken}.send(serve(t, o))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"receipt":{"id":"`+receipt.ID+`"`) || strings.Contains(w.Body.String(), userID) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want := jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByAPI, UserID: userID, Budget: httpapi.DefaultBudget}
	if diff := cmp.Diff(want, j.last); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, request{method: http.MethodPost, path: path, token: readToken}.send(serve(t, o)), 401, "")
	wantProblem(t, request{method: http.MethodPost, path: "/api/v1/users/nobody/erasure", token: adminToken}.send(serve(t, o)), 400, "path.user_id")

	o.Jobs = &fakeJobs{run: func(context.Context, jobs.Request) (jobs.Answer, error) {
		res := &exportops.ErasureResult{Left: 2}
		return jobs.Answer{Failure: res.Failure(), Result: jobs.Result{Erased: res}}, nil
	}}
	w = request{method: http.MethodPost, path: path, token: adminToken}.send(serve(t, o))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "2 records still name the user") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
