package alerting

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
)

// tell returns what channels are to hear of an incident that is about to be kept,
// and marks it as told where that is anything.
func (l *look) tell(i *exportops.Incident) (exportops.IncidentStep, []exportops.Notification) {
	silenced := slices.ContainsFunc(l.silences, func(q exportops.Silence) bool { return q.Covers(*i, l.now) })
	step := Tell(*i, silenced, l.Reminder, l.now)
	if step == "" {
		return "", nil
	}
	told := *i
	told.RemindedAt, told.ToldTo = &l.now, slices.Clone(i.ToldTo)
	var all []exportops.Notification
	for _, a := range l.audiences(*i) {
		kind, yes := hears(a, *i, step)
		if !yes {
			continue
		}
		if !slices.Contains(told.ToldTo, a.Channel) {
			told.ToldTo = append(told.ToldTo, a.Channel)
		}
		key := fmt.Sprintf("incident/%s/%d/%s", i.ID, i.Version+1, a.Channel)
		all = append(all, exportops.NewNotification(key, a.Channel, Compose(kind, *i, l.now), l.now))
	}
	if len(all) == 0 {
		return "", nil
	}
	*i = told
	return step, all
}

// audiences are those of the settings. A process that has none, such as a command that
// is run elsewhere, may be the one that sees an incident end: it leaves word for those
// who heard of it.
func (l *look) audiences(i exportops.Incident) []exportops.Audience {
	all := l.Audiences
	if len(all) == 0 {
		for _, name := range i.ToldTo {
			all = append(all, exportops.Audience{Channel: name, NoAlerts: true})
		}
	}
	return all
}

// hears says whether a channel hears of a step, and as what. That an incident is over
// it hears where it knew of it, whatever it wants to hear of by now.
func hears(a exportops.Audience, i exportops.Incident, step exportops.IncidentStep) (exportops.MessageKind, bool) {
	knows := slices.Contains(i.ToldTo, a.Channel)
	switch {
	case step == exportops.StepResolved:
		return exportops.MessageResolved, knows
	case step == exportops.StepReminder && knows:
		return exportops.MessageReminder, a.Wants(i)
	}
	return exportops.MessageFiring, a.Wants(i)
}

// Compose writes what channels hear of an incident. What comes from outside, such as
// the detail of a figure, is put on one line; who else was told is nobody's business.
func Compose(kind exportops.MessageKind, i exportops.Incident, now exportops.Time) exportops.Message {
	i.ToldTo = nil
	before := string(i.Severity)
	switch kind {
	case exportops.MessageResolved:
		before = "resolved"
	case exportops.MessageReminder:
		before = "still " + before
	}
	sentence := line(i.Message, maxSentence)
	since := "Since " + moment(i.StartedAt)
	if i.ResolvedAt != nil {
		since += " until " + moment(*i.ResolvedAt)
		now = *i.ResolvedAt
	}
	if d := now.Sub(i.StartedAt.Time); d >= time.Second {
		since += ", for " + lasted(d)
	}
	lines := []string{
		string(i.Severity) + ": " + sentence,
		since + ".",
		fmt.Sprintf("It is %s, the threshold is %s; the worst was %s.",
			figure(i.Kind, i.Value), threshold(exportops.AlertRule{Kind: i.Kind, Threshold: i.Threshold}), figure(i.Kind, i.Worst)),
		"Rule: " + line(i.Rule, maxName),
		"Next: exportops alerts show " + i.ID,
	}
	return exportops.Message{Kind: kind, At: now, Title: before + ": " + sentence, Text: strings.Join(lines, "\n") + "\n", Incident: &i}
}

// The most characters of what is put into a message.
const (
	maxSentence = 300
	maxName     = 80
)

// line puts a text on one line of at most so many characters.
func line(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func moment(t exportops.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// lasted writes how long something took, to the minute from the first on.
func lasted(d time.Duration) string {
	if d = d.Round(time.Second); d < time.Minute {
		return d.String()
	}
	d = d.Round(time.Minute)
	days, hours, minutes := d/(24*time.Hour), d%(24*time.Hour)/time.Hour, d%time.Hour/time.Minute
	var parts []string
	for _, p := range []struct {
		n    time.Duration
		unit string
	}{{days, "d"}, {hours, "h"}, {minutes, "min"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.unit))
		}
	}
	return strings.Join(parts, " ")
}
