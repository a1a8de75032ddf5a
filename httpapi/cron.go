package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

type aggregateCall struct {
	DryRun bool `query:"dry_run" doc:"Report what would be done, and change nothing"`
	Force  bool `query:"force" doc:"Override the guards against implausible runs; recorded with the run"`
}

type fileCleanupCall struct {
	DryRun         bool `query:"dry_run" doc:"Report what would be done, and change nothing"`
	Force          bool `query:"force" doc:"Override the guards against implausible runs; recorded with the run"`
	RetentionHours int  `query:"retention_hours" minimum:"1" maximum:"876000" doc:"Clean up by age instead of by expiry: completed exports created before this many hours ago, whatever expires_at says"`
}

type logCleanupCall struct {
	DryRun        bool `query:"dry_run" doc:"Report what would be done, and change nothing"`
	Force         bool `query:"force" doc:"Override the guards against implausible runs; recorded with the run"`
	RetentionDays int  `query:"retention_days" minimum:"1" maximum:"36500" doc:"Instead of the configured retention; under a retention policy a further bound, never a shorter one"`
}

// The bodies of 200.
type (
	aggregateDone struct {
		Success bool `json:"success" doc:"Always true" example:"true"`
		exportops.AggregateResult
		Timestamp exportops.Time `json:"timestamp" doc:"When the answer was given"`
	}
	fileCleanupDone struct {
		Success   bool                         `json:"success" doc:"Always true" example:"true"`
		Result    *exportops.FileCleanupResult `json:"result" nullable:"false"`
		Timestamp exportops.Time               `json:"timestamp" doc:"When the answer was given"`
	}
	logCleanupDone struct {
		Success   bool                        `json:"success" doc:"Always true" example:"true"`
		Result    *exportops.LogCleanupResult `json:"result" nullable:"false"`
		Timestamp exportops.Time              `json:"timestamp" doc:"When the answer was given"`
	}
)

func (s *server) cronRoutes() {
	cron(s, "/api/cron/export-metrics-aggregate", exportops.MetricsAggregate, "0 * * * *",
		"Rolls up every hour that is due, and answers with the metrics of the sixty minutes before the call and the failure check.",
		schemaOf[aggregateDone](s), s.cronAggregate)
	cron(s, "/api/cron/export-file-cleanup", exportops.FileCleanup, "0 2 * * *",
		"Deletes the files of completed exports that have expired.",
		schemaOf[fileCleanupDone](s), s.cronFileCleanup)
	cron(s, "/api/cron/export-log-cleanup", exportops.LogCleanup, "0 3 1 * *",
		"Deletes log rows older than the retention, once their files are gone.",
		schemaOf[logCleanupDone](s), s.cronLogCleanup)
}

// cron registers an endpoint for both methods: some services can only send GET.
func cron[I any](s *server, path string, job exportops.Job, schedule, does string, done *huma.Schema,
	h func(context.Context, *I) (*jobOutput, error),
) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		op := huma.Operation{
			OperationID: "cron-" + string(job), Method: method, Path: path,
			Summary:     "Run " + string(job),
			Description: does + " To be called at `" + schedule + "` UTC. GET acts as POST does.",
			Tags:        []string{tagCron}, Security: needs(scopeCron), Parameters: occurrenceHeaders(),
			Responses: s.jobResponses(done, "The run did everything it should, or its time budget ended first: then complete is false"),
		}
		if method == http.MethodGet {
			op.OperationID += "-get"
		}
		s.problems(&op, http.StatusBadRequest, http.StatusUnauthorized)
		handle(s, op, h)
	}
}

func (s *server) cronAggregate(ctx context.Context, in *aggregateCall) (*jobOutput, error) {
	r := jobs.Request{Job: exportops.MetricsAggregate, DryRun: in.DryRun, Force: in.Force}
	return s.runOccurrence(ctx, r, func(done jobs.Result) any {
		if done.Rolls == nil {
			return nil
		}
		return aggregateDone{true, *done.Rolls, s.now()}
	})
}

func (s *server) cronFileCleanup(ctx context.Context, in *fileCleanupCall) (*jobOutput, error) {
	r := jobs.Request{Job: exportops.FileCleanup, DryRun: in.DryRun, Force: in.Force, RetentionHours: unlessZero(in.RetentionHours)}
	return s.runOccurrence(ctx, r, func(done jobs.Result) any {
		if done.Files == nil {
			return nil
		}
		return fileCleanupDone{true, done.Files, s.now()}
	})
}

func (s *server) cronLogCleanup(ctx context.Context, in *logCleanupCall) (*jobOutput, error) {
	r := jobs.Request{Job: exportops.LogCleanup, DryRun: in.DryRun, Force: in.Force, RetentionDays: unlessZero(in.RetentionDays)}
	return s.runOccurrence(ctx, r, func(done jobs.Result) any {
		if done.Logs == nil {
			return nil
		}
		return logCleanupDone{true, done.Logs, s.now()}
	})
}

// runOccurrence runs a job for a cron service.
func (s *server) runOccurrence(ctx context.Context, r jobs.Request, succeed func(jobs.Result) any) (*jobOutput, error) {
	key, err := occurrence(callOf(ctx).r.Header, r.Job)
	if err != nil {
		return nil, inHeader(err)
	}
	r.Trigger, r.IdempotencyKey = exportops.ByCron, key
	return s.runJob(ctx, r, succeed)
}

func unlessZero(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
