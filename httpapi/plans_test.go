package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/httpapi"
	"github.com/exportops/exportops/jobs"
)

const plansPath = "/api/v1/plans/"

// examplePlan returns the plan that the description shows.
func examplePlan(t *testing.T, h http.Handler, job exportops.Job) string {
	t.Helper()
	d, _ := describe(t, h)
	text, ok := d.Paths[plansPath+string(job)+"/apply"]["post"].RequestBody.Content["application/json"].Example.(string)
	if !ok || !strings.HasSuffix(text, "\"}\n") {
		t.Fatalf("the example is %q", text)
	}
	return text
}

func TestPlansAreMade(t *testing.T) {
	o := options()
	f := &fakeJobs{}
	o.Jobs = f
	h := serve(t, o)
	post := func(path string) request {
		return request{method: http.MethodPost, path: plansPath + path, token: adminToken}
	}
	whole := func(_ context.Context, r jobs.Request) (jobs.Answer, error) {
		_, err := io.WriteString(r.PlanOut, "{\"exportops_plan\":1}\n")
		return jobs.Answer{}, err
	}
	ten := 10
	for path, want := range map[string]jobs.Request{
		"file-cleanup?retention_hours=10": {Job: exportops.FileCleanup, RetentionHours: &ten},
		"log-cleanup?retention_days=10":   {Job: exportops.LogCleanup, RetentionDays: &ten},
		"log-cleanup":                     {Job: exportops.LogCleanup},
		"unknown-cleanup":                 {Job: exportops.UnknownCleanup},
	} {
		f.run = whole
		w := post(path).send(h)
		if w.Code != 200 || w.Body.String() != "{\"exportops_plan\":1}\n" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %s", path, w.Code, w.Header(), w.Body)
		}
		got := f.last
		same := func(a, b *int) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		if got.Job != want.Job || !got.DryRun || got.Trigger != exportops.ByAPI || got.Budget != httpapi.DefaultBudget ||
			!same(got.RetentionHours, want.RetentionHours) || !same(got.RetentionDays, want.RetentionDays) {
			t.Errorf("%s asked for %+v", path, got)
		}
	}

	// What fails before the first byte is an answer; what breaks off is cut off.
	down := &exportops.Error{Kind: exportops.KindUnavailable, Message: "the root is missing", Hint: "mount it"}
	f.run = func(context.Context, jobs.Request) (jobs.Answer, error) { return jobs.Answer{}, down }
	golden(t, "plans/not_made", post("log-cleanup").send(h))
	f.run = func(ctx context.Context, r jobs.Request) (jobs.Answer, error) {
		_, err := whole(ctx, r)
		return jobs.Answer{}, errors.Join(err, down)
	}
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // the very value
				t.Errorf("it ended with %v", v)
			}
		}()
		post("log-cleanup").send(h)
		t.Error("half a plan was taken for a whole one")
	}()
	wantProblem(t, post("log-cleanup?retention_days=0").send(h), 400, "query.retention_days")
	wantProblem(t, post("file-cleanup?force=true").send(h), 400, "query.force")
	wantProblem(t, request{method: http.MethodPost, path: plansPath + "log-cleanup", token: readToken}.send(h), 401, "")
}

func TestPlansAreApplied(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	o := options()
	f := &fakeJobs{run: succeed}
	o.Jobs = f
	h := serve(t, o)
	apply := func(job exportops.Job, query, body string) request {
		return request{method: http.MethodPost, path: plansPath + string(job) + "/apply" + query, token: adminToken, body: body}
	}
	for _, job := range []exportops.Job{exportops.FileCleanup, exportops.LogCleanup, exportops.UnknownCleanup} {
		plan := examplePlan(t, h, job)
		golden(t, "plans/applied_"+string(job), apply(job, "?force=true", plan).send(h))
		if r := f.last; r.Job != job || r.Plan == nil || r.Plan.Totals.Delete != 1 || !r.Force || r.DryRun || r.Trigger != exportops.ByAPI || r.Budget != httpapi.DefaultBudget {
			t.Errorf("%s asked for %+v", job, r)
		}
		f.last = jobs.Request{}
		for name, body := range map[string]string{
			"edited": strings.Replace(plan, `"do":"delete"`, `"do":"keep"`, 1), "formatted": strings.ReplaceAll(plan, "\n", ""),
			"cut": plan[:len(plan)-20], "longer": plan + "{}", "none": "{}", "of no bytes": "",
		} {
			w := apply(job, "", body)
			w.header = []string{"Content-Type", "application/json"}
			wantProblem(t, w.send(h), 422, "body.plan: it is not as it was written")
			if f.last.Plan != nil {
				t.Fatalf("a plan that was %s is applied", name)
			}
		}
	}
	files := examplePlan(t, h, exportops.FileCleanup)
	golden(t, "plans/damaged", apply(exportops.FileCleanup, "", files+"{}").send(h))
	wantProblem(t, apply(exportops.LogCleanup, "", files).send(h), 422, "body.plan: it is one of file-cleanup, and this is log-cleanup")
	wantProblem(t, apply(exportops.FileCleanup, "?dry_run=true", files).send(h), 400, "query.dry_run")
	text := apply(exportops.FileCleanup, "", files)
	text.header = []string{"Content-Type", "text/plain"}
	wantProblem(t, text.send(h), 415, "not application/json")
	read := apply(exportops.FileCleanup, "", files)
	read.token = readToken
	wantProblem(t, read.send(h), 401, "")

	long := newRequest(t, apply(exportops.FileCleanup, "", files))
	long.ContentLength = httpapi.MaxPlanBytes + 1
	wantProblem(t, send(h, long), 413, "longer than 536870912 bytes")
	short := httptest.NewRequestWithContext(t.Context(), http.MethodPost, plansPath+"file-cleanup/apply", io.MultiReader(strings.NewReader(files[:9]), broken{}))
	short.Header.Set("Authorization", "Bearer "+adminToken)
	short.Header.Set("Content-Type", "application/json")
	wantProblem(t, send(h, short), 400, "the body ended early")

	// What a guard refuses is 409, with its figures; so is what another run forbids.
	unknown := examplePlan(t, h, exportops.UnknownCleanup)
	guards := &exportops.Guards{Files: &exportops.CountGuard{Found: 20_000, Limit: 10_000}, RefusedBy: []exportops.Guard{exportops.GuardFiles}}
	f.run = func(context.Context, jobs.Request) (jobs.Answer, error) {
		res := &exportops.UnknownCleanupResult{Guards: guards, RunID: runID, Timestamp: noon}
		res.SumUp()
		return jobs.Answer{Run: exportops.Run{ID: runID}, Result: jobs.Result{Unknown: res}}, guards.Refusal(exportops.UnknownCleanup)
	}
	golden(t, "plans/refused", apply(exportops.UnknownCleanup, "", unknown).send(h))
	f.run = func(context.Context, jobs.Request) (jobs.Answer, error) {
		return jobs.Answer{}, &exportops.Error{Kind: exportops.KindConflict, Message: "a run with other parameters is active"}
	}
	if w := apply(exportops.UnknownCleanup, "", unknown).send(h); w.Code != 409 || !strings.Contains(w.Body.String(), "other parameters") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f.run = func(context.Context, jobs.Request) (jobs.Answer, error) {
		return jobs.Answer{Run: exportops.Run{ID: runID, State: exportops.RunRunning}, Beginning: exportops.Joined, Pending: true}, nil
	}
	if w := apply(exportops.UnknownCleanup, "", unknown).send(h); w.Code != 202 || !strings.Contains(w.Body.String(), runID) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
