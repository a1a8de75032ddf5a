package metrics

import "github.com/exportops/exportops"

// summary puts what was added up into the form that callers get. No map is nil,
// so that empty ones are {} in JSON.
func (s *sums) summary(p exportops.Period, span exportops.Span) exportops.Summary {
	out := exportops.Summary{
		Period: p, PeriodStart: span.From, PeriodEnd: span.To,
		FormatDistribution:     map[exportops.Format]int64{},
		CountRangeDistribution: map[exportops.CountRange]int64{},
		ExportsPerUser:         map[string]int64{},
		ErrorDistribution:      s.errors,
	}
	byFormat, byRange := groups[exportops.Format]{}, groups[exportops.CountRange]{}
	count := func(k cellKey, n int64) {
		if n > 0 {
			out.TotalExports += n
			out.FormatDistribution[k.format] += n
			out.CountRangeDistribution[k.countRange] += n
		}
	}
	for k, t := range s.tallies {
		out.SuccessfulExports += t.completed
		out.FailedExports += t.failed
		count(k, t.completed+t.failed)
		byFormat.merge(k.format, t)
		byRange.merge(k.countRange, t)
	}
	for k, n := range s.progress {
		out.InProgressExports += n
		count(k, n)
	}
	if finished := out.SuccessfulExports + out.FailedExports; finished > 0 {
		out.SuccessRate = float64(out.SuccessfulExports) / float64(finished)
	}
	out.AvgDurationByFormat, _, out.DurationPercentilesByFormat = byFormat.figures(durations)
	out.AvgFileSizeByFormat, out.MaxFileSizeByFormat, out.FileSizePercentilesByFormat = byFormat.figures(sizes)
	out.AvgDurationByCountRange, _, out.DurationPercentilesByCountRange = byRange.figures(durations)
	out.AvgFileSizeByCountRange, out.MaxFileSizeByCountRange, out.FileSizePercentilesByCountRange = byRange.figures(sizes)
	return out
}

// groups merges tallies that share a format, or a count range.
type groups[K comparable] map[K]*tally

func (g groups[K]) merge(k K, t *tally) {
	if g[k] == nil {
		g[k] = &tally{}
	}
	g[k].duration.merge(t.duration)
	g[k].size.merge(t.size)
}

func durations(t *tally) *measure { return &t.duration }
func sizes(t *tally) *measure     { return &t.size }

// figures leaves out the groups in which nothing was measured: an average of
// nothing is not zero.
func (g groups[K]) figures(of func(*tally) *measure) (
	avg map[K]float64, most map[K]int64, percentiles map[K]exportops.Percentiles,
) {
	avg, most, percentiles = map[K]float64{}, map[K]int64{}, map[K]exportops.Percentiles{}
	for k, t := range g {
		m := of(t)
		if m.count == 0 {
			continue
		}
		avg[k], most[k] = float64(m.sum)/float64(m.count), m.max
		percentiles[k] = exportops.Percentiles{
			P50: m.sketch.Quantile(0.50), P95: m.sketch.Quantile(0.95), P99: m.sketch.Quantile(0.99),
		}
	}
	return avg, most, percentiles
}
