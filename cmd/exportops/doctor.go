package main

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

type doctorCmd struct{}

// level says how a finding is meant.
type level string

const (
	fine  level = "ok"
	note  level = "note"  // worth knowing; may be meant so
	wrong level = "wrong" // something does not work, or will not
)

// finding is what the doctor has to say about one thing.
type finding struct {
	Check   string `json:"check"`
	Level   level  `json:"level"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
}

// doctor gathers findings.
type doctor struct {
	env      *env
	now      time.Time
	findings []finding
}

func (d *doctor) say(check string, l level, hint, format string, args ...any) {
	d.findings = append(d.findings, finding{check, l, fmt.Sprintf(format, args...), hint})
}

// wrong adds a finding for each mistake in err, with its own hint.
func (d *doctor) wrong(check string, err error) {
	for _, one := range mistakes(err) {
		var e *exportops.Error
		hint := ""
		if errors.As(one, &e) {
			hint = e.Hint
		}
		d.say(check, wrong, hint, "%s", one.Error())
	}
}

// Run looks at everything that can keep exportops from working, in the order
// that an operator would, and exits 1 if anything is wrong.
func (*doctorCmd) Run(e *env) error {
	d := &doctor{env: e, now: time.Now()}
	cfg, err := e.config()
	if err != nil {
		d.wrong("settings", err)
	} else {
		d.say("settings", fine, "", "every setting can be read")
		d.restored(cfg)
		d.secrets(cfg)
		archive := d.archive(cfg)
		d.channels(cfg)
		d.heartbeats(cfg)
		if store := d.database(cfg); store != nil {
			d.table(cfg, store)
			d.held(store)
			d.locations(cfg, store)
			d.jobs(cfg, store)
			d.ledger(store)
			d.beside(store)
			d.outOfReach(cfg, archive, store)
			d.rules(cfg, store)
			d.notifications(store)
			if err := store.Close(); err != nil {
				d.wrong("database", err)
			}
		}
		d.storage(cfg)
	}
	bad := 0
	for _, f := range d.findings {
		if f.Level == wrong {
			bad++
		}
	}
	answer := struct {
		Settings map[string]string `json:"settings"`
		Findings []finding         `json:"findings"`
		Wrong    int               `json:"wrong"`
	}{settingValues(e.settings, e.file.Policy), d.findings, bad}
	if err := e.show(answer, func() { d.draw(bad) }); err != nil {
		return err
	}
	if bad > 0 {
		return errSaid
	}
	return nil
}

// settingValues shows every setting by its variable; secrets stay hidden.
func settingValues(s config.Settings, policy *exportops.Policy) map[string]string {
	all := map[string]string{}
	if policy == nil {
		s.FileRetention, s.LogRetention = s.Retentions()
	}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		shown := fmt.Sprint(v.Field(i).Interface()) // hides a secret
		if shown == "" {
			shown = v.Type().Field(i).Tag.Get("default")
		}
		all[v.Type().Field(i).Tag.Get("env")] = config.ShowURL(shown) // hides a password
	}
	return all
}

func (d *doctor) draw(bad int) {
	out := d.env.stdout
	v := reflect.TypeFor[config.Settings]()
	values := settingValues(d.env.settings, d.env.file.Policy)
	rows := make([][]string, v.NumField())
	for i := range rows {
		name := v.Field(i).Tag.Get("env")
		rows[i] = []string{name, values[name]}
	}
	d.env.table("settings", nil, rows)
	marks := map[level]string{fine: "✓", note: "•", wrong: "✗"}
	colours := map[level]text.Color{fine: text.FgGreen, note: text.FgYellow, wrong: text.FgRed}
	for _, f := range d.findings {
		mark := marks[f.Level]
		if out.colour() {
			mark = text.Colors{colours[f.Level], text.Bold}.Sprint(mark)
		}
		out.printf("%s %s: %s\n", mark, f.Check, oneLine(f.Message))
		if f.Hint != "" {
			out.printf("  → %s\n", oneLine(f.Hint))
		}
	}
	if bad == 0 {
		out.printf("\nnothing is wrong\n")
	} else {
		out.printf("\n%d wrong\n", bad)
	}
}
