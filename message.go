package exportops

import (
	"context"
	"slices"
	"time"
)

// MessageKind is what a message is about.
type MessageKind string

// The kinds of messages.
const (
	MessageFiring   MessageKind = "alert.firing"
	MessageReminder MessageKind = "alert.reminder" // of an incident that still fires
	MessageResolved MessageKind = "alert.resolved"
	MessageSummary  MessageKind = "summary" // of a day's or week's exports and cleanups
	MessageTest     MessageKind = "test"    // somebody asked whether the channel works
)

// Message is what one channel is told once. It holds no user id, no file name and
// no secret: what is sent cannot be taken back.
type Message struct {
	// ID is the same at each attempt to deliver the message, so that a receiver can
	// tell a second delivery from a second message.
	ID       string      `json:"id"`
	Kind     MessageKind `json:"type"`
	At       Time        `json:"timestamp"`
	Title    string      `json:"title"` // one line
	Text     string      `json:"text"`  // plain text, lines ended by \n
	Incident *Incident   `json:"incident,omitempty"`
}

// Channel tells somebody of messages. It is safe for concurrent use.
type Channel interface {
	// Send delivers a message; it returns soon after ctx ends. Nil says that the
	// receiver took it. After an error it may have been taken or not: it is sent
	// again, under the same ID, unless a *DeliveryError says that this is no use.
	// No error holds a secret of the channel, such as its URL.
	Send(ctx context.Context, m Message) error
}

// DeliveryError is what a receiver said against a message.
type DeliveryError struct {
	Err error
	// Final says that another attempt will be answered likewise.
	Final bool
	// RetryAfter is how long the receiver asks to be left alone; 0 where it does not.
	RetryAfter time.Duration
}

func (e *DeliveryError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *DeliveryError) Unwrap() error { return e.Err }

// SummaryEvery is how often a channel is sent a summary.
type SummaryEvery string

// How often.
const (
	SummaryNever  SummaryEvery = ""
	SummaryDaily  SummaryEvery = "daily"
	SummaryWeekly SummaryEvery = "weekly"
)

// Audience says what a channel wants to hear.
type Audience struct {
	Channel string // its name
	// Severities and Rules are of the incidents that it is told of; empty for all.
	Severities []Severity
	Rules      []string
	NoAlerts   bool // summaries alone
	Summary    SummaryEvery
}

// Wants reports whether the channel is told of an incident.
func (a Audience) Wants(i Incident) bool {
	return !a.NoAlerts && (len(a.Severities) == 0 || slices.Contains(a.Severities, i.Severity)) &&
		(len(a.Rules) == 0 || slices.Contains(a.Rules, i.Rule))
}
