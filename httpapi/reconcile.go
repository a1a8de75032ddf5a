package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Reconciled reads what reconciliations found; exportops.ReconcileStore satisfies it.
type Reconciled interface {
	exportops.MissingReader
	UnknownFiles(ctx context.Context, f exportops.UnknownFilter) ([]exportops.UnknownFile, error)
}

type reconcileInput struct {
	DryRun          bool `query:"dry_run" doc:"Report what would be found, and keep nothing"`
	Force           bool `query:"force" doc:"Override the guard of the clock; recorded with the run"`
	StuckAfterHours int  `query:"stuck_after_hours" minimum:"1" maximum:"8760" doc:"Fail exports that have been in progress for so many hours (24)"`
}

type unknownInput struct {
	State  exportops.UnknownState `query:"state" enum:"seen,quarantined,adopted,gone" doc:"Only in this state"`
	Limit  int                    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Files a page"`
	Cursor string                 `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before; opaque"`
}

type missingInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Files a page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type unknownOutput struct {
	Body struct {
		Unknown    []exportops.UnknownFile `json:"unknown" nullable:"false" doc:"By key"`
		NextCursor string                  `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"UnknownPage"`
}

type missingOutput struct {
	Body struct {
		Missing    []exportops.MissingFile `json:"missing" nullable:"false" doc:"By export"`
		NextCursor string                  `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"MissingPage"`
}

func (s *server) reconcileRoutes() {
	run := huma.Operation{
		OperationID: "reconcile", Method: http.MethodPost, Path: "/api/v1/reconcile",
		Summary: "Compare the files in storage with the rows that name them",
		Description: "Finds files that no row names and rows whose file is missing, and turns exports to failed that are stuck. " +
			"Deletes nothing. Where the time budget ends first complete is false, and the next call goes on there.",
		Tags: []string{tagRuns}, Security: needs(scopeAdmin),
		Responses: s.jobResponses(schemaOf[exportops.ReconcileResult](s), "What was found"),
	}
	s.problems(&run, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, run, s.reconcile)

	unknown := huma.Operation{
		OperationID: "list-unknown-files", Method: http.MethodGet, Path: "/api/v1/reconcile/unknown",
		Summary: "List files that no row named when storage was last compared", Tags: []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&unknown, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, unknown, s.unknownFiles)

	missing := huma.Operation{
		OperationID: "list-missing-files", Method: http.MethodGet, Path: "/api/v1/reconcile/missing",
		Summary: "List exports whose file was missing when storage was last compared", Tags: []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&missing, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, missing, s.missingFiles)
}

func (s *server) reconcile(ctx context.Context, in *reconcileInput) (*jobOutput, error) {
	r := jobs.Request{
		Job: exportops.Reconcile, Trigger: exportops.ByAPI, DryRun: in.DryRun, Force: in.Force,
		StuckAfter: time.Duration(in.StuckAfterHours) * time.Hour,
	}
	return s.runJob(ctx, r, func(done jobs.Result) any {
		if done.Recon == nil {
			return nil
		}
		return done.Recon
	})
}

func (s *server) unknownFiles(ctx context.Context, in *unknownInput) (*unknownOutput, error) {
	page, err := s.Reconciled.UnknownFiles(ctx, exportops.UnknownFilter{
		Store: s.FilesID, State: in.State, After: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, inQuery(err)
	}
	out := &unknownOutput{}
	if out.Body.Unknown = orEmpty(page); len(page) > 0 && len(page) == in.Limit {
		out.Body.NextCursor = page[len(page)-1].Key
	}
	return out, nil
}

func (s *server) missingFiles(ctx context.Context, in *missingInput) (*missingOutput, error) {
	page, err := s.Reconciled.MissingFiles(ctx, exportops.MissingFilter{After: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, inQuery(err)
	}
	out := &missingOutput{}
	if out.Body.Missing = orEmpty(page); len(page) > 0 && len(page) == in.Limit {
		out.Body.NextCursor = page[len(page)-1].ExportID
	}
	return out, nil
}
