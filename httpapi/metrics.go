package httpapi

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/exportops/exportops"
)

// metricBody is one metric as it is sent. It is strict, so that a misspelt
// field is not lost in silence, but takes type and count_range: a logged
// export_metric event can be sent back as it is.
type metricBody struct {
	Type              *string               `json:"type,omitempty" nullable:"true" enum:"export_metric" doc:"As in logged events; says nothing more"`
	ExportID          string                `json:"export_id" required:"true" format:"uuid" doc:"The export"`
	UserID            string                `json:"user_id" required:"true" format:"uuid" doc:"Whose export it is"`
	Format            exportops.Format      `json:"format" required:"true" doc:"The format of the file"`
	Status            exportops.Status      `json:"status" required:"true" enum:"completed,failed,processing,queued" doc:"What became of the attempt"`
	ConversationCount int64                 `json:"conversation_count" required:"true" minimum:"0" doc:"How many conversations it holds"`
	DurationMS        *int64                `json:"duration_ms" required:"true" nullable:"false" minimum:"0" doc:"Milliseconds that it took"`
	FileSizeBytes     *int64                `json:"file_size_bytes,omitempty" nullable:"true" minimum:"0" doc:"Bytes; null if failed"`
	ErrorType         *string               `json:"error_type,omitempty" nullable:"true" maxLength:"1024" doc:"The kind of failure"`
	ErrorMessage      *string               `json:"error_message,omitempty" nullable:"true" maxLength:"8192" doc:"The failure in words; scrubbed before it is logged"`
	Attempt           int64                 `json:"attempt,omitempty" nullable:"true" minimum:"1" doc:"From 1; 1 where it is missing"`
	Timestamp         exportops.Time        `json:"timestamp,omitempty" nullable:"true" doc:"When it was measured; now where it is missing"`
	CountRange        *exportops.CountRange `json:"count_range,omitempty" nullable:"true" doc:"As in logged events; derived from conversation_count again"`
}

var metricFields = fieldsOf[metricBody]()

func decodeMetric(data []byte) (exportops.Metric, error) {
	var b metricBody
	if err := metricFields.decode(data, &b); err != nil {
		return exportops.Metric{}, err
	}
	if b.Type != nil && *b.Type != string(exportops.EventExportMetric) {
		return exportops.Metric{}, exportops.Invalid("type", "only %s can be sent here", exportops.EventExportMetric)
	}
	return exportops.Metric{
		ExportID: b.ExportID, UserID: b.UserID, Format: b.Format, Status: b.Status,
		ConversationCount: b.ConversationCount, DurationMS: b.DurationMS, FileSizeBytes: b.FileSizeBytes,
		ErrorType: b.ErrorType, ErrorMessage: b.ErrorMessage, Attempt: b.Attempt, Timestamp: b.Timestamp,
	}, nil
}

// tally is what became of the metrics of one request. Every line that is not
// blank is in exactly one of New, Repeated and Refused.
type tally struct {
	Accepted int64     `json:"accepted" doc:"New and repeated"`
	New      int64     `json:"new" doc:"Recorded for the first time"`
	Repeated int64     `json:"repeated" doc:"Known already, and the same"`
	Refused  int64     `json:"refused" doc:"Not recorded; errors says why, line by line"`
	Errors   []refusal `json:"errors" nullable:"false" doc:"All that were refused, by line"`
}

type refusal struct {
	Line  int    `json:"line" doc:"Line of the body, from 1"`
	Field string `json:"field" doc:"The field at fault, or empty"`
	Error string `json:"error" doc:"Why the line was refused"`
}

type tallyOutput struct{ Body tally }

func (s *server) metricRoutes() {
	op := huma.Operation{
		OperationID: "record-metrics", Method: http.MethodPost, Path: "/api/v1/metrics", DefaultStatus: http.StatusAccepted,
		Summary: "Record metrics",
		Description: "Takes one metric as application/json, or many as application/x-ndjson, one a line. 202 means that what was " +
			"accepted is durable. A metric is known by export_id, status and attempt: the same again is repeated, another one " +
			"under the same key is refused (422 for one metric). Of many, each line stands for itself: 202 with those refused listed.",
		Tags: []string{tagMetrics}, Security: needs(scopeIngest),
	}
	s.problems(&op, http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	handle(s, op, s.recordMetrics)
	s.takesMetrics(op)
}

func (s *server) recordMetrics(ctx context.Context, _ *struct{}) (*tallyOutput, error) {
	c := callOf(ctx)
	kind, err := s.mediaType(c, jsonType, ndjsonType)
	if err != nil {
		return nil, err
	}
	if kind == ndjsonType {
		return s.recordBatch(ctx, c)
	}
	return s.recordOne(ctx, c)
}

func (s *server) recordOne(ctx context.Context, c *call) (*tallyOutput, error) {
	r, err := limit(c, MaxObjectBytes)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, bodyError(err)
	}
	m, err := decodeMetric(body)
	if err != nil {
		return nil, err
	}
	receipts, err := s.record(ctx, []exportops.Metric{m})
	if err != nil {
		return nil, err
	}
	out := &tallyOutput{tally{Accepted: 1, Errors: []refusal{}}}
	switch receipt := receipts[0]; {
	case receipt.Err != nil:
		return nil, refusalOf(receipt)
	case receipt.New:
		out.Body.New = 1
	default:
		out.Body.Repeated = 1
	}
	return out, nil
}

// refusalOf returns why a metric was refused. The same attempt with another
// body is a wrong value, not a state that the caller could resolve.
func refusalOf(r exportops.Receipt) error {
	if exportops.IsKind(r.Err, exportops.KindConflict) {
		return exportops.Invalid("attempt", "this attempt was recorded with other values")
	}
	return r.Err
}

// record hands a batch on, and sees to it that each metric is answered for.
func (s *server) record(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	receipts, err := s.Metrics.Record(ctx, batch)
	if err == nil && len(receipts) != len(batch) {
		err = &exportops.Error{Kind: exportops.KindInternal, Message: "not every metric was answered for"}
	}
	return receipts, err
}
