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
