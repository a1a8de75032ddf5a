package alerting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/exportops/exportops"
)

// Figures answers for exports.
type Figures interface {
	// Figures sums up windows that end now, each in its place.
	Figures(ctx context.Context, windows ...exportops.Window) ([]exportops.Figures, error)
	Volume(ctx context.Context, p exportops.Period, days int) (exportops.Volume, error)
	// Of sums up an interval, and Aggregate says what failed in it.
	Of(ctx context.Context, span exportops.Span, only exportops.Only) (exportops.Figures, error)
	Aggregate(ctx context.Context, start, end exportops.Time, p exportops.Period) (exportops.Summary, error)
}

// Runs answers for the runs of jobs.
type Runs interface {
	Runs(ctx context.Context, f exportops.RunFilter) ([]exportops.Run, string, error)
	ActiveRuns(ctx context.Context) ([]exportops.Run, error)
}

// Store keeps incidents, and what channels are to hear of them.
type Store interface {
	exportops.AlertStore
	exportops.NotificationStore
}

// Options is what a Service works with. Every field up to Now is required.
type Options struct {
	Store   Store
	Runs    Runs
	Figures Figures
	Events  exportops.Events
	Rules   []exportops.AlertRule
	Now     func() time.Time

	// Database and Storage report why they cannot be used; nil is not looked at.
	Database func(context.Context) error
	Storage  func(context.Context) error
	// Audiences are the channels that are told; without one nothing counts as told.
	Audiences []exportops.Audience
	// Reminder is how long after the last word the channels are reminded of what
	// still fires; 0 for never.
	Reminder time.Duration
	// Scrub takes out of a text that an application wrote what must not be sent; nil
	// leaves it as it is.
	Scrub func(string) string
	// Wake, where set, is called when there is something to send.
	Wake func()
}

// Service holds figures against rules and keeps what comes of it. It is safe for
// concurrent use, and any number of processes may do so at the same time.
type Service struct {
	Options
	outage   outage
	backlogs backlogs
}

// New returns a Service.
func New(o Options) *Service { return &Service{Options: o} }

// change is an export_alert event: what happened to an incident.
type change struct {
	exportops.Incident
	Step exportops.IncidentStep `json:"step"`
	Note string                 `json:"note,omitempty"`
}

// evaluateWithin bounds one look at all rules.
const evaluateWithin = 30 * time.Second

// Evaluate reads the figure of every rule, and lets incidents begin, go on and end
// by them. A rule whose figure cannot be read is told in the error, and the others
// are held all the same. What happened to an incident, and what channels are to hear
// of it, is kept by the one process that was first, and emitted as export_alert after
// that. At last it enqueues the summaries that are due. All of it takes half a minute
// at most.
func (s *Service) Evaluate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, evaluateWithin)
	defer cancel()
	now := exportops.At(s.Now())
	open, err := s.Store.OpenIncidents(ctx)
	if err != nil {
		s.unreachable(ctx, now)
		return err
	}
	look := &look{Service: s, now: now}
	if len(s.Audiences) > 0 {
		if look.silences, err = s.Store.Silences(ctx, now); err != nil {
			return err
		}
	}
	if err := look.reachable(ctx); err != nil {
		return err
	}
	known := map[[2]string]*exportops.Incident{}
	for n := range open {
		known[[2]string{open[n].Rule, open[n].Subject}] = &open[n]
	}
	var errs []error
	for _, r := range exportsLast(s.Rules) {
		figures, err := look.read(ctx, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %s: %w", r.Name, err))
			figures = nil
		}
		for _, f := range figures {
			key := [2]string{r.Name, f.Subject}
			next, events := Advance(r, known[key], f, now)
			errs = append(errs, look.keep(ctx, known[key], next, events))
			delete(known, key)
		}
		if err != nil { // what is known of it stays, and is told of
			for key, i := range known {
				if key[0] == r.Name {
					errs = append(errs, look.keep(ctx, i, i, nil))
					delete(known, key)
				}
			}
		}
	}
	for _, i := range known {
		next, events := resolve(i, now, "no rule looks at it any more")
		errs = append(errs, look.keep(ctx, nil, next, events))
	}
	return errors.Join(append(errs, s.summarize(ctx, now))...)
}

// exportsLast returns the rules in the order in which they are looked at. To sum up
// exports may take all the time there is where very many are being made: a rule that
// asks for less is not to wait for that.
func exportsLast(rules []exportops.AlertRule) []exportops.AlertRule {
	last := func(r exportops.AlertRule) bool {
		looks := kinds[r.Kind].looks
		return looks == atExports || looks == atHours
	}
	return slices.Concat(
		slices.DeleteFunc(slices.Clone(rules), last),
		slices.DeleteFunc(slices.Clone(rules), func(r exportops.AlertRule) bool { return !last(r) }),
	)
}

// keep keeps what became of an incident, with what channels are to hear of it, where
// that is anything.
func (l *look) keep(ctx context.Context, open, next *exportops.Incident, events []exportops.IncidentEvent) error {
	if next == nil {
		return nil
	}
	i := *next
	step, tell := l.tell(&i)
	if next == open && step == "" {
		return nil
	}
	if step == exportops.StepReminder {
		events = append(events, event(&i, step, l.now, ""))
	}
	return l.save(ctx, i, events, tell)
}

// save keeps an incident, unless another process was first: then it has told of it.
func (s *Service) save(ctx context.Context, i exportops.Incident, events []exportops.IncidentEvent, tell []exportops.Notification) error {
	saved, err := s.Store.SaveIncident(ctx, i, events, tell)
	if err != nil || !saved {
		return err
	}
	for _, e := range events {
		if (e.Step == exportops.StepFiring || e.Step == exportops.StepResolved) && !s.outage.said(e) {
			s.Events.Emit(exportops.EventAlert, change{i, e.Step, e.Note})
		}
	}
	s.wake(len(tell))
	return nil
}

func (s *Service) wake(enqueued int) {
	if enqueued > 0 && s.Wake != nil {
		s.Wake()
	}
}

// Acknowledge says that somebody looks at an incident. It is KindNotFound where
// there is none, and KindConflict when it is over.
func (s *Service) Acknowledge(ctx context.Context, id, by string) (exportops.Incident, error) {
	const attempts = 5 // others may change it meanwhile
	for range attempts {
		i, err := s.Store.Incident(ctx, id)
		switch {
		case err != nil || i.AcknowledgedAt != nil:
			return i, err
		case !i.Open():
			return i, &exportops.Error{Kind: exportops.KindConflict, Message: fmt.Sprintf("incident %s is over", id)}
		}
		now := exportops.At(s.Now())
		i.AcknowledgedAt, i.AcknowledgedBy = &now, by
		e := event(&i, exportops.StepAcknowledged, now, "")
		e.By = by
		saved, err := s.Store.SaveIncident(ctx, i, []exportops.IncidentEvent{e}, nil)
		if err != nil || saved {
			return i, err
		}
	}
	return exportops.Incident{}, &exportops.Error{
		Kind: exportops.KindConflict, Message: fmt.Sprintf("incident %s is being changed", id), Hint: "try again",
	}
}
