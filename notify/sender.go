package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/exportops/exportops"
)

const (
	perChannel   = 4                // messages that a channel is sent at a time
	sendWithin   = 15 * time.Second // one attempt
	lease        = time.Minute      // longer than an attempt and what is recorded of it
	settleWithin = 10 * time.Second
	stopWithin   = 5 * time.Second // attempts that are under way when the sender stops
	pollEvery    = 2 * time.Second
	afterTrouble = 30 * time.Second // until a database that could not be used is asked again
)

// Outbox is where messages wait; exportops.NotificationStore satisfies it.
type Outbox interface {
	ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) ([]exportops.Notification, error)
	SettleNotification(ctx context.Context, o exportops.NotificationOutcome) (bool, error)
}

// SenderOptions is what a Sender works with. Every field is required.
type SenderOptions struct {
	Outbox   Outbox
	Channels map[string]exportops.Channel // by their names
	Now      func() time.Time
	Log      *slog.Logger
}

// Sender delivers what is in the outbox, at least once: any number of processes may
// do so at the same time. A channel that hangs delays no other.
type Sender struct {
	SenderOptions
	woken chan struct{}

	mu     sync.Mutex
	busy   map[string]int // attempts under way, by channel
	active sync.WaitGroup
}

// NewSender returns a Sender.
func NewSender(o SenderOptions) *Sender {
	return &Sender{SenderOptions: o, woken: make(chan struct{}, 1), busy: map[string]int{}}
}

// Wake has the sender look at once; it never waits.
func (s *Sender) Wake() {
	select {
	case s.woken <- struct{}{}:
	default: // it is about to look
	}
}

// Run delivers messages as they become due, until ctx ends. Attempts that are under
// way then have a few seconds more; those that do not end are given back, to be sent
// by another process.
func (s *Sender) Run(ctx context.Context) {
	if len(s.Channels) == 0 {
		return
	}
	sending, end := outlive(ctx, stopWithin)
	defer end()
	defer s.drain()
	for ctx.Err() == nil {
		pause := pollEvery
		if _, err := s.start(ctx, sending, s.room(nil), func(exportops.NotificationOutcome) {}); err != nil && ctx.Err() == nil {
			s.Log.Error("messages to channels cannot be sent", slog.Any("error", err))
			pause = afterTrouble
		}
		wait(ctx, s.woken, pause)
	}
}

// Sent is what came of messages that were due.
type Sent struct {
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"` // they are sent again later
	Dead      int `json:"dead"`   // they are given up on
}

// SendDue delivers what is due now, and returns. A channel that fails is left alone
// from then on: what else it is to be told waits for the next call.
func (s *Sender) SendDue(ctx context.Context) (Sent, error) {
	sending, end := outlive(ctx, stopWithin)
	defer end()
	var mu sync.Mutex
	var sum Sent
	failed := map[string]bool{}
	told := func() Sent {
		mu.Lock()
		defer mu.Unlock()
		return sum
	}
	for ctx.Err() == nil {
		idle := s.idle() // before the look, as what ends meanwhile makes way for more
		mu.Lock()
		room := s.room(failed)
		mu.Unlock()
		begun, err := s.start(ctx, sending, room, func(o exportops.NotificationOutcome) {
			mu.Lock()
			defer mu.Unlock()
			switch o.State {
			case exportops.NotificationDelivered:
				sum.Delivered++
			case exportops.NotificationDead:
				sum.Dead++
			default:
				sum.Failed++
				failed[o.Channel] = true
			}
		})
		if err != nil {
			s.drain()
			return told(), err
		}
		if begun == 0 && idle {
			return told(), nil
		}
		wait(ctx, s.woken, pollEvery)
	}
	s.drain()
	return told(), ctx.Err()
}

// drain waits for attempts that are under way. They end with their context; one of a
// channel that does not heed it is left behind, and what it says counts no more once
// its lease is over.
func (s *Sender) drain() {
	done := make(chan struct{})
	go func() {
		s.active.Wait()
		close(done)
	}()
	timer := time.NewTimer(stopWithin + settleWithin)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.Log.Error("a channel does not end what it is doing: its message is sent again")
	}
}

// room says how many more each channel can be sent, but for those that are left out.
func (s *Sender) room(without map[string]bool) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := map[string]int{}
	for name := range s.Channels {
		if n := perChannel - s.busy[name]; n > 0 && !without[name] {
			room[name] = n
		}
	}
	return room
}

func (s *Sender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.busy {
		if n > 0 {
			return false
		}
	}
	return true
}

func (s *Sender) occupy(channel string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[channel] += n
}

// start claims what is due and begins to send it. It returns how many were begun;
// ended is told of each as it ends.
func (s *Sender) start(ctx, sending context.Context, room map[string]int, ended func(exportops.NotificationOutcome)) (int, error) {
	if len(room) == 0 {
		return 0, nil
	}
	// A stop does not interrupt it, or nobody would know what was claimed.
	claiming, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	claimed, err := s.Outbox.ClaimNotifications(claiming, exportops.NotificationClaim{Now: s.now(), Lease: lease, Room: room})
	if err != nil {
		return 0, err
	}
	for _, n := range claimed {
		s.occupy(n.Channel, 1)
		s.active.Go(func() {
			defer s.Wake() // there is room, and perhaps a later message of the incident
			defer s.occupy(n.Channel, -1)
			ended(s.attempt(sending, n))
		})
	}
	return len(claimed), nil
}

// attempt sends one message and records how it went. What cannot be recorded is
// sent again when its lease is over.
func (s *Sender) attempt(ctx context.Context, n exportops.Notification) exportops.NotificationOutcome {
	o := exportops.NotificationOutcome{ID: n.ID, Channel: n.Channel, Attempt: n.Attempts, State: exportops.NotificationDead, Error: n.Error}
	if n.Failures < mostFailures { // or every attempt was interrupted
		bounded, cancel := context.WithTimeout(ctx, sendWithin)
		err := send(bounded, s.Channels[n.Channel], n.Message)
		cancel()
		o = judge(n, err, ctx.Err() != nil, s.now(), jitter)
	}
	o.Now = s.now()
	said := []any{slog.String("channel", n.Channel), slog.String("notification", n.ID), slog.Int("attempt", n.Attempts), slog.String("error", o.Error)}
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	ours, err := s.Outbox.SettleNotification(settling, o)
	switch {
	case err != nil:
		s.Log.Error("how a message to a channel went cannot be recorded: it is sent again", append(said, slog.Any("cause", err))...)
	case !ours:
		s.Log.Warn("a message to a channel was sent by another process as well", said...)
	case o.State == exportops.NotificationDead:
		s.Log.Error("a message to a channel is given up on", said...)
	case o.Error != "":
		s.Log.Warn("a message to a channel was not taken: it is sent again", append(said, slog.String("at", o.NextAt.String()))...)
	}
	return o
}

// send sends a message. A channel that panics has failed, and takes nothing else
// down with it.
func send(ctx context.Context, c exportops.Channel, m exportops.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the channel panicked: %v", p)
		}
	}()
	err = c.Send(ctx, m)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", sendWithin)
	}
	return err
}

func (s *Sender) now() exportops.Time { return exportops.At(s.Now()) }

// outlive returns a context that ends a while after ctx does.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-longer.Done():
		}
		end()
	})
	return longer, func() { forget(); end() }
}

// wait returns when there is something to do: when it is woken, after d, or at the
// end of ctx.
func wait(ctx context.Context, woken <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-woken:
	case <-timer.C:
	}
}
