package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// readyWithin bounds a readiness check: whoever asks has a short patience.
const readyWithin = 5 * time.Second

type health struct {
	Status  string   `json:"status" enum:"ok,unavailable" doc:"unavailable comes with 503"`
	Reasons []string `json:"reasons,omitempty" nullable:"false" doc:"What keeps the server from working"`
}

type healthOutput struct {
	Status int
	Body   health
}

func (s *server) healthRoutes() {
	alive := huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{tagHealth},
		Summary: "Whether the process is alive", Description: "Looks at nothing else.",
		Responses: map[string]*huma.Response{"200": jsonResponse("It is", schemaOf[health](s))},
	}
	s.problems(&alive)
	handle(s, alive, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{http.StatusOK, health{Status: "ok"}}, nil
	})
	ready := huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{tagHealth},
		Summary: "Whether database and storage can be used",
		Responses: map[string]*huma.Response{
			"200": jsonResponse("They can", schemaOf[health](s)),
			"503": jsonResponse("They cannot, for the reasons given", schemaOf[health](s)),
		},
	}
	s.problems(&ready)
	handle(s, ready, s.readyz)
}

func (s *server) readyz(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	err := s.Ready(ctx)
	if err == nil {
		return &healthOutput{http.StatusOK, health{Status: "ok"}}, nil
	}
	s.Logger.LogAttrs(ctx, slog.LevelWarn, "not ready", slog.String("request_id", callOf(ctx).id), slog.Any("error", err))
	var reasons []string
	for _, e := range exportopsErrors(err) {
		reasons = append(reasons, e.Message)
	}
	if len(reasons) == 0 {
		reasons = []string{"a check failed; the server's log says why"}
	}
	return &healthOutput{http.StatusServiceUnavailable, health{Status: "unavailable", Reasons: reasons}}, nil
}
