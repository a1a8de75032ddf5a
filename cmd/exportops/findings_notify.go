package main

import (
	"time"

	"github.com/exportops/exportops"
)

// notifications looks at what channels were not told.
func (d *doctor) notifications(store exportops.Database) {
	const check = "notifications"
	all, err := store.NotificationBacklog(d.env.ctx, exportops.At(d.now.Add(-time.Hour)))
	if err != nil {
		d.wrong(check, err)
		return
	}
	for _, b := range all {
		if b.Dead > 0 {
			d.say(check, wrong, "see exportops notify ls --dead, and when the channel works exportops notify retry --dead --channel "+b.Channel,
				"%d messages to %s were given up on", b.Dead, b.Channel)
		}
		if b.Late > 0 {
			d.say(check, wrong, "see exportops notify ls --pending: exportops serve sends them, or exportops notify send, to channels that are in the settings",
				"%d messages to %s have waited for more than an hour", b.Late, b.Channel)
		}
	}
}
