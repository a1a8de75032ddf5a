package app

import (
	"github.com/exportops/exportops"
	"github.com/exportops/exportops/notify"
)

// Tell has the program tell a channel, as if it were in the settings.
func (a *App) Tell(c exportops.Channel, who exportops.Audience) {
	a.Sender = notify.NewSender(notify.SenderOptions{
		Outbox: a.Store, Channels: map[string]exportops.Channel{who.Channel: c}, Now: a.now, Log: a.log,
	})
	a.Alerts.Audiences, a.Alerts.Wake = []exportops.Audience{who}, a.Sender.Wake
}
