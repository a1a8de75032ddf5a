package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/exportops/exportops"
)

// scope names this instrumentation.
const scope = "github.com/exportops/exportops"

// Traces are sent as the variables OTEL_… of the environment say, over OTLP and
// HTTP. They hold routes, counts and outcomes; no path, query or address of a
// caller, which the usual instrumentation of HTTP sends and which name users and
// exports.
type Traces struct {
	tracer   oteltrace.Tracer
	provider *trace.TracerProvider // nil where nothing is sent
}

// StartTraces reads the environment through lookup, usually os.LookupEnv. Where no
// receiver is named, or OTEL_SDK_DISABLED is true, nothing is sent. It is
// KindInvalid for an exporter or a protocol that is not here.
func StartTraces(ctx context.Context, lookup func(string) (string, bool), version string) (*Traces, error) {
	wanted, err := wanted(lookup)
	if err != nil || !wanted {
		return &Traces{tracer: noop.NewTracerProvider().Tracer(scope)}, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("send traces: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "exportops"), attribute.String("service.version", version)),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, errors.Join(fmt.Errorf("describe the sender of traces: %w", err), exporter.Shutdown(ctx))
	}
	p := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(described))
	return &Traces{tracer: p.Tracer(scope, oteltrace.WithInstrumentationVersion(version)), provider: p}, nil
}

func wanted(lookup func(string) (string, bool)) (bool, error) {
	get := func(name string) string {
		v, _ := lookup(name)
		return strings.ToLower(strings.TrimSpace(v))
	}
	first := func(names ...string) (string, string) {
		for _, n := range names {
			if v := get(n); v != "" {
				return n, v
			}
		}
		return "", ""
	}
	exporter := get("OTEL_TRACES_EXPORTER")
	_, endpoint := first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch {
	case get("OTEL_SDK_DISABLED") == "true" || exporter == "none" || (exporter == "" && endpoint == ""):
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, invalid("OTEL_TRACES_EXPORTER", exporter, "use otlp or none")
	}
	if name, protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); name != "" && protocol != "http/protobuf" {
		return false, invalid(name, protocol, "use http/protobuf, which collectors take at port 4318")
	}
	return true, nil
}

func invalid(name, value, hint string) error {
	return &exportops.Error{Kind: exportops.KindInvalid, Field: name, Message: fmt.Sprintf("%q is not supported", value), Hint: hint}
}

// Stop sends what is left, until ctx ends.
func (t *Traces) Stop(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Handler traces requests. One that says which trace it belongs to, as the W3C's
// Trace Context has it, becomes a part of that.
func (t *Traces) Handler(next http.Handler) http.Handler {
	if t.provider == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, "HTTP request", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Answered names the span of a request by its route.
func (t *Traces) Answered(ctx context.Context, method, route string, status int, _ time.Duration) {
	span := oteltrace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetName(strings.TrimSpace(method + " " + route))
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}
