package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

const csvType = "text/csv; charset=utf-8"

type reportInput struct {
	From exportops.Time `query:"from" format:"date-time" doc:"Asked for at this time or later"`
	To   exportops.Time `query:"to" format:"date-time" doc:"Asked for before this time"`
}

func (s *server) reportRoutes() {
	op := huma.Operation{
		OperationID: "export-report", Method: http.MethodGet, Path: "/api/v1/exports/report",
		Summary: "Write the compliance report",
		Description: "A line of CSV (RFC 4180) for each export that still has its log row, newest first, with what became of its file and " +
			"whether it is held. What a spreadsheet would take for a formula has an apostrophe before it. A report that breaks off " +
			"is cut off with the connection: an answer that ends as it should is whole.",
		Tags: []string{tagExports}, Security: needs(scopeRead),
		Responses: map[string]*huma.Response{"200": {
			Description: "The report", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}
	s.problems(&op, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, op, s.report)
}

// patient lets an answer take as long as it needs, while the caller takes it.
type patient struct {
	to    io.Writer
	conn  *http.ResponseController
	clock func() time.Time
}

// takeWithin is how long the caller may take over one part of the answer.
const takeWithin = time.Minute

func (p *patient) Write(b []byte) (int, error) {
	if err := p.conn.SetWriteDeadline(p.clock().Add(takeWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.to.Write(b)
}

func (s *server) report(ctx context.Context, in *reportInput) (*huma.StreamResponse, error) {
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To.Time) {
		return nil, inQuery(exportops.Invalid("to", "it is not after from"))
	}
	c := callOf(ctx)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", csvType)
		hc.SetHeader("Content-Disposition", `attachment; filename="exports.csv"`)
		out := &patient{hc.BodyWriter(), http.NewResponseController(c.w), s.Clock}
		_, err := exportops.WriteReport(ctx, out, s.Report, exportops.ReportTerms{
			Span: exportops.Span{From: in.From, To: in.To}, LogRetention: s.LogRetention, Policy: s.Policy, Now: s.now(),
		})
		switch {
		case err == nil:
		case c.w.begun:
			if !c.gone(err) {
				s.Logger.LogAttrs(ctx, slog.LevelError, "a report broke off", slog.String("request_id", c.id), slog.Any("error", err))
			}
			panic(http.ErrAbortHandler) // so that half a report is not taken for a whole one
		default:
			hc.SetHeader("Content-Disposition", "inline")
			s.problem(ctx, err).write(c.w)
		}
	}}, nil
}
