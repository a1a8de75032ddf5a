package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/exportops/exportops"
)

// Sources is what the gauges are read from. Every field is required.
type Sources struct {
	Figures interface {
		// Figures sums up windows that end now, each in its place.
		Figures(ctx context.Context, windows ...exportops.Window) ([]exportops.Figures, error)
		// Waiting returns how many metrics wait to be stored by this process.
		Waiting() int
	}
	Alerts interface {
		Backlog(ctx context.Context) (exportops.Backlog, error)
	}
	Store interface {
		OpenIncidents(ctx context.Context) ([]exportops.Incident, error)
		NotificationBacklog(ctx context.Context, late exportops.Time) ([]exportops.ChannelBacklog, error)
		Runs(ctx context.Context, f exportops.RunFilter) ([]exportops.Run, string, error)
		ActiveRuns(ctx context.Context) ([]exportops.Run, error)
		// Expiring returns how many files of completed exports expire in the span.
		Expiring(ctx context.Context, span exportops.Span) (int64, error)
	}
	Log *slog.Logger
	Now func() time.Time
}

// fresh is how long what was read answers for: several scrapers cost the database
// no more than one. within bounds one reading.
const (
	fresh  = 10 * time.Second
	within = 5 * time.Second
)

// state reads the gauges when they are scraped.
type state struct {
	Sources
	errors *prometheus.CounterVec

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

// Watch adds the gauges that are read from the database at each scrape. A part that
// cannot be read is missing from the answer, and counted.
func (m *Metrics) Watch(s Sources) {
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "exportops_state_errors_total", Help: "Times that a part of the gauges could not be read from the database.",
	}, []string{"part"})
	for _, p := range parts {
		failed.WithLabelValues(p.name) // so that the first error is an increase
	}
	m.registry.MustRegister(failed, &state{Sources: s, errors: failed}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "exportops_ingest_waiting", Help: "Metrics that wait to be stored by this process.",
	}, func() float64 { return float64(s.Figures.Waiting()) }))
}

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.Now(); s.last == nil || now.Sub(s.at) >= fresh || now.Before(s.at) {
		s.last, s.at = s.read(), now
	}
	for _, m := range s.last {
		to <- m
	}
}

func (s *state) read() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	all := []prometheus.Metric{}
	for _, p := range parts {
		var some []prometheus.Metric
		err := p.read(s, ctx, func(d *prometheus.Desc, v float64, labels ...string) {
			some = append(some, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
		})
		if err != nil {
			s.errors.WithLabelValues(p.name).Inc()
			s.Log.Error("metrics for Prometheus could not be read", slog.String("part", p.name), slog.Any("error", err))
			continue // half of a part could be taken for all of it
		}
		all = append(all, some...)
	}
	return all
}

type put func(d *prometheus.Desc, v float64, labels ...string)

// part is what is read, and missing, together.
type part struct {
	name string
	read func(*state, context.Context, put) error
}

var parts = []part{
	{"exports", (*state).exports},
	{"files", (*state).files},
	{"runs", (*state).runs},
	{"alerts", (*state).alerts},
}
