package alerting

import (
	"time"

	"github.com/exportops/exportops"
)

// see keeps what was read of an incident that is not over.
func see(i *exportops.Incident, r exportops.AlertRule, f exportops.Reading, now exportops.Time) {
	first := i.Message == ""
	i.Severity, i.Threshold = r.Severity, r.Threshold
	i.Value, i.Sample, i.SeenAt = f.Value, f.Sample, now
	if below := kinds[r.Kind].below; first || (below && f.Value < i.Worst) || (!below && f.Value > i.Worst) {
		i.Worst = f.Value
	}
	i.Message = Message(r, f)
}

func fire(i *exportops.Incident, now exportops.Time) exportops.IncidentEvent {
	i.State, i.FiredAt = exportops.IncidentFiring, &now
	return event(i, exportops.StepFiring, now, "")
}

func resolve(i *exportops.Incident, now exportops.Time, why string) (*exportops.Incident, []exportops.IncidentEvent) {
	i.State, i.ResolvedAt = exportops.IncidentResolved, &now
	return i, []exportops.IncidentEvent{event(i, exportops.StepResolved, now, why)}
}

func event(i *exportops.Incident, step exportops.IncidentStep, now exportops.Time, note string) exportops.IncidentEvent {
	return exportops.IncidentEvent{IncidentID: i.ID, At: now, Step: step, Value: i.Value, Note: note}
}

// Tell says what the channels are to hear of an incident now: StepFiring where
// they know nothing of it yet, StepReminder where the last word is older than the
// interval (0 for none) and nobody looks, StepResolved at its end where they heard
// of it, and "" for nothing. Silenced ones are told of when the silence is over; the
// end of what was told of is told all the same, or it would stay open elsewhere.
func Tell(i exportops.Incident, silenced bool, every time.Duration, now exportops.Time) exportops.IncidentStep {
	told := i.RemindedAt != nil
	switch {
	case i.FiredAt == nil:
		return ""
	case !i.Open():
		if told {
			return exportops.StepResolved
		}
		return ""
	case silenced:
		return ""
	case !told:
		return exportops.StepFiring
	case i.AcknowledgedAt == nil && every > 0 && now.Sub(i.RemindedAt.Time) >= every:
		return exportops.StepReminder
	}
	return ""
}
