package metrics

import (
	"context"
	"time"

	"github.com/exportops/exportops"
)

const (
	// recent is how far back rows are looked at again each time: applications
	// finish exports by plain SQL and tell nobody.
	recent = 48 * time.Hour
	// giveUp is how far back an hour is looked at again because exports in it
	// were under way. What ends later counts once it is reported, expires, or is
	// about to be deleted.
	giveUp = 7 * 24 * time.Hour
	// longGap is the longest stretch without exports whose hours are given
	// rollups. A row dated to the year 1 must not cost millions of hours; what
	// has no rollup is read from rows, of which there are none.
	longGap = 400 * 24 * time.Hour
)

// Rolled says what Roll did.
type Rolled struct {
	HoursClosed int64 // hours whose rollup was computed
	Observed    int64 // exports seen finished without a metric
	Complete    bool  // nothing that was due is left
}

// Roll freezes what finished rows say and brings every rollup up to date: of
// the hours before now's, and of the days they make up. The first time it goes
// through all history. Everything it did stays done when ctx ends, which is no
// error: Complete is false then, and the next Roll goes on from there. Several
// may run at once.
func (s *Service) Roll(ctx context.Context, now exportops.Time) (Rolled, error) {
	r := roller{store: s.store, now: now, end: now.Hour()}
	return r.run(ctx, r.recent)
}

// RollBefore does the same for every hour that starts before t, whatever its
// age, after it has looked at every row before t: what is deleted then was
// counted. The last of these hours need not be over. Complete is false as well
// when an hour was reported to faster than it could be computed.
func (s *Service) RollBefore(ctx context.Context, t, now exportops.Time) (Rolled, error) {
	end := t.Hour()
	if end.Before(t.Time) {
		end = exportops.At(end.Add(time.Hour))
	}
	r := roller{store: s.store, now: now, end: end}
	return r.run(ctx, r.everything)
}

// roller is one pass over the hours before end.
type roller struct {
	store Store
	now   exportops.Time
	end   exportops.Time // the start of the first hour that is left alone
	first exportops.Time // the day of the first export
	// open counts the exports under way by the hour. It is read before rows are
	// observed: what ends in between was open, so its hour is looked at again.
	open map[int64]int64
	out  Rolled
}

func (r *roller) run(ctx context.Context, observe func(context.Context) error) (Rolled, error) {
	r.out.Complete = true
	err := r.steps(ctx, observe)
	if err != nil && ctx.Err() != nil {
		r.out.Complete, err = false, nil
	}
	return r.out, err
}

func (r *roller) steps(ctx context.Context, observe func(context.Context) error) error {
	first, found, err := r.store.FirstActivity(ctx, exportops.Time{})
	if err != nil || !found {
		return err
	}
	// From the start of its day, so that the first day is whole too.
	r.first = first.Day()
	if !r.first.Before(r.end.Time) {
		return nil
	}
	for _, step := range []func(context.Context) error{r.countOpen, observe, r.fill, r.refresh, r.days} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *roller) countOpen(ctx context.Context) error {
	r.open = map[int64]int64{}
	for o, err := range r.store.InProgress(ctx, exportops.Span{From: r.first, To: r.end}) {
		if err != nil {
			return err
		}
		r.open[o.Time.Hour().Unix()]++
	}
	return nil
}

func (r *roller) observe(ctx context.Context, span exportops.Span) error {
	if !span.From.Before(span.To.Time) {
		return nil
	}
	n, err := r.store.Observe(ctx, span, r.now)
	r.out.Observed += n
	return err
}

// everything looks at all rows before end.
func (r *roller) everything(ctx context.Context) error {
	return r.observe(ctx, exportops.Span{From: r.first, To: r.end})
}

// recent looks at rows of the last days, this hour's included, and of older
// hours in which exports were under way.
func (r *roller) recent(ctx context.Context) error {
	from := exportops.At(r.now.Hour().Add(-recent))
	if from.Before(r.first.Time) {
		from = r.first
	}
	stale, err := r.store.StaleHours(ctx, from, staleLimit)
	if err != nil {
		return err
	}
	for _, h := range stale {
		if h.Open > 0 && !h.Start.Before(r.now.Add(-giveUp)) {
			if err := r.observe(ctx, exportops.Span{From: h.Start, To: exportops.At(h.Start.Add(time.Hour))}); err != nil {
				return err
			}
		}
	}
	return r.observe(ctx, exportops.Span{From: from, To: exportops.At(r.now.Hour().Add(time.Hour))})
}
