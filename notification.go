package exportops

import (
	"context"
	"fmt"
	"time"
)

// NotificationState is where a message to a channel is.
type NotificationState string

// The states of a notification.
const (
	NotificationPending   NotificationState = "pending"   // sent when it is due, and again until the channel takes it
	NotificationDelivered NotificationState = "delivered" // the channel took it
	NotificationDead      NotificationState = "dead"      // given up on, until somebody has it tried again
)

// NotificationStates lists the states.
var NotificationStates = []NotificationState{NotificationPending, NotificationDelivered, NotificationDead}

// Notification is one message that one channel is to be told: an entry of the
// outbox, kept from before it is sent until long after.
type Notification struct {
	ID         string            `json:"id"` // the message's
	Channel    string            `json:"channel"`
	IncidentID string            `json:"incident_id,omitempty"`
	State      NotificationState `json:"state"`
	Attempts   int               `json:"attempts"` // begun, ever; the latest alone may say how it went
	Failures   int               `json:"failures"` // since it was made, or was tried again on request
	NextAt     Time              `json:"next_at"`  // when it is due, while it is pending
	LeaseUntil *Time             `json:"lease_until"`
	Error      string            `json:"last_error,omitempty"`
	CreatedAt  Time              `json:"created_at"`
	SettledAt  *Time             `json:"settled_at"` // delivered, or given up on
	Message    Message           `json:"message"`

	// Key is of what it tells: there is one notification of a key, whoever makes it.
	Key string `json:"-"`
}

// NewNotification returns a notification that is due at once. Its message gets the
// ID that every attempt to deliver it has.
func NewNotification(key, channel string, m Message, now Time) Notification {
	m.ID = NewID()
	n := Notification{
		ID: m.ID, Channel: channel, State: NotificationPending, NextAt: now, CreatedAt: now, Message: m, Key: key,
	}
	if m.Incident != nil {
		n.IncidentID = m.Incident.ID
	}
	return n
}

// NoSuchNotification is the error of who names a notification that is not there.
func NoSuchNotification(id string) error {
	return &Error{
		Kind: KindNotFound, Field: "id", Message: fmt.Sprintf("there is no notification %s", id), Hint: "list them with: exportops notify ls",
	}
}

// NotificationClaim says what a sender can take now.
type NotificationClaim struct {
	Now   Time
	Lease time.Duration
	// Room is how many more a channel is sent at the same time, by its name.
	Room map[string]int
}

// NotificationOutcome is how an attempt ended.
type NotificationOutcome struct {
	ID      string
	Channel string
	Attempt int // its number: Attempts as it was claimed
	Now     Time
	State   NotificationState
	NextAt  Time   // of one that stays pending
	Error   string // what failed; "" of one that is given back without having failed
}

// NotificationFilter selects notifications. Zero fields do not filter.
type NotificationFilter struct {
	State   NotificationState
	Channel string
	Before  string // the cursor that the page before ended with
	Limit   int    // 1 to MaxPage, 0 means DefaultPage
}

// ChannelBacklog is what a channel was not told.
type ChannelBacklog struct {
	Channel string
	Pending int64
	Late    int64 // of these, made before the time asked for
	Dead    int64
}

// NotificationStore is the outbox. What is in it is delivered at least once, under
// the same ID each time. Messages of one incident reach a channel in the order in
// which they were made: none is claimed while an earlier one is pending.
type NotificationStore interface {
	// EnqueueNotifications keeps those whose key is not known, and returns how many.
	// Those of incidents are kept by SaveIncident.
	EnqueueNotifications(ctx context.Context, all []Notification) (int64, error)
	// HasNotification reports whether a key is known.
	HasNotification(ctx context.Context, key string) (bool, error)
	// ClaimNotifications gives the caller those that are due, until their lease is
	// over: at most as many as a channel has room for. One whose lease ran out counts
	// a failure, since whoever had it never said how it went.
	ClaimNotifications(ctx context.Context, c NotificationClaim) ([]Notification, error)
	// SettleNotification keeps how an attempt ended. It answers false, and changes
	// nothing, where another attempt has begun since, or the notification is settled.
	SettleNotification(ctx context.Context, o NotificationOutcome) (bool, error)
	// RetryNotifications makes those of the dead ones due again that no later message
	// of their incident overtook, and returns which.
	RetryNotifications(ctx context.Context, ids []string, now Time) ([]string, error)
	// Notification returns one, or KindNotFound.
	Notification(ctx context.Context, id string) (Notification, error)
	// Notifications returns a page, newest first, and the cursor of the next, "" at
	// the end.
	Notifications(ctx context.Context, f NotificationFilter) ([]Notification, string, error)
	// NotificationBacklog returns the channels that were not told something, by name.
	NotificationBacklog(ctx context.Context, late Time) ([]ChannelBacklog, error)
}

// NotificationRetrier has dead notifications tried again; see NotificationStore.
type NotificationRetrier interface {
	Notification(ctx context.Context, id string) (Notification, error)
	Notifications(ctx context.Context, f NotificationFilter) ([]Notification, string, error)
	RetryNotifications(ctx context.Context, ids []string, now Time) ([]string, error)
}

// RetryNotification has a dead notification tried again. It is KindNotFound where
// there is none, and KindConflict where it is not dead, or where the channel was
// told, or is being told, something later of the same incident.
func RetryNotification(ctx context.Context, s NotificationRetrier, id string, now Time) (Notification, error) {
	n, err := s.Notification(ctx, id)
	if err != nil {
		return n, err
	}
	done, err := s.RetryNotifications(ctx, []string{n.ID}, now)
	if err != nil {
		return n, err
	}
	if len(done) == 1 {
		return s.Notification(ctx, id)
	}
	if n, err = s.Notification(ctx, id); err != nil {
		return n, err
	}
	if n.State != NotificationDead {
		return n, &Error{Kind: KindConflict, Message: fmt.Sprintf("notification %s is %s, not dead", id, n.State)}
	}
	return n, &Error{
		Kind: KindConflict, Message: fmt.Sprintf("%s was told something later of incident %s: notification %s would be old news", n.Channel, n.IncidentID, id),
		Hint: "see how it stands with: exportops alerts show " + n.IncidentID,
	}
}

// RetryDead has all dead notifications of a channel, or of all ("") tried again. It
// returns how many, and how many stay dead because something later was told.
func RetryDead(ctx context.Context, s NotificationRetrier, channel string, now Time) (retried, left int, err error) {
	f := NotificationFilter{State: NotificationDead, Channel: channel, Limit: MaxPage}
	for {
		page, next, err := s.Notifications(ctx, f)
		if err != nil {
			return retried, left, err
		}
		ids := make([]string, len(page))
		for i, n := range page {
			ids[i] = n.ID
		}
		done, err := s.RetryNotifications(ctx, ids, now)
		if err != nil {
			return retried, left, err
		}
		retried, left = retried+len(done), left+len(page)-len(done)
		if next == "" {
			return retried, left, nil
		}
		f.Before = next
	}
}
