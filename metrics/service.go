// Package metrics records what exports report, sums it up, and keeps the
// rollups that let a month be read as fast as an hour.
//
//	Record ──▶ one transaction for all who wait ──▶ export_metric events
//	Aggregate, FailureRate, Volume ──▶ Plan: days, hours, rows ──▶ answer
//	Roll ──▶ freeze what rows say ──▶ dirty hours ──▶ days
//
// An export counts once, as its outcome, in the hour its outcome was reported
// to. Hours that are over and settled are read from their rollup, everything
// else from rows; exports under way are always read live.
package metrics

import (
	"time"

	"github.com/exportops/exportops"
)

// Store is what the metrics need of a store.
type Store interface {
	exportops.MetricStore
	exportops.OutcomeStore
	exportops.RollupStore
}

// Options adjust a Service.
type Options struct {
	Events exportops.Events // nil drops them
	Now    func() exportops.Time
	// Retention is how long log rows are kept. A metric older than that is
	// refused: what it was counted with is gone, so it could be counted twice.
	// 0 takes any age.
	Retention time.Duration
}

// Service answers for metrics. It is safe for concurrent use.
type Service struct {
	store     Store
	events    exportops.Events
	now       func() exportops.Time
	retention time.Duration
	queue     queue
}

// New returns a Service. It needs no closing: nothing runs while nobody waits.
func New(store Store, o Options) *Service {
	if o.Events == nil {
		o.Events = exportops.NoEvents{}
	}
	if o.Now == nil {
		o.Now = func() exportops.Time { return exportops.At(time.Now()) }
	}
	s := &Service{store: store, events: o.Events, now: o.Now, retention: o.Retention}
	s.queue.commit = s.commit
	return s
}

// Waiting returns how many metrics wait to be stored.
func (s *Service) Waiting() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.metrics
}
