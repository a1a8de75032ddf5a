package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/cleanup"
	"github.com/exportops/exportops/jobs"
)

type filesPlanInput struct {
	RetentionHours int `query:"retention_hours" minimum:"1" maximum:"876000" doc:"Plan by age instead of by expiry: completed exports created before this many hours ago, whatever expires_at says"`
}

type logsPlanInput struct {
	RetentionDays int `query:"retention_days" minimum:"1" maximum:"36500" doc:"Instead of the configured retention; under a retention policy a further bound, never a shorter one"`
}

type unknownPlanInput struct{}

type applyInput struct {
	Force bool `query:"force" doc:"Override the guards against implausible runs; recorded with the run"`
}

// plan describes a plan; cleanup reads and writes them.
type plan struct {
	cleanup.PlanHeader
	Entries []map[string]any   `json:"entries" doc:"What is to be done, and what is kept and why: one a line"`
	Totals  cleanup.PlanTotals `json:"totals"`
	SHA256  string             `json:"sha256" doc:"Of every byte before the line that says it"`
}

func (s *server) planRoutes() {
	plans(s, exportops.FileCleanup, "the files of exports that have expired", schemaOf[exportops.FileCleanupResult](s),
		func(in *filesPlanInput) jobs.Request {
			return jobs.Request{RetentionHours: unlessZero(in.RetentionHours)}
		},
		func(r jobs.Result) any { return orNil(r.Files) })
	plans(s, exportops.LogCleanup, "log rows older than the retention", schemaOf[exportops.LogCleanupResult](s),
		func(in *logsPlanInput) jobs.Request { return jobs.Request{RetentionDays: unlessZero(in.RetentionDays)} },
		func(r jobs.Result) any { return orNil(r.Logs) })
	plans(s, exportops.UnknownCleanup, "quarantined files that no row names", schemaOf[exportops.UnknownCleanupResult](s),
		func(*unknownPlanInput) jobs.Request { return jobs.Request{} },
		func(r jobs.Result) any { return orNil(r.Unknown) })
}

func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return v
}

// plans registers what makes the plans of a job, and what applies them.
func plans[I any](s *server, job exportops.Job, of string, done *huma.Schema, ask func(*I) jobs.Request, succeed func(jobs.Result) any) {
	path := "/api/v1/plans/" + string(job)
	create := huma.Operation{
		OperationID: "plan-" + string(job), Method: http.MethodPost, Path: path,
		Summary: "Plan the deletion of " + of,
		Description: "Changes nothing. The plan comes as it is made; where the time budget ends first its totals say complete: false. One that " +
			"breaks off is cut off with the connection, and refused where it is applied. Keep it byte for byte.",
		Tags: []string{tagPlans}, Security: needs(scopeAdmin),
		Responses: map[string]*huma.Response{
			"200": jsonResponse("The plan", schemaOf[plan](s)),
			"500": jsonResponse("No plan could be made", schemaOf[jobFailed](s)),
		},
	}
	s.problems(&create, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, create, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		r := ask(in)
		r.Job = job
		return s.makePlan(ctx, r)
	})

	apply := huma.Operation{
		OperationID: "apply-" + string(job), Method: http.MethodPost, Path: path + "/apply",
		Summary: "Delete what a plan lists, of " + of,
		Description: "What was changed since, or may not be deleted any more, stays, and so does everything that the plan does not list. Where the " +
			"time budget ends first complete is false; the same plan, sent again, goes on. A plan may have 512 MiB, and is to be sent byte for " +
			"byte as it was given: one that was damaged, edited or formatted anew is 422.",
		Tags: []string{tagPlans}, Security: needs(scopeAdmin), Responses: s.jobResponses(done, "What was done"),
	}
	s.problems(&apply, http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	handle(s, apply, func(ctx context.Context, in *applyInput) (*jobOutput, error) {
		return s.applyPlan(ctx, job, in.Force, succeed)
	})
	s.takesObject(apply, schemaOf[plan](s), examplePlans[job])
}

// makePlan answers with the plan of a dry run. It ends when its caller hangs up.
func (s *server) makePlan(ctx context.Context, r jobs.Request) (*huma.StreamResponse, error) {
	r.Trigger, r.DryRun, r.Budget = exportops.ByAPI, true, s.Budget
	if err := r.Validate(); err != nil {
		return nil, inQuery(err)
	}
	c := callOf(ctx)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", jsonType)
		hc.SetHeader("Content-Disposition", `attachment; filename="plan.json"`)
		work, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := context.AfterFunc(s.Base, cancel) //nolint:contextcheck // two lives end it, and only one can be inherited
		defer stop()
		r.PlanOut = &patient{hc.BodyWriter(), http.NewResponseController(c.w), s.Clock}
		answer, err := s.Jobs.Run(work, r)
		switch {
		case err == nil:
		case c.w.begun:
			if !c.gone(err) {
				s.Logger.LogAttrs(ctx, slog.LevelError, "a plan broke off", slog.String("request_id", c.id), slog.Any("error", err))
			}
			panic(http.ErrAbortHandler) // so that half a plan is not taken for a whole one
		default:
			hc.SetHeader("Content-Disposition", "inline")
			s.answerJob(ctx, hc, answer, err)
		}
	}}, nil
}

// answerJob writes the answer about a job that failed.
func (s *server) answerJob(ctx context.Context, hc huma.Context, answer jobs.Answer, err error) {
	out, err := s.jobError(ctx, answer, err)
	if err != nil {
		s.problem(ctx, err).write(callOf(ctx).w)
		return
	}
	hc.SetStatus(out.Status)
	if err := writeJSON(hc.BodyWriter(), out.Body); err != nil && !callOf(ctx).gone(err) {
		s.Logger.LogAttrs(ctx, slog.LevelError, "an answer broke off", slog.String("request_id", callOf(ctx).id), slog.Any("error", err))
	}
}

// applyPlan applies the plan that is the body.
func (s *server) applyPlan(ctx context.Context, job exportops.Job, force bool, succeed func(jobs.Result) any) (out *jobOutput, err error) {
	c := callOf(ctx)
	if _, err := s.mediaType(c, jsonType); err != nil {
		return nil, err
	}
	file, err := s.spool(c, MaxPlanBytes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop(file)) }()
	p, err := cleanup.ReadPlan(file)
	if err == nil && p.Job != job {
		err = &exportops.Error{Kind: exportops.KindRefused, Field: "plan", Message: "it is one of " + string(p.Job) + ", and this is " + string(job)}
	}
	if err != nil {
		return nil, unfit(err, job)
	}
	return s.runJob(ctx, jobs.Request{Job: job, Trigger: exportops.ByAPI, Plan: p, Force: force}, succeed)
}

// unfit makes what is wrong with a plan something wrong with the body.
func unfit(err error, job exportops.Job) error {
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != exportops.KindRefused {
		return err
	}
	return &exportops.Error{
		Kind: exportops.KindInvalid, Field: e.Field, Message: e.Message, Err: err,
		Hint: "make a new one with POST /api/v1/plans/" + string(job) + ", and send it byte for byte",
	}
}
