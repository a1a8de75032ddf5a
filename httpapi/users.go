package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

type userLogsInput struct {
	UserID string `path:"user_id" format:"uuid" doc:"The user"`
	DryRun bool   `query:"dry_run" doc:"Report what would be done, and change nothing"`
	Force  bool   `query:"force" doc:"Override the guards against implausible runs; recorded with the run"`
}

func (s *server) userRoutes() {
	op := huma.Operation{
		OperationID: "delete-user-export-logs", Method: http.MethodDelete, Path: "/api/v1/users/{user_id}/export-logs",
		Summary: "Delete a user's export logs",
		Description: "Deletes the log rows of the user's finished exports, whatever their age, and the files they still name. " +
			"deleted_count is the number of rows deleted.",
		Tags: []string{tagUsers}, Security: needs(scopeAdmin),
		Responses: s.jobResponses(schemaOf[exportops.LogCleanupResult](s), "Everything that may be deleted is"),
	}
	s.problems(&op, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, op, s.deleteUserLogs)

	erase := huma.Operation{
		OperationID: "erase-user", Method: http.MethodPost, Path: "/api/v1/users/{user_id}/erasure",
		Summary: "Erase a user",
		Description: "Deletes the user's files, log rows and metrics, takes the user out of archives, which are written anew, and takes what " +
			"names the user out of everything that stays. It is 409 while a hold covers the user, or another run is at work on an archive. " +
			"Other runs that are at work may have read what is gone: they are waited for, up to a minute. " +
			"When nothing is left the receipt proves it, without any personal data.",
		Tags: []string{tagUsers}, Security: needs(scopeAdmin),
		Responses: s.jobResponses(schemaOf[exportops.ErasureResult](s), "Nothing is left of the user"),
	}
	s.problems(&erase, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, erase, s.eraseUser)

	list := huma.Operation{
		OperationID: "list-erasures", Method: http.MethodGet, Path: "/api/v1/erasures",
		Summary: "List receipts of erasures", Description: "Newest first, by pages.",
		Tags: []string{tagUsers}, Security: needs(scopeRead),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.erasures)
}

func (s *server) eraseUser(ctx context.Context, in *userLogsInput) (*jobOutput, error) {
	id, err := exportops.ParseID("user_id", in.UserID)
	if err != nil {
		return nil, inPath(err)
	}
	r := jobs.Request{Job: exportops.EraseUser, Trigger: exportops.ByAPI, UserID: id, DryRun: in.DryRun, Force: in.Force}
	return s.runJob(ctx, r, func(done jobs.Result) any {
		if done.Erased == nil {
			return nil
		}
		return done.Erased
	})
}

type erasuresInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows a page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type erasuresOutput struct {
	Body struct {
		Erasures   []exportops.Erasure `json:"erasures" nullable:"false" doc:"Newest first"`
		NextCursor string              `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"ErasurePage"`
}

func (s *server) erasures(ctx context.Context, in *erasuresInput) (*erasuresOutput, error) {
	list, next, err := s.Erasures.Erasures(ctx, in.Cursor, in.Limit)
	if err != nil {
		return nil, inQuery(err)
	}
	out := &erasuresOutput{}
	out.Body.Erasures, out.Body.NextCursor = orEmpty(list), next
	return out, nil
}

func (s *server) deleteUserLogs(ctx context.Context, in *userLogsInput) (*jobOutput, error) {
	id, err := exportops.ParseID("user_id", in.UserID)
	if err != nil {
		return nil, inPath(err)
	}
	r := jobs.Request{Job: exportops.UserLogCleanup, Trigger: exportops.ByAPI, UserID: id, DryRun: in.DryRun, Force: in.Force}
	return s.runJob(ctx, r, func(done jobs.Result) any {
		if done.Logs == nil {
			return nil
		}
		return done.Logs
	})
}
