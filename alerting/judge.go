// Package alerting decides when a figure is an alert, and what becomes of it: it
// keeps incidents, from pending to resolved, each once for all replicas.
//
//	settings ─▶ Rules ──▶ look: figures ──▶ Judge: broken, fine or unknown
//	                                          └─▶ Advance: the incident's next state ──▶ store
//	                                                  └─▶ Tell: what channels hear ──────▶ outbox
//
// Judge, Advance, Tell, Compose and Summary are pure; everything they depend on is in
// their arguments.
package alerting

import (
	"time"

	"github.com/exportops/exportops"
)

// Verdict is what a rule says of a figure.
type Verdict int

// The verdicts.
const (
	Unknown Verdict = iota // nothing can be said
	Fine                   // on the good side of where it clears
	Between                // past the clear line, not past the threshold
	Broken                 // past the threshold
)

// Judge holds a figure against a rule.
func Judge(r exportops.AlertRule, f exportops.Reading) Verdict {
	k := kinds[r.Kind]
	past := func(line float64) bool {
		if k.below {
			return f.Value < line
		}
		return f.Value > line
	}
	switch {
	case f.Unknown || (k.minimum && f.Sample < max(r.MinSample, 1)):
		return Unknown
	case past(r.Threshold):
		return Broken
	case past(r.Clear):
		return Between
	}
	return Fine
}

// Advance returns what becomes of an incident, or of none (nil), by a figure that
// was read at a time, and what happened to it. Nil means that there is none.
//
// A figure that cannot be told changes nothing at first. When it could not be told
// for as long as the rule looks back, what broke the rule is out of its sight, and
// the incident ends.
func Advance(r exportops.AlertRule, open *exportops.Incident, f exportops.Reading, now exportops.Time) (
	*exportops.Incident, []exportops.IncidentEvent,
) {
	v := Judge(r, f)
	if open == nil {
		if v != Broken {
			return nil, nil
		}
		i := &exportops.Incident{
			ID: exportops.NewID(), Rule: r.Name, Kind: r.Kind, Subject: f.Subject, State: exportops.IncidentPending, StartedAt: now,
		}
		see(i, r, f, now)
		began := event(i, exportops.StepPending, now, "")
		if r.For > 0 {
			return i, []exportops.IncidentEvent{began}
		}
		return i, []exportops.IncidentEvent{began, fire(i, now)}
	}
	i := *open
	if now.Before(i.SeenAt.Time) {
		return open, nil // another replica's clock is ahead; what it saw stands
	}
	switch {
	case v == Broken, v == Between && i.State == exportops.IncidentFiring:
		see(&i, r, f, now)
		if i.State == exportops.IncidentPending && now.Sub(i.StartedAt.Time) >= r.For {
			return &i, []exportops.IncidentEvent{fire(&i, now)}
		}
		return &i, nil
	case v == Unknown && now.Sub(i.SeenAt.Time) <= max(r.Window, time.Hour):
		return open, nil
	case v == Unknown:
		return resolve(&i, now, "there was too little to tell for as long as the rule looks back")
	}
	i.Value, i.Sample = f.Value, f.Sample
	return resolve(&i, now, "")
}
