package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/jobs"
)

// Runner is a runner of jobs with a span for each run.
type Runner struct {
	*jobs.Runner
	traces *Traces
}

// Runner traces the runs of r.
func (t *Traces) Runner(r *jobs.Runner) *Runner { return &Runner{r, t} }

// Run is that of jobs.Runner.
func (r *Runner) Run(ctx context.Context, q jobs.Request) (jobs.Answer, error) {
	ctx, span := r.traces.tracer.Start(ctx, "run "+string(q.Job), oteltrace.WithAttributes(
		attribute.String("exportops.job", string(q.Job)), attribute.String("exportops.trigger", string(q.Trigger)),
		attribute.Bool("exportops.dry_run", q.DryRun)))
	defer span.End()
	a, err := r.Runner.Run(ctx, q)
	span.SetAttributes(attribute.String("exportops.run_id", a.Run.ID), attribute.String("exportops.beginning", string(a.Beginning)),
		attribute.String("exportops.state", string(a.Run.State)))
	if err != nil || a.Failure != "" {
		span.SetStatus(codes.Error, "") // the run itself says why
	}
	return a, err
}

// Files is a file store with a span for each batch.
type Files struct {
	exportops.FileStore
	traces *Traces
}

// Files traces the deletions of s; it is s itself where nothing is sent.
func (t *Traces) Files(s exportops.FileStore) exportops.FileStore {
	if t.provider == nil {
		return s
	}
	return &Files{s, t}
}

// Delete is that of the file store.
func (f *Files) Delete(ctx context.Context, refs []exportops.FileRef) ([]exportops.FileResult, error) {
	ctx, span := f.traces.tracer.Start(ctx, "delete files", oteltrace.WithSpanKind(oteltrace.SpanKindClient),
		oteltrace.WithAttributes(attribute.Int("exportops.files", len(refs))))
	defer span.End()
	results, err := f.FileStore.Delete(ctx, refs)
	counts := map[exportops.Removal]int{}
	for _, r := range results {
		counts[r.Removal]++
	}
	for removal, n := range counts {
		span.SetAttributes(attribute.Int("exportops.files."+string(removal), n))
	}
	if err != nil || counts[exportops.Unproven] > 0 {
		span.SetStatus(codes.Error, "")
	}
	return results, err
}
