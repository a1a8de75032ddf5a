package main

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/alerting"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

type alertsCmd struct {
	List    alertsListCmd  `cmd:"" default:"withargs" help:"List incidents, newest first."`
	Show    alertsShowCmd  `cmd:"" help:"Show one incident and what happened to it."`
	Ack     alertsAckCmd   `cmd:"" help:"Say that you look at an incident: no reminders are sent of it."`
	Check   alertsCheckCmd `cmd:"" help:"Hold every rule against its figure now."`
	Rules   alertsRulesCmd `cmd:"" help:"List the rules."`
	Silence silenceCmd     `cmd:"" help:"Place, list and end silences."`
}

type alertsListCmd struct {
	Rule   string `name:"rule" placeholder:"NAME" help:"of this rule"`
	All    bool   `name:"all" help:"those that are over or have not fired yet, too"`
	Limit  int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists incidents, newest first.
func (c *alertsListCmd) Run(e *env) error {
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		return &usageError{exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage)}
	}
	return e.withStore(func(s exportops.Database) error {
		page, next, err := s.Incidents(e.ctx, exportops.IncidentFilter{
			Rule: c.Rule, Open: !c.All, Fired: !c.All, Before: c.Cursor, Limit: c.Limit,
		})
		if err != nil {
			return err
		}
		return e.showIncidents(page, next)
	})
}

func (e *env) showIncidents(page []exportops.Incident, next string) error {
	if page == nil {
		page = []exportops.Incident{}
	}
	answer := struct {
		Alerts     []exportops.Incident `json:"alerts"`
		NextCursor string               `json:"next_cursor"`
	}{page, next}
	return e.show(answer, func() {
		rows := make([][]string, len(page))
		for n, i := range page {
			state := string(i.State)
			if i.Open() && i.AcknowledgedAt != nil {
				state += ", " + i.AcknowledgedBy + " looks"
			}
			rows[n] = []string{i.ID, string(i.Severity), i.Rule, state, instant(&i.StartedAt), instant(i.ResolvedAt), shorten(i.Message, 90)}
		}
		e.table("alerts", strings.Split("incident,severity,rule,state,since,over,what", ","), rows)
		e.drawNext(next)
	})
}

type alertsShowCmd struct {
	ID string `arg:"" name:"incident-id" help:"the incident"`
}

// Run shows an incident and its history.
func (c *alertsShowCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		i, err := s.Incident(e.ctx, c.ID)
		if err != nil {
			return err
		}
		history, err := s.IncidentHistory(e.ctx, c.ID)
		if err != nil {
			return err
		}
		answer := struct {
			exportops.Incident
			History []exportops.IncidentEvent `json:"history"`
		}{i, history}
		return e.show(answer, func() {
			e.stdout.printf("%s: %s\n", i.Severity, oneLine(i.Message))
			rows := make([][]string, len(history))
			for n, h := range history {
				rows[n] = []string{instant(&h.At), string(h.Step), h.By, shorten(h.Note, 90)}
			}
			e.table("history", strings.Split("at,what,by,note", ","), rows)
		})
	})
}

type alertsAckCmd struct {
	ID string `arg:"" name:"incident-id" help:"the incident"`
	By string `name:"by" placeholder:"NAME" help:"who looks at it (you)"`
}

// Run acknowledges an incident.
func (c *alertsAckCmd) Run(e *env) error {
	return e.with(func(a *app.App) error {
		i, err := a.Alerts.Acknowledge(e.ctx, c.ID, cmp.Or(whoever(c.By), "somebody"))
		if err != nil {
			return err
		}
		return e.showIncidents([]exportops.Incident{i}, "")
	})
}

type alertsCheckCmd struct{}

// Run evaluates the rules, and lists what fires.
func (c *alertsCheckCmd) Run(e *env) error {
	return e.with(func(a *app.App) error {
		failed := a.Alerts.Evaluate(e.ctx)
		page, next, err := a.Store.Incidents(e.ctx, exportops.IncidentFilter{Open: true, Fired: true, Limit: exportops.MaxPage})
		if err == nil {
			err = e.showIncidents(page, next)
		}
		return errors.Join(failed, err)
	})
}

type alertsRulesCmd struct{}

// Run lists the rules that hold, as they could stand in the settings file, and where
// each comes from.
func (c *alertsRulesCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	all := app.AlertRules(cfg)
	answer := struct {
		Rules []exportops.AlertRule `json:"rules"`
	}{all}
	return e.show(answer, func() {
		rows := make([][]string, len(all))
		for n, r := range all {
			var fields []string
			for _, f := range alerting.Fields(r) {
				if f.Name != "severity" {
					fields = append(fields, f.Name+": "+f.Text)
				}
			}
			rows[n] = []string{r.Name, string(r.Severity), alerting.Describe(r), strings.Join(fields, ", "), r.Source}
		}
		e.table("rules", strings.Split("rule,severity,alerts when,as settings,from", ","), rows)
	})
}

// rules looks for alert rules about people who were erased: the settings are where
// their ids are left.
func (d *doctor) rules(cfg config.Config, store exportops.Database) {
	const check = "alert rules"
	about := map[string]string{} // names, by user
	for _, r := range cfg.Rules {
		if r.UserID != "" {
			about[r.UserID] = r.Name
		}
	}
	if len(about) == 0 {
		return
	}
	erased, err := store.ErasedAt(d.env.ctx, slices.Sorted(maps.Keys(about)))
	if err != nil {
		d.wrong(check, err)
		return
	}
	for _, user := range slices.Sorted(maps.Keys(erased)) {
		d.say(check, note, "remove the rule from the settings", "the rule %s is about a user who was erased at %s", about[user], erased[user])
	}
}
