package alerting

import (
	"context"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

// Reading a backlog looks at every live export, which takes seconds where there are
// millions. So it is read again only when a hundred times as long as it took has
// passed, that is for at most a hundredth of the time, and after ten minutes at the
// latest. Where it takes less than half a second, that is each minute.
const (
	backlogRest    = 100
	backlogMaxAge  = 10 * time.Minute
	backlogPatient = 15 * time.Second // for one reading: other rules are to be looked at as well
)

// backlogs are those that were read last, by the window of what is stuck.
type backlogs struct {
	mu   sync.Mutex
	read map[time.Duration]backlogRead
}

type backlogRead struct {
	backlog exportops.Backlog
	err     error // which holds as long: what timed out would do so again
	of      *look // which read it: it is not read twice in an evaluation
	at      time.Time
	until   time.Time
}

// Backlog returns what rules look at, from the reading that they share. What counts
// as stuck is what the first rule about it says.
func (s *Service) Backlog(ctx context.Context) (exportops.Backlog, error) {
	l := &look{Service: s, now: exportops.At(s.Now())}
	return l.backlog(ctx, l.stuckWindow())
}

// backlogOf returns the backlog that a rule looks at.
func (l *look) backlogOf(ctx context.Context, r exportops.AlertRule) (exportops.Backlog, error) {
	if r.Kind == exportops.AlertStuck {
		return l.backlog(ctx, r.Window)
	}
	return l.backlog(ctx, l.stuckWindow()) // one reading does for all
}

func (l *look) backlog(ctx context.Context, window time.Duration) (exportops.Backlog, error) {
	s := l.Service
	s.backlogs.mu.Lock()
	defer s.backlogs.mu.Unlock()
	began := s.Now()
	b, ok := s.backlogs.read[window]
	if ok && (b.of == l || began.Before(b.until) && !began.Before(b.at)) {
		return b.backlog, b.err
	}
	reading, cancel := context.WithTimeout(ctx, backlogPatient)
	defer cancel()
	b = backlogRead{of: l}
	b.backlog, b.err = s.Store.Backlog(reading, exportops.BacklogSpan{Now: l.now, Stuck: exportops.At(l.now.Add(-window))})
	if ctx.Err() != nil { // who asked gave up, which says nothing of the backlog
		return b.backlog, b.err
	}
	b.at = s.Now()
	b.until = b.at.Add(min(backlogRest*b.at.Sub(began), backlogMaxAge))
	if s.backlogs.read == nil {
		s.backlogs.read = map[time.Duration]backlogRead{}
	}
	s.backlogs.read[window] = b
	return b.backlog, b.err
}

// usualStuck is how long an export may be in progress where no rule says it.
const usualStuck = 2 * time.Hour

// stuckWindow is that of the first rule about what is stuck.
func (l *look) stuckWindow() time.Duration {
	for _, r := range l.Rules {
		if r.Kind == exportops.AlertStuck {
			return r.Window
		}
	}
	return usualStuck
}
