package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

type exportPath struct {
	ExportID string `path:"export_id" format:"uuid" doc:"The export"`
}

func (in exportPath) id() (string, error) {
	id, err := exportops.ParseID("export_id", in.ExportID)
	return id, inPath(err)
}

type exportsInput struct {
	UserID string           `query:"user_id" format:"uuid" doc:"Only this user's"`
	Format exportops.Format `query:"format" enum:"json,jsonl,csv,markdown" doc:"Only of this format"`
	Status exportops.Status `query:"status" enum:"queued,processing,completed,failed,expired" doc:"Only in this state"`
	From   exportops.Time   `query:"from" format:"date-time" doc:"Asked for at this time or later"`
	To     exportops.Time   `query:"to" format:"date-time" doc:"Asked for before this time"`
	Limit  int              `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows a page"`
	Cursor string           `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type exportsOutput struct {
	Body struct {
		Exports    []exportops.Export `json:"exports" nullable:"false" doc:"Newest first"`
		NextCursor string             `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"ExportPage"`
}

func (s *server) exportReadRoutes() {
	one := huma.Operation{
		OperationID: "get-export", Method: http.MethodGet, Path: "/api/v1/exports/{export_id}",
		Summary: "Read one export", Tags: []string{tagExports}, Security: needs(scopeRead),
	}
	s.problems(&one, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	handle(s, one, s.export)

	list := huma.Operation{
		OperationID: "list-exports", Method: http.MethodGet, Path: "/api/v1/exports",
		Summary: "List exports", Description: "Newest first, by pages.", Tags: []string{tagExports}, Security: needs(scopeRead),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.exports)
}

func (s *server) export(ctx context.Context, in *exportPath) (*exportBody, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	e, err := s.Exports.Export(ctx, id)
	if err != nil {
		return nil, err
	}
	one := []exportops.Export{e}
	err = exportops.MarkMissing(ctx, s.Reconciled, one)
	return &exportBody{one[0]}, err
}

type exportBody struct{ Body exportops.Export }

func (s *server) exports(ctx context.Context, in *exportsInput) (*exportsOutput, error) {
	f := exportops.ExportFilter{
		Format: in.Format, Status: in.Status, From: in.From, To: in.To, Limit: in.Limit, Cursor: in.Cursor,
	}
	if in.UserID != "" {
		id, err := exportops.ParseID("user_id", in.UserID)
		if err != nil {
			return nil, inQuery(err)
		}
		f.UserID = id
	}
	list, next, err := s.Exports.Exports(ctx, f)
	if err != nil {
		return nil, inQuery(err)
	}
	if err := exportops.MarkMissing(ctx, s.Reconciled, list); err != nil {
		return nil, err
	}
	out := &exportsOutput{}
	out.Body.Exports, out.Body.NextCursor = orEmpty(list), next
	return out, nil
}

// orEmpty makes a list that is written as [] when there is nothing in it.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
