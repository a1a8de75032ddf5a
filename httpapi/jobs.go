package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// jobFailed is the body of 500 and 409: what went wrong, with all that was
// done beside it.
type jobFailed struct {
	Success   bool           `json:"success" doc:"Always false" example:"false"`
	Error     string         `json:"error" doc:"What the run could not do, in one sentence"`
	Hint      string         `json:"hint,omitempty" doc:"The next step"`
	Result    any            `json:"result,omitempty" doc:"What the run did all the same, in the form that it has in a success"`
	RunID     string         `json:"run_id,omitempty" doc:"The run, as under /api/v1/runs"`
	RequestID string         `json:"request_id" doc:"Names this request in the server's log"`
	Timestamp exportops.Time `json:"timestamp" doc:"When the answer was given"`
}

// jobPending is the body of 202: another caller's run goes on.
type jobPending struct {
	RunID     string             `json:"run_id" doc:"The run that this call joined, as under /api/v1/runs"`
	State     exportops.RunState `json:"state" doc:"Its state" example:"running"`
	Timestamp exportops.Time     `json:"timestamp" doc:"When the answer was given"`
}

// jobOutput is an answer with a status of its own.
type jobOutput struct {
	Status int
	Body   any
}

// runJob runs a job for a caller. succeed makes the body of 200 of the result,
// and is nil where the job gave none.
func (s *server) runJob(ctx context.Context, r jobs.Request, succeed func(jobs.Result) any) (*jobOutput, error) {
	if err := r.Validate(); err != nil {
		return nil, inQuery(err)
	}
	r.Budget = s.Budget
	// A run goes on when its caller hangs up, and ends when the server stops.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(s.Base, cancel) //nolint:contextcheck // two lives end the run, and only one can be inherited
	defer stop()
	answer, err := s.Jobs.Run(work, r)
	if err != nil {
		return s.jobError(ctx, answer, err)
	}
	if answer.Pending {
		return &jobOutput{http.StatusAccepted, jobPending{answer.Run.ID, answer.Run.State, s.now()}}, nil
	}
	body := succeed(answer.Result)
	if body == nil {
		return s.jobError(ctx, answer, &exportops.Error{Kind: exportops.KindInternal, Message: "the run left no result"})
	}
	if answer.Failure != "" {
		failed := s.jobFailed(ctx, answer)
		failed.Error = answer.Failure
		return &jobOutput{http.StatusInternalServerError, failed}, nil
	}
	return &jobOutput{http.StatusOK, body}, nil
}

// jobError answers for a run that did not come to an end. What a guard refused
// or another run forbids is 409; a job that failed is 500, whatever the reason.
func (s *server) jobError(ctx context.Context, answer jobs.Answer, err error) (*jobOutput, error) {
	kind := exportops.KindOf(err)
	if kind == exportops.KindInvalid {
		return nil, inQuery(err)
	}
	status := http.StatusInternalServerError
	if kind == exportops.KindRefused || kind == exportops.KindConflict {
		status = http.StatusConflict
	} else {
		s.logFailure(ctx, status, err)
	}
	failed := s.jobFailed(ctx, answer)
	failed.Error = internalDetail
	for i, e := range exportopsErrors(err) {
		if i == 0 {
			failed.Error, failed.Hint = sentence(e), e.Hint
		} else {
			failed.Error += "; " + sentence(e)
		}
	}
	return &jobOutput{status, failed}, nil
}

func (s *server) jobFailed(ctx context.Context, answer jobs.Answer) jobFailed {
	f := jobFailed{RunID: answer.Run.ID, RequestID: callOf(ctx).id, Timestamp: s.now()}
	switch r := answer.Result; {
	case r.Files != nil:
		f.Result = r.Files
	case r.Logs != nil:
		f.Result = r.Logs
	case r.Erased != nil:
		f.Result = r.Erased
	case r.Expiry != nil:
		f.Result = r.Expiry
	case r.Unknown != nil:
		f.Result = r.Unknown
	case r.Rolls != nil:
		f.Result = r.Rolls
	case r.Recon != nil:
		f.Result = r.Recon
	}
	return f
}

// jobResponses describes the answers of an operation that runs a job.
func (s *server) jobResponses(done *huma.Schema, description string) map[string]*huma.Response {
	return map[string]*huma.Response{
		"200": jsonResponse(description, done),
		"202": jsonResponse("The same run is active elsewhere and goes on past this call's time budget", schemaOf[jobPending](s)),
		"409": jsonResponse("A guard refused the run, or a run with other parameters is active; nothing was changed", schemaOf[jobFailed](s)),
		"500": jsonResponse("The run could not do everything; result says what it did", schemaOf[jobFailed](s)),
	}
}
