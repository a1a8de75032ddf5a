package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
)

type notifyCmd struct {
	Channels notifyChannelsCmd `cmd:"" help:"List the channels, with what each is told."`
	Test     notifyTestCmd     `cmd:"" help:"Send a test message by a channel now."`

	Ls    notifyLsCmd    `cmd:"" name:"ls" help:"List what channels were told, or are to be told, newest first."`
	Show  notifyShowCmd  `cmd:"" help:"Show one notification and its message."`
	Retry notifyRetryCmd `cmd:"" help:"Have notifications that were given up on sent again."`
	Send  notifySendCmd  `cmd:"" help:"Send what is due now, where no serve does: for a cron job."`
}

type notifyLsCmd struct {
	Dead    bool   `name:"dead" xor:"state" help:"those that were given up on"`
	Pending bool   `name:"pending" xor:"state" help:"those that are not delivered yet"`
	Channel string `name:"channel" placeholder:"NAME" help:"of this channel"`
	Limit   int    `name:"limit" default:"50" placeholder:"N" help:"at most so many, 1 to 500 (${default})"`
	Cursor  string `name:"cursor" placeholder:"CURSOR" help:"go on where the page before ended"`
}

// Run lists notifications, newest first.
func (c *notifyLsCmd) Run(e *env) error {
	if c.Limit < 1 || c.Limit > exportops.MaxPage {
		return &usageError{exportops.Invalid("--limit", "%d is not between 1 and %d", c.Limit, exportops.MaxPage)}
	}
	f := exportops.NotificationFilter{Channel: c.Channel, Before: c.Cursor, Limit: c.Limit}
	switch {
	case c.Dead:
		f.State = exportops.NotificationDead
	case c.Pending:
		f.State = exportops.NotificationPending
	}
	return e.withStore(func(s exportops.Database) error {
		page, next, err := s.Notifications(e.ctx, f)
		if err != nil {
			return err
		}
		if page == nil {
			page = []exportops.Notification{}
		}
		answer := struct {
			Notifications []exportops.Notification `json:"notifications"`
			NextCursor    string                   `json:"next_cursor"`
		}{page, next}
		return e.show(answer, func() {
			rows := make([][]string, len(page))
			for i, n := range page {
				rows[i] = []string{
					n.ID, n.Channel, string(n.State), strconv.Itoa(n.Attempts), instant(&n.CreatedAt), nextStep(n),
					shorten(n.Message.Title, 60), shorten(n.Error, 40),
				}
			}
			e.table("notifications", strings.Split("notification,channel,state,attempts,made,what comes next,what,error", ","), rows)
			e.drawNext(next)
		})
	})
}

// nextStep says what becomes of a notification.
func nextStep(n exportops.Notification) string {
	switch {
	case n.State != exportops.NotificationPending:
		return "–"
	case n.LeaseUntil != nil:
		return "it is being sent"
	}
	return "sent at " + instant(&n.NextAt)
}

type notifyShowCmd struct {
	ID string `arg:"" name:"notification-id" help:"the notification"`
}

// Run shows a notification.
func (c *notifyShowCmd) Run(e *env) error {
	return e.withStore(func(s exportops.Database) error {
		n, err := s.Notification(e.ctx, c.ID)
		if err != nil {
			return err
		}
		return e.show(n, func() { e.drawNotification(n) })
	})
}

func (e *env) drawNotification(n exportops.Notification) {
	e.table("notification "+n.ID, nil, [][]string{
		{"channel", n.Channel},
		{"state", string(n.State)},
		{"what comes next", nextStep(n)},
		{"incident", cmp.Or(n.IncidentID, "–")},
		{"type", string(n.Message.Kind)},
		{"attempts", strconv.Itoa(n.Attempts)},
		{"failures in a row", strconv.Itoa(n.Failures)},
		{"error", cmp.Or(shorten(n.Error, 200), "–")},
		{"made", instant(&n.CreatedAt)},
		{"settled", instant(n.SettledAt)},
	})
	e.stdout.printf("\n%s\n\n", oneLine(n.Message.Title))
	for line := range strings.Lines(n.Message.Text) {
		e.stdout.printf("%s\n", oneLine(strings.TrimSuffix(line, "\n")))
	}
}

type notifyRetryCmd struct {
	ID      string `arg:"" optional:"" name:"notification-id" help:"the notification"`
	Dead    bool   `name:"dead" help:"all that were given up on"`
	Channel string `name:"channel" placeholder:"NAME" help:"with --dead, of this channel alone"`
}

// Run makes notifications that were given up on due again.
func (c *notifyRetryCmd) Run(e *env) error {
	if (c.ID == "") != c.Dead || (c.Channel != "" && !c.Dead) {
		return &usageError{exportops.Invalid("", "name one notification, or say --dead, to which --channel can be added")}
	}
	now := exportops.At(time.Now())
	return e.withStore(func(s exportops.Database) error {
		if !c.Dead {
			n, err := exportops.RetryNotification(e.ctx, s, c.ID, now)
			if err != nil {
				return err
			}
			return e.show(n, func() { e.drawNotification(n) })
		}
		retried, left, err := exportops.RetryDead(e.ctx, s, c.Channel, now)
		if err != nil {
			return err
		}
		answer := struct {
			Retried int `json:"retried"`
			Left    int `json:"left"`
		}{retried, left}
		return e.show(answer, func() {
			e.stdout.printf("%d are sent again; %d stay as they are, since something later was told\n", retried, left)
		})
	})
}

type notifySendCmd struct{}

// Run sends what is due.
func (*notifySendCmd) Run(e *env) error {
	return e.with(func(a *app.App) error {
		if len(a.Sender.Channels) == 0 {
			return &exportops.Error{
				Kind: exportops.KindInvalid, Message: "there is no channel to send anything to", Hint: "see the section on channels in docs/alerts.md",
			}
		}
		sent, err := a.Sender.SendDue(e.ctx)
		if shown := e.show(sent, func() {
			e.stdout.printf("%d delivered, %d failed and are sent again, %d given up on\n", sent.Delivered, sent.Failed, sent.Dead)
		}); err == nil {
			err = shown
		}
		if err != nil {
			return fmt.Errorf("send what is due: %w", err)
		}
		if sent.Failed+sent.Dead > 0 {
			return errSaid
		}
		return nil
	})
}
