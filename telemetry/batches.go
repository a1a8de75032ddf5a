package telemetry

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/exportops/exportops"
)

// Store is a database with a span for each batch that a job or an ingest writes.
type Store struct {
	exportops.Database
	traces *Traces
}

// Store traces the batches of s; it is s itself where nothing is sent.
func (t *Traces) Store(s exportops.Database) exportops.Database {
	if t.provider == nil {
		return s
	}
	return &Store{s, t}
}

// batch begins the span of a batch. The function that it returns ends it.
func (t *Traces) batch(ctx context.Context, name string, size int) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, name, oteltrace.WithSpanKind(oteltrace.SpanKindClient),
		oteltrace.WithAttributes(attribute.Int("exportops.batch", size)))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// RecordMetrics is that of the database.
func (s *Store) RecordMetrics(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	ctx, end := s.traces.batch(ctx, "record metrics", len(batch))
	receipts, err := s.Database.RecordMetrics(ctx, batch)
	end(err)
	return receipts, err
}

// ClaimFiles is that of the database.
func (s *Store) ClaimFiles(ctx context.Context, c exportops.Checkpoint, r exportops.ClaimRequest) (exportops.ClaimPage, error) {
	ctx, end := s.traces.batch(ctx, "claim files", r.Limit)
	page, err := s.Database.ClaimFiles(ctx, c, r)
	end(err)
	return page, err
}

// Settle is that of the database.
func (s *Store) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) ([]exportops.Settled, error) {
	ctx, end := s.traces.batch(ctx, "settle claims", len(batch))
	settled, err := s.Database.Settle(ctx, c, batch)
	end(err)
	return settled, err
}

// DeleteLogRows is that of the database.
func (s *Store) DeleteLogRows(ctx context.Context, c exportops.Checkpoint, rows []exportops.LogRow,
	progress func(exportops.LogDeletion) (json.RawMessage, error),
) (exportops.LogDeletion, error) {
	ctx, end := s.traces.batch(ctx, "delete log rows", len(rows))
	deleted, err := s.Database.DeleteLogRows(ctx, c, rows, progress)
	end(err)
	return deleted, err
}
