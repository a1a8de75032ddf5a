package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

type aggregateInput struct {
	Start  exportops.Time   `query:"start" format:"date-time" doc:"Of the interval; one period before its end where it is missing"`
	End    exportops.Time   `query:"end" format:"date-time" doc:"Of the interval, which does not include it; now where it is missing"`
	Period exportops.Period `query:"period" enum:"hourly,daily" default:"hourly" doc:"A label of the answer, and the length of the interval where start is missing"`
}

type failureRateInput struct {
	Lookback int `query:"lookback_minutes" minimum:"1" maximum:"525600" default:"60" doc:"Minutes before now that are looked at"`
}

type volumeInput struct {
	Period exportops.Period `query:"period" enum:"hourly,daily" default:"daily" doc:"What is counted by"`
	Days   int              `query:"days" minimum:"1" maximum:"3660" default:"7" doc:"Days that end now"`
}

type statisticsInput struct {
	RetentionDays int `query:"retention_days" minimum:"1" maximum:"36500" doc:"The configured retention where it is missing"`
}

type (
	summaryOutput     struct{ Body exportops.Summary }
	failureRateOutput struct{ Body *exportops.FailureRate }
	volumeOutput      struct{ Body exportops.Volume }
	statisticsOutput  struct{ Body exportops.LogStatistics }
)

// summaryRoutes are the routes that sum up. Reading emits no event.
func (s *server) summaryRoutes() {
	reads := func(id, path, tag, summary, description string) huma.Operation {
		op := huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: description,
			Tags: []string{tag}, Security: needs(scopeRead),
		}
		s.problems(&op, http.StatusBadRequest, http.StatusUnauthorized)
		return op
	}
	handle(s, reads("aggregate-metrics", "/api/v1/metrics/aggregate", tagMetrics, "Aggregate metrics",
		"One summary over [start, end). Where a bound falls inside an hour whose rows are gone, the answer widens to the hour "+
			"and says so in period_start and period_end."), s.aggregate)

	rate := reads("failure-rate", "/api/v1/metrics/failure-rate", tagMetrics, "Check the failure rate",
		"null when nothing finished in the time looked at. alert is set above the threshold.")
	rate.Responses = map[string]*huma.Response{"200": jsonResponse("The failure rate, or null", nullable(schemaOf[exportops.FailureRate](s)))}
	s.problems(&rate, http.StatusBadRequest, http.StatusUnauthorized)
	handle(s, rate, s.failureRate)

	handle(s, reads("export-volume", "/api/v1/metrics/volume", tagMetrics, "Count exports by period",
		"Exactly the periods that end now, empty ones included."), s.volume)
	handle(s, reads("log-statistics", "/api/v1/cleanup/log-statistics", tagRuns, "What a log cleanup would find", ""), s.logStatistics)
}

func (s *server) aggregate(ctx context.Context, in *aggregateInput) (*summaryOutput, error) {
	if in.End.IsZero() {
		in.End = s.now()
	}
	if in.Start.IsZero() {
		in.Start = exportops.At(in.End.Add(-in.Period.Length()))
	}
	sum, err := s.Metrics.Aggregate(ctx, in.Start, in.End, in.Period)
	return &summaryOutput{sum}, inQuery(err)
}

func (s *server) failureRate(ctx context.Context, in *failureRateInput) (*failureRateOutput, error) {
	rate, err := s.Metrics.FailureRate(ctx, in.Lookback)
	return &failureRateOutput{rate}, inQuery(err)
}

func (s *server) volume(ctx context.Context, in *volumeInput) (*volumeOutput, error) {
	v, err := s.Metrics.Volume(ctx, in.Period, in.Days)
	return &volumeOutput{v}, inQuery(err)
}

func (s *server) logStatistics(ctx context.Context, in *statisticsInput) (*statisticsOutput, error) {
	keep := s.LogRetention
	if in.RetentionDays > 0 {
		keep = time.Duration(in.RetentionDays) * 24 * time.Hour
	}
	stats, err := s.Logs.LogStatistics(ctx, exportops.At(s.Clock().Add(-keep)))
	return &statisticsOutput{stats}, inQuery(err)
}
