package metrics

import (
	"context"
	"fmt"

	"github.com/exportops/exportops"
)

// Record stores metrics and answers for each in order; a metric that is not
// valid is refused alone. When it returns without an error, those accepted are
// durable. Callers at the same time share one transaction. One export_metric
// event is emitted for each metric that is new, after the commit and by the
// process that made it.
//
// An error means that nothing is known about the metrics that were accepted:
// sending them again is safe. It is KindUnavailable when too many wait already
// or the store cannot be used, and the context's own when that ends first,
// which does not take back what is queued.
func (s *Service) Record(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	receipts := make([]exportops.Receipt, len(batch))
	accepted := make([]exportops.Metric, 0, len(batch))
	places := make([]int, 0, len(batch))
	now := s.now()
	for i, m := range batch {
		m.Normalize(now)
		if err := s.check(&m, now); err != nil {
			receipts[i].Err = err
			continue
		}
		accepted, places = append(accepted, m), append(places, i)
	}
	for len(accepted) > 0 {
		n := min(len(accepted), maxBatch)
		got, err := s.queue.submit(ctx, accepted[:n])
		if err != nil {
			return nil, err
		}
		for i, r := range got {
			receipts[places[i]] = r
		}
		accepted, places = accepted[n:], places[n:]
	}
	return receipts, nil
}

// Send is Record under the name that the package recorder knows, for programs
// that log to their own database.
func (s *Service) Send(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	return s.Record(ctx, batch)
}

func (s *Service) check(m *exportops.Metric, now exportops.Time) error {
	if err := m.Validate(); err != nil {
		return err
	}
	switch year := m.Timestamp.Year(); {
	case year < 1970 || year > 9999:
		return exportops.Invalid("timestamp", "year %d is not one from 1970 to 9999", year)
	case s.retention > 0 && now.Sub(m.Timestamp.Time) > s.retention:
		return exportops.Invalid("timestamp", "%s is older than export logs are kept (%g days)",
			m.Timestamp, s.retention.Hours()/24)
	}
	return nil
}

// Event is an export_metric event.
type Event struct {
	exportops.Metric
	CountRange exportops.CountRange `json:"count_range"`
}

// commit stores what callers have waiting and answers them.
func (s *Service) commit(ctx context.Context, waiting []*submission) {
	var batch []exportops.Metric
	for _, w := range waiting {
		batch = append(batch, w.metrics...)
	}
	receipts, err := s.store.RecordMetrics(ctx, batch)
	if err == nil && len(receipts) != len(batch) {
		err = fmt.Errorf("the store answered for %d of %d metrics", len(receipts), len(batch))
	}
	if err != nil && len(waiting) > 1 && !exportops.IsKind(err, exportops.KindUnavailable) && ctx.Err() == nil {
		// What is wrong with one caller's metrics is no reason to fail the others.
		for _, w := range waiting {
			s.commit(ctx, []*submission{w})
		}
		return
	}
	for i := range receipts {
		if err == nil && receipts[i].New {
			s.events.Emit(exportops.EventExportMetric, Event{batch[i], exportops.CountRangeOf(batch[i].ConversationCount)})
		}
	}
	for _, w := range waiting {
		if err == nil {
			w.receipts, receipts = receipts[:len(w.metrics)], receipts[len(w.metrics):]
		}
		w.err = err
		close(w.done)
	}
}
