package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

// The most days that Volume counts.
const (
	maxHourlyDays = 366
	maxDailyDays  = 3660
)

// Volume counts the exports of the periods that end now: of the last days UTC
// days, today included, or of the last 24 times as many hours, this one
// included. Periods without exports are zero. KindInvalid is another period, or
// fewer than 1 or more than 3660 days (366 by the hour). It emits nothing.
func (s *Service) Volume(ctx context.Context, p exportops.Period, days int) (exportops.Volume, error) {
	p, err := exportops.ParsePeriod("period", string(p), exportops.Daily)
	if err != nil {
		return exportops.Volume{}, err
	}
	most, n, current := maxDailyDays, days, s.now().Day()
	if p == exportops.Hourly {
		most, n, current = maxHourlyDays, 24*days, s.now().Hour()
	}
	if days < 1 || days > most {
		return exportops.Volume{}, exportops.Invalid("days", "%d is not from 1 to %d", days, most)
	}
	length := p.Length()
	end := exportops.At(current.Add(length))
	span := exportops.Span{From: exportops.At(end.Add(-time.Duration(n) * length)), To: end}
	var c *periods
	_, err = s.read(ctx, span, func(exportops.ReadPlan) (sink, func() error) {
		c = &periods{from: span.From, length: length, counts: make([]int64, n)}
		return c, nothing
	})
	if err != nil {
		return exportops.Volume{}, err
	}
	return c.volume(p, days), nil
}

// AnnounceVolume is Volume, and emits export_volume.
func (s *Service) AnnounceVolume(ctx context.Context, p exportops.Period, days int) (exportops.Volume, error) {
	v, err := s.Volume(ctx, p, days)
	if err == nil {
		s.events.Emit(exportops.EventExportVolume, v)
	}
	return v, err
}

// periods counts exports by period.
type periods struct {
	from   exportops.Time
	length time.Duration
	counts []int64
}

func (c *periods) add(t exportops.Time, n int64) {
	if i := int(t.Sub(c.from.Time) / c.length); i >= 0 && i < len(c.counts) {
		c.counts[i] += n
	}
}

func (c *periods) cell(e *exportops.Cell) error {
	c.add(e.Start, e.Completed+e.Failed)
	return nil
}

func (c *periods) outcome(o *exportops.Outcome) { c.add(o.Time, 1) }

func (c *periods) volume(p exportops.Period, days int) exportops.Volume {
	v := exportops.Volume{Period: p, Days: days, VolumeData: make([]exportops.PeriodCount, len(c.counts))}
	for i, n := range c.counts {
		at := exportops.At(c.from.Add(time.Duration(i) * c.length))
		v.VolumeData[i] = exportops.PeriodCount{Period: p.Key(at), Count: n}
		v.TotalExports += n
		if n > 0 && (v.PeakPeriod == nil || n > v.PeakPeriod.Count) {
			peak := v.VolumeData[i]
			v.PeakPeriod = &peak
		}
	}
	v.AvgPerPeriod = float64(v.TotalExports) / float64(len(c.counts))
	return v
}
