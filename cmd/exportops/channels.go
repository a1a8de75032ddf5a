package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
)

// channelAnswer is a channel without its secrets.
type channelAnswer struct {
	Name       string               `json:"name"`
	Type       config.ChannelType   `json:"type"`
	To         string               `json:"to"`
	Alerts     bool                 `json:"alerts"`
	Severities []exportops.Severity `json:"severities"` // empty for all
	Rules      []string             `json:"rules"`      // likewise
	Summary    string               `json:"summary"`
}

type notifyChannelsCmd struct{}

// Run lists the channels of the settings file.
func (*notifyChannelsCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	all := make([]channelAnswer, len(cfg.Channels))
	for n, c := range cfg.Channels {
		all[n] = channelAnswer{
			Name: c.Audience.Channel, Type: c.Type, To: c.Target(), Alerts: !c.NoAlerts, Summary: cmp.Or(string(c.Summary), "off"),
			Severities: append([]exportops.Severity{}, c.Severities...), Rules: append([]string{}, c.Rules...),
		}
	}
	answer := struct {
		Channels []channelAnswer `json:"channels"`
	}{all}
	return e.show(answer, func() {
		rows := make([][]string, len(all))
		for n, c := range all {
			rows[n] = []string{c.Name, string(c.Type), shorten(c.To, 60), c.told(), c.Summary}
		}
		e.table("channels", strings.Split("channel,type,to,alerts,summary", ","), rows)
	})
}

// told says in words which alerts a channel is told of.
func (c channelAnswer) told() string {
	if !c.Alerts {
		return "none"
	}
	var parts []string
	if len(c.Severities) > 0 {
		parts = append(parts, strings.Trim(fmt.Sprint(c.Severities), "[]"))
	}
	if len(c.Rules) > 0 {
		parts = append(parts, strings.Join(c.Rules, " "))
	}
	return cmp.Or(strings.Join(parts, "; of "), "all")
}

type notifyTestCmd struct {
	Channel string `arg:"" help:"the channel"`
}

// Run sends a test message by a channel, past everything that waits.
func (c *notifyTestCmd) Run(e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	began := time.Now()
	m, failed := app.TestChannel(e.ctx, cfg, c.Channel)
	if m.ID == "" {
		return failed // there was nothing to send it by
	}
	answer := struct {
		Channel   string `json:"channel"`
		MessageID string `json:"message_id"`
		Delivered bool   `json:"delivered"`
		TookMS    int64  `json:"took_ms"`
		Error     string `json:"error,omitempty"`
	}{Channel: c.Channel, MessageID: m.ID, Delivered: failed == nil, TookMS: time.Since(began).Milliseconds()}
	if failed != nil {
		answer.Error = oneLine(failed.Error())
	}
	err = e.show(answer, func() {
		if failed != nil {
			e.stdout.printf("✗ %s did not take the message: %s\n", c.Channel, answer.Error)
		} else {
			e.stdout.printf("✓ %s took the message %s in %d ms\n", c.Channel, m.ID, answer.TookMS)
		}
	})
	if err == nil && failed != nil {
		err = errSaid
	}
	return err
}

// channels looks at each channel as far as that goes without sending anything.
func (d *doctor) channels(cfg config.Config) {
	for _, c := range cfg.Channels {
		check := "channel " + c.Audience.Channel
		if err := app.CheckChannel(d.env.ctx, cfg, c); err != nil {
			d.wrong(check, err)
			continue
		}
		if c.Clear() {
			d.say(check, note, "use https, or TLS to the mail server", "what is sent to %s can be read on the way", c.Target())
		}
		d.say(check, fine, "", "%s to %s; nothing was sent: exportops notify test %s sends", c.Type, c.Target(), c.Audience.Channel)
	}
}

// heartbeats looks at the addresses that are pinged when jobs run.
func (d *doctor) heartbeats(cfg config.Config) {
	for _, job := range []exportops.Job{exportops.MetricsAggregate, exportops.FileCleanup, exportops.LogCleanup, exportops.Reconcile} {
		host := cfg.HeartbeatHost(job)
		if host == "" {
			continue
		}
		check := "heartbeat " + string(job)
		if err := app.CheckTarget(d.env.ctx, cfg, host); err != nil {
			d.wrong(check, err)
		} else {
			d.say(check, fine, "", "%s is told of each run; nothing was sent now", host)
		}
	}
}
