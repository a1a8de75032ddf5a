package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// Holds keeps legal holds; exportops.HoldStore satisfies it.
type Holds interface {
	PlaceHold(ctx context.Context, h exportops.Hold, l exportops.Locator) (exportops.Hold, error)
	ReleaseHold(ctx context.Context, id int64, by string, now exportops.Time) (exportops.Hold, error)
	Holds(ctx context.Context, f exportops.HoldFilter) ([]exportops.Hold, error)
}

// newHold is the body that places a hold.
type newHold struct {
	Scope    exportops.HoldScope `json:"scope" required:"true" enum:"export,user,all" doc:"What is held; all pauses every deletion"`
	Subject  string              `json:"subject,omitempty" format:"uuid" doc:"The export, or the user; left out for all"`
	Reason   string              `json:"reason" required:"true" doc:"Why it is held"`
	PlacedBy string              `json:"placed_by" required:"true" doc:"Who places it"`
	RowOnly  bool                `json:"row_only,omitempty" doc:"Hold the row of an export although its file was deleted by us"`
}

var (
	newHoldFields  = fieldsOf[newHold]()
	exampleNewHold = json.RawMessage(`{"scope":"user","subject":"5d1f0c1e-2b3a-4c5d-8e6f-708192a3b4c5",` +
		`"reason":"case 2026/17","placed_by":"counsel"}`)
)

type holdOutput struct{ Body exportops.Hold }

type holdsInput struct {
	All    bool   `query:"all" doc:"Released ones as well"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Rows a page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; opaque"`
}

type holdsOutput struct {
	Body struct {
		Holds      []exportops.Hold `json:"holds" nullable:"false" doc:"Newest first"`
		NextCursor string           `json:"next_cursor" doc:"Cursor of the next page; empty at the end"`
	} `nameHint:"HoldPage"`
}

type releaseInput struct {
	ID         int64  `path:"id" minimum:"1" doc:"The hold"`
	ReleasedBy string `query:"released_by" required:"true" minLength:"1" maxLength:"200" doc:"Who releases it"`
}

func (s *server) holdRoutes() {
	place := huma.Operation{
		OperationID: "place-hold", Method: http.MethodPost, Path: "/api/v1/holds", DefaultStatus: http.StatusCreated,
		Summary: "Place a legal hold",
		Description: "Nothing that it is about is deleted until it is released. 409 when the deletion of a file has begun, or has been: " +
			"the answer says by which run and since when. An active hold that says the same is returned as it is.",
		Tags: []string{tagHolds}, Security: needs(scopeAdmin),
	}
	s.problems(&place, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	handle(s, place, s.placeHold)
	s.takesObject(place, schemaOf[newHold](s), exampleNewHold)

	list := huma.Operation{
		OperationID: "list-holds", Method: http.MethodGet, Path: "/api/v1/holds",
		Summary: "List legal holds", Description: "Newest first, by pages.", Tags: []string{tagHolds}, Security: needs(scopeAdmin),
	}
	s.problems(&list, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, list, s.holds)

	release := huma.Operation{
		OperationID: "release-hold", Method: http.MethodDelete, Path: "/api/v1/holds/{id}",
		Summary: "Release a legal hold", Description: "One that was released before stays as it is.",
		Tags: []string{tagHolds}, Security: needs(scopeAdmin),
	}
	s.problems(&release, http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound)
	handle(s, release, s.releaseHold)
}

func (s *server) placeHold(ctx context.Context, _ *struct{}) (*holdOutput, error) {
	var in newHold
	if err := s.decodeBody(callOf(ctx), newHoldFields, &in); err != nil {
		return nil, err
	}
	h, err := exportops.Hold{
		Scope: in.Scope, Subject: in.Subject, Reason: in.Reason, PlacedBy: in.PlacedBy, RowOnly: in.RowOnly, PlacedAt: s.now(),
	}.Check()
	if err != nil {
		return nil, err
	}
	h, err = s.Holds.PlaceHold(ctx, h, s.Locator)
	return &holdOutput{h}, err
}

func (s *server) holds(ctx context.Context, in *holdsInput) (*holdsOutput, error) {
	f := exportops.HoldFilter{All: in.All, Limit: in.Limit}
	if err := f.Go(in.Cursor); err != nil {
		return nil, inQuery(err)
	}
	list, err := s.Holds.Holds(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &holdsOutput{}
	out.Body.Holds, out.Body.NextCursor = orEmpty(list), f.Next(list)
	return out, nil
}

func (s *server) releaseHold(ctx context.Context, in *releaseInput) (*holdOutput, error) {
	if err := exportops.CheckHoldName("released_by", in.ReleasedBy); err != nil {
		return nil, inQuery(err)
	}
	h, err := s.Holds.ReleaseHold(ctx, in.ID, in.ReleasedBy, s.now())
	return &holdOutput{h}, err
}
