// Package telemetry shows the program to those who watch it: metrics for
// Prometheus, and traces for OpenTelemetry.
//
//	log events ──▶ counters and histograms of this process
//	the database ──▶ gauges, the same from every replica
//
// No label holds an id of a user or an export, nor anything else that somebody
// outside chooses: the number of time series is bounded by what is written here.
package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/metrics"
)

// Metrics are what one process shows to Prometheus. They are safe for concurrent
// use.
type Metrics struct {
	registry *prometheus.Registry
	next     exportops.Events

	attempts       *prometheus.CounterVec
	duration, size *prometheus.HistogramVec
	events         *prometheus.CounterVec
	requests       *prometheus.HistogramVec
}

// native is the growth from one bucket of a native histogram to the next: a
// quantile is off by 5 % at most. So many buckets are kept a series.
const (
	native     = 1.1
	mostNative = 160
)

// NewMetrics returns metrics that count the log events on their way to next.
func NewMetrics(next exportops.Events, version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), next: next}
	m.attempts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "exportops_export_attempts_total", Help: "Attempts of exports that were reported to this process, by how they ended.",
	}, []string{"format", "count_range", "status"})
	of := []string{"format", "count_range"}
	m.duration = histogram("exportops_export_duration_seconds", "Duration of completed exports that were reported to this process.",
		[]float64{0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300}, of)
	m.size = histogram("exportops_export_file_size_bytes", "File size of completed exports that were reported to this process.",
		prometheus.ExponentialBuckets(1<<10, 8, 9), of)
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "exportops_log_events_total", Help: "Log events that this process emitted.",
	}, []string{"type"})
	m.requests = histogram("exportops_http_request_duration_seconds", "Duration of HTTP requests that this process answered.",
		prometheus.DefBuckets, []string{"method", "route", "code"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "exportops_build_info", Help: "1, with the version of the program.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.attempts, m.duration, m.size, m.events, m.requests, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// histogram has buckets for every Prometheus, and native ones for those that take
// them.
func histogram(name, help string, buckets []float64, labels []string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: native, NativeHistogramMaxBucketNumber: mostNative, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, EnableOpenMetrics: true}))
	return mux
}

// Emit implements exportops.Events.
func (m *Metrics) Emit(t exportops.EventType, v any) {
	m.events.WithLabelValues(string(t)).Inc()
	if e, ok := v.(metrics.Event); ok && (e.Status == exportops.Completed || e.Status == exportops.Failed) {
		m.attempt(e)
	}
	m.next.Emit(t, v)
}

func (m *Metrics) attempt(e metrics.Event) {
	format, counts := string(e.Format), string(e.CountRange)
	m.attempts.WithLabelValues(format, counts, string(e.Status)).Inc()
	if e.Status != exportops.Completed {
		return
	}
	if e.DurationMS != nil {
		m.duration.WithLabelValues(format, counts).Observe(float64(*e.DurationMS) / 1000)
	}
	if e.FileSizeBytes != nil {
		m.size.WithLabelValues(format, counts).Observe(float64(*e.FileSizeBytes))
	}
}

// Answered counts a request that was answered. The route is its pattern, never the
// path that was asked for; "" is one that there is not.
func (m *Metrics) Answered(_ context.Context, method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}
