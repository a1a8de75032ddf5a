package metrics

import (
	"context"

	"github.com/exportops/exportops"
)

// topUsers is how many users a summary lists.
const topUsers = 100

// Aggregate sums up the exports of [start, end); p is a label. It changes and
// emits nothing. KindInvalid is an interval that is empty, longer than ten
// years or outside the calendar.
func (s *Service) Aggregate(ctx context.Context, start, end exportops.Time, p exportops.Period) (exportops.Summary, error) {
	p, err := exportops.ParsePeriod("period", string(p), exportops.Daily)
	if err != nil {
		return exportops.Summary{}, err
	}
	span := exportops.Span{From: exportops.At(start.Time), To: exportops.At(end.Time)}
	if err := checkRange(span); err != nil {
		return exportops.Summary{}, err
	}
	var sum *sums
	var ranked *ranking
	span, err = s.read(ctx, span, func(plan exportops.ReadPlan) (sink, func() error) {
		sum = newSums()
		ranked = s.rank(ctx, plan)
		return sum, ranked.wait
	})
	if err != nil {
		return exportops.Summary{}, err
	}
	out := sum.summary(p, span)
	for _, u := range ranked.top {
		out.ExportsPerUser[u.UserID] = u.Count
	}
	out.DistinctUsers = ranked.distinct
	for name, n := range ranked.errors {
		out.ErrorDistribution[name] += n
	}
	return out, nil
}

// AnnounceAggregate is Aggregate, and emits aggregated_metrics, for an empty
// interval too.
func (s *Service) AnnounceAggregate(ctx context.Context, start, end exportops.Time, p exportops.Period) (exportops.Summary, error) {
	out, err := s.Aggregate(ctx, start, end, p)
	if err == nil {
		s.events.Emit(exportops.EventAggregatedMetrics, out)
	}
	return out, err
}

// ranking is what the database counts better than we do: a million users need
// no memory there. It works while the rest is read.
type ranking struct {
	top      []exportops.UserCount
	distinct int64
	errors   map[string]int64 // of what is read from rollups
	err      error
	done     chan struct{}
}

func (s *Service) rank(ctx context.Context, plan exportops.ReadPlan) *ranking {
	r := &ranking{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if r.top, r.distinct, r.err = s.store.TopUsers(ctx, plan, topUsers); r.err != nil {
			return
		}
		// What is read from rows names its errors itself.
		r.errors, r.err = s.store.Errors(ctx, exportops.ReadPlan{Days: plan.Days, Hours: plan.Hours})
	}()
	return r
}

func (r *ranking) wait() error {
	<-r.done
	return r.err
}

// sums adds up cells and outcomes by format and count range.
type sums struct {
	tallies  map[cellKey]*tally
	progress map[cellKey]int64
	errors   map[string]int64
}

func newSums() *sums {
	return &sums{tallies: map[cellKey]*tally{}, progress: map[cellKey]int64{}, errors: map[string]int64{}}
}

func (s *sums) at(k cellKey) *tally {
	t := s.tallies[k]
	if t == nil {
		t = &tally{}
		s.tallies[k] = t
	}
	return t
}

func (s *sums) cell(c *exportops.Cell) error {
	return s.at(cellKey{c.Format, c.CountRange}).mergeCell(c)
}

func (s *sums) outcome(o *exportops.Outcome) {
	k := cellKey{o.Format, o.CountRange}
	if o.Status.InProgress() {
		s.progress[k]++
		return
	}
	s.at(k).add(o, 1)
	if o.Status == exportops.Failed {
		s.errors[o.ErrorType]++
	}
}
