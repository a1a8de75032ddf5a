package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

type deletionPath struct {
	ID int64 `path:"id" minimum:"1" doc:"The entry"`
}

type deletionsInput struct {
	ExportID string                  `query:"export_id" format:"uuid" doc:"Only of this export"`
	RunID    string                  `query:"run_id" format:"uuid" doc:"Only what this run claimed last"`
	State    exportops.DeletionState `query:"state" enum:"claimed,deleted,absent,failed,quarantined,changed" doc:"Only in this state"`
	From     exportops.Time          `query:"from" format:"date-time" doc:"Claimed at this time or later"`
	To       exportops.Time          `query:"to" format:"date-time" doc:"Claimed before this time"`
	Limit    int                     `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Entries a page"`
	Cursor   string                  `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type deletionOutput struct{ Body exportops.DeletionEntry }

type deletionsOutput struct {
	Body struct {
		Deletions  []exportops.DeletionEntry `json:"deletions" nullable:"false" doc:"Newest first"`
		NextCursor string                    `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"DeletionPage"`
}

func (s *server) deletionRoutes() {
	one := huma.Operation{
		OperationID: "get-deletion", Method: http.MethodGet, Path: "/api/v1/deletions/{id}",
		Summary: "Read one entry of the deletion ledger", Tags: []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&one, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	handle(s, one, s.deletion)

	retry := huma.Operation{
		OperationID: "retry-deletion", Method: http.MethodPost, Path: "/api/v1/deletions/{id}/retry",
		Summary:     "Have a failed or quarantined entry tried again",
		Description: "The next run tries it as if it had not failed. 409 for an entry that is neither.",
		Tags:        []string{tagRuns}, Security: needs(scopeAdmin),
	}
	s.problems(&retry, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict)
	handle(s, retry, s.retryDeletion)

	list := huma.Operation{
		OperationID: "list-deletions", Method: http.MethodGet, Path: "/api/v1/deletions",
		Summary:     "List entries of the deletion ledger",
		Description: "What was deleted, when, why and by which run, and what failed. Newest first, by pages.",
		Tags:        []string{tagRuns}, Security: needs(scopeRead),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.deletions)
}

func (s *server) deletion(ctx context.Context, in *deletionPath) (*deletionOutput, error) {
	d, err := exportops.DeletionByID(ctx, s.Deletions, in.ID)
	return &deletionOutput{d}, err
}

// byAPI is who the records say had asked through the API.
const byAPI = "api"

func (s *server) retryDeletion(ctx context.Context, in *deletionPath) (*deletionOutput, error) {
	if _, err := exportops.RetryDeletions(ctx, s.Deletions, []int64{in.ID}, nil, byAPI, s.now()); err != nil {
		return nil, err
	}
	return s.deletion(ctx, in)
}

func (s *server) deletions(ctx context.Context, in *deletionsInput) (*deletionsOutput, error) {
	f := exportops.DeletionFilter{State: in.State, From: in.From, To: in.To, Limit: in.Limit}
	var err error
	for _, id := range []struct {
		name, given string
		into        *string
	}{{"export_id", in.ExportID, &f.ExportID}, {"run_id", in.RunID, &f.RunID}} {
		if id.given == "" {
			continue
		}
		if *id.into, err = exportops.ParseID(id.name, id.given); err != nil {
			return nil, inQuery(err)
		}
	}
	out := &deletionsOutput{}
	out.Body.Deletions, out.Body.NextCursor, err = exportops.DeletionPage(ctx, s.Deletions, f, in.Cursor)
	if err != nil {
		return nil, inQuery(err)
	}
	return out, nil
}
