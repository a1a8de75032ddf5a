package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

type runPath struct {
	ID string `path:"id" format:"uuid" doc:"The run"`
}

type runsInput struct {
	Job    exportops.Job      `query:"job" enum:"metrics-aggregate,file-cleanup,log-cleanup,user-log-cleanup,erase-user,reconcile,unknown-cleanup,retention-apply,archive-register" doc:"Only runs of this job"`
	State  exportops.RunState `query:"state" enum:"running,done,partial,failed,refused,skipped,missed" doc:"Only runs in this state"`
	Limit  int                `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows a page"`
	Cursor string             `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type runOutput struct{ Body exportops.Run }

type runsOutput struct {
	Body struct {
		Runs       []exportops.Run `json:"runs" nullable:"false" doc:"Newest first"`
		NextCursor string          `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"RunPage"`
}

func (s *server) runRoutes() {
	one := huma.Operation{
		OperationID: "get-run", Method: http.MethodGet, Path: "/api/v1/runs/{id}",
		Summary: "Read one run", Tags: []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&one, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	handle(s, one, s.run)

	cancel := huma.Operation{
		OperationID: "cancel-run", Method: http.MethodPost, Path: "/api/v1/runs/{id}/cancel",
		Summary:     "Ask an active run to stop",
		Description: "It stops before its next batch, in whichever process it runs, and ends as partial. 409 where it has ended.",
		Tags:        []string{tagRuns}, Security: needs(scopeAdmin),
	}
	s.problems(&cancel, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict)
	handle(s, cancel, s.cancelRun)

	list := huma.Operation{
		OperationID: "list-runs", Method: http.MethodGet, Path: "/api/v1/runs",
		Summary: "List runs", Description: "Newest first, by pages; slots that were missed or skipped included.",
		Tags: []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.runs)
}

func (s *server) run(ctx context.Context, in *runPath) (*runOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	run, err := s.Runs.Run(ctx, id)
	return &runOutput{run}, err
}

func (s *server) cancelRun(ctx context.Context, in *runPath) (*runOutput, error) {
	id, err := exportops.ParseID("id", in.ID)
	if err != nil {
		return nil, inPath(err)
	}
	run, err := s.Runs.CancelRun(ctx, id, byAPI, s.now())
	return &runOutput{run}, err
}

func (s *server) runs(ctx context.Context, in *runsInput) (*runsOutput, error) {
	list, next, err := s.Runs.Runs(ctx, exportops.RunFilter{Job: in.Job, State: in.State, Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, inQuery(err)
	}
	out := &runsOutput{}
	out.Body.Runs, out.Body.NextCursor = orEmpty(list), next
	return out, nil
}
