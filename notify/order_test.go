package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/notify"
)

// moody is a channel that fails as it likes, and sees to it that messages of one
// incident come one at a time, and none after a later one that was delivered.
type moody struct {
	*testworld.World
	mu    sync.Mutex
	moods []error
	under map[string]bool     // incidents of which a message is being sent
	made  map[string][]string // messages, by incident, in order
	wrong []string
}

func (c *moody) Send(ctx context.Context, m exportops.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := m.Incident.ID
	if c.under[of] {
		c.wrong = append(c.wrong, "two messages of one incident at a time")
	}
	c.under[of] = true
	c.mu.Unlock()
	later := false
	for _, id := range c.made[of] {
		if !later {
			later = id == m.ID
			continue
		}
		n, err := c.Store.Notification(ctx, id)
		c.mu.Lock()
		if err != nil || n.State == exportops.NotificationDelivered {
			c.wrong = append(c.wrong, fmt.Sprintf("%s came after a later one: %v", m.ID, err))
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	c.under[of] = false
	if len(c.moods) == 0 {
		return nil
	}
	mood := c.moods[0]
	c.moods = c.moods[1:]
	return mood
}

// Whatever fails, whoever dies, and whatever is tried again at whatever time: messages
// of an incident come in order, and in the end each was delivered, or given up on and
// overtaken.
func TestMessagesComeInOrder(t *testing.T) {
	w := testworld.New(t, t.TempDir())
	moods := []error{nil, nil, errors.New("503"), &exportops.DeliveryError{Err: errors.New("404"), Final: true}}
	rapid.Check(t, func(r *rapid.T) {
		c := &moody{World: w, under: map[string]bool{}, made: map[string][]string{}}
		var senders []*notify.Sender
		for _, outbox := range []notify.Outbox{w.Store, deaf{w.Store}} {
			senders = append(senders, notify.NewSender(notify.SenderOptions{
				Outbox: outbox, Channels: map[string]exportops.Channel{"ops": c}, Now: w.Clock.Now, Log: slog.New(slog.DiscardHandler),
			}))
		}
		incidents := []string{exportops.NewID(), exportops.NewID()}
		send := func(x *notify.Sender) {
			_, err := x.SendDue(t.Context())
			w.Must(err)
		}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"make", "make", "send", "send", "die", "wait", "retry"}).Draw(r, "step") {
			case "make":
				of := rapid.SampledFrom(incidents).Draw(r, "incident")
				n := exportops.NewNotification(exportops.NewID(), "ops", exportops.Message{Incident: &exportops.Incident{ID: of}}, w.Clock.At())
				_, err := w.Store.EnqueueNotifications(t.Context(), []exportops.Notification{n})
				w.Must(err)
				c.made[of] = append(c.made[of], n.ID)
			case "send":
				c.moods = rapid.SliceOfN(rapid.SampledFrom(moods), 0, 5).Draw(r, "moods")
				send(senders[0])
			case "die":
				send(senders[1])
			case "wait":
				w.Clock.Advance(time.Duration(rapid.IntRange(1, 90).Draw(r, "minutes")) * time.Minute)
			case "retry":
				_, _, err := exportops.RetryDead(t.Context(), w.Store, "", w.Clock.At())
				w.Must(err)
			}
		}
		c.moods = nil
		for range 30 {
			w.Clock.Advance(2 * time.Hour)
			send(senders[0])
		}
		for of, ids := range c.made {
			overtaken := false
			for n := len(ids) - 1; n >= 0; n-- {
				x, err := w.Store.Notification(t.Context(), ids[n])
				w.Must(err)
				if x.State == exportops.NotificationPending {
					r.Errorf("message %d of %s is %+v", n, of, x)
				}
				if _, err := w.Store.RetryNotifications(t.Context(), []string{x.ID}, w.Clock.At()); err != nil {
					r.Error(err)
				}
				if x, err = w.Store.Notification(t.Context(), ids[n]); err != nil || (overtaken && x.State == exportops.NotificationPending) {
					r.Errorf("old news is tried again: %+v, %v", x, err)
				}
				overtaken = overtaken || x.State == exportops.NotificationDelivered
			}
		}
		w.Clock.Advance(time.Hour)
		send(senders[0])
		for _, wrong := range c.wrong {
			r.Error(wrong)
		}
	})
}
