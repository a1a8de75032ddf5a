package alerting

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

// outage is what this process remembers of a database that it cannot reach, and
// that therefore cannot keep the incident. A process that ends meanwhile forgets it.
type outage struct {
	mu       sync.Mutex
	incident *exportops.Incident // nil while the database can be reached
	events   []exportops.IncidentEvent
	logged   string // the incident that was last written to the log from here
}

// said reports whether an event was written to the log while there was no database
// to keep it.
func (o *outage) said(e exportops.IncidentEvent) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return e.Step == exportops.StepFiring && e.IncidentID == o.logged
}

// unreachable notes that the database could not be reached, and writes it to the log
// when that has lasted for as long as the rule asks, once an outage.
func (s *Service) unreachable(ctx context.Context, now exportops.Time) {
	rule, ok := s.databaseRule()
	if !ok || errors.Is(ctx.Err(), context.Canceled) { // whoever asked went away
		return
	}
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	next, events := Advance(rule, s.outage.incident, exportops.Reading{Value: 1}, now)
	s.outage.incident = next
	s.outage.events = append(s.outage.events, events...)
	for _, e := range events {
		if e.Step == exportops.StepFiring {
			s.outage.logged = next.ID
			s.Events.Emit(exportops.EventAlert, change{*next, e.Step, e.Note})
		}
	}
}

// reachable keeps, now that there is a database again, the incident of its outage,
// as it began; the next evaluation ends it. Other processes went through the same
// outage: the first one keeps it. An outage shorter than the rule asks is forgotten.
func (l *look) reachable(ctx context.Context) error {
	s := l.Service
	s.outage.mu.Lock()
	i, events := s.outage.incident, s.outage.events
	s.outage.mu.Unlock()
	if i == nil {
		return nil
	}
	if i.FiredAt != nil {
		latest, _, err := s.Store.Incidents(ctx, exportops.IncidentFilter{Rule: i.Rule, Fired: true, Limit: 1})
		if err != nil {
			return err
		}
		kept := len(latest) == 1 && (latest[0].ResolvedAt == nil || !latest[0].ResolvedAt.Before(i.StartedAt.Time))
		if !kept {
			if err := l.save(ctx, *i, events); err != nil {
				return err
			}
		}
	}
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if s.outage.incident != nil && s.outage.incident.ID == i.ID {
		s.outage.incident, s.outage.events = nil, nil
	}
	return nil
}

func (s *Service) databaseRule() (exportops.AlertRule, bool) {
	for _, r := range s.Rules {
		if r.Kind == exportops.AlertDatabase {
			return r, true
		}
	}
	return exportops.AlertRule{}, false
}

// checkWithin bounds a check: a storage that hangs must not keep other rules from
// being looked at.
const checkWithin = 5 * time.Second

// usable reads whether something can be used. What is not looked at can.
func usable(ctx context.Context, check func(context.Context) error) exportops.Reading {
	if check == nil {
		return exportops.Reading{}
	}
	bounded, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	err := check(bounded)
	switch {
	case err == nil:
		return exportops.Reading{}
	case ctx.Err() != nil: // who asked gave up
		return exportops.Reading{Unknown: true}
	}
	f := exportops.Reading{Value: 1}
	var e *exportops.Error
	if errors.As(err, &e) { // whose message is safe to show
		f.Detail = e.Message
	}
	return f
}
