package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/testworld"
	"github.com/exportops/exportops/notify"
)

// stage is a world whose clock goes as fast as everybody waits.
type stage struct {
	*testworld.World
	t     *testing.T
	began time.Time
	made  int
}

func inTime(t *testing.T, story func(s *stage)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { story(&stage{World: testworld.New(t, dir), t: t, began: time.Now()}) })
}

func (s *stage) now() time.Time { return testworld.Noon.Add(time.Since(s.began)) }

// enqueue puts a message for a channel into the outbox, of an incident or of none.
func (s *stage) enqueue(channel string, i *exportops.Incident) exportops.Notification {
	s.t.Helper()
	s.made++
	n := exportops.NewNotification(fmt.Sprint(channel, s.made), channel, exportops.Message{Kind: exportops.MessageFiring, Title: fmt.Sprint(s.made), Incident: i}, exportops.At(s.now()))
	_, err := s.Store.EnqueueNotifications(s.t.Context(), []exportops.Notification{n})
	s.Must(err)
	return n
}

func (s *stage) notification(id string) exportops.Notification {
	s.t.Helper()
	n, err := s.Store.Notification(s.t.Context(), id)
	s.Must(err)
	return n
}

// sender returns one as another process would have it.
func (s *stage) sender(channels map[string]exportops.Channel, change ...func(*notify.SenderOptions)) *notify.Sender {
	o := notify.SenderOptions{Outbox: s.Store, Channels: channels, Now: s.now, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	return notify.NewSender(o)
}

// run lets a sender run, and returns what stops it and waits for it.
func (s *stage) run(x *notify.Sender) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// told is one message that a channel got, and when.
type told struct {
	id, title string
	at        time.Duration
}

// listener is a channel that keeps what it is sent, and answers as it is told to.
type listener struct {
	stage  *stage
	answer func(ctx context.Context, m exportops.Message, nth int) error

	mu  sync.Mutex
	got []told
}

func (l *listener) Send(ctx context.Context, m exportops.Message) error {
	l.mu.Lock()
	l.got = append(l.got, told{m.ID, m.Title, time.Since(l.stage.began)})
	n := len(l.got)
	l.mu.Unlock()
	if l.answer == nil {
		return nil
	}
	return l.answer(ctx, m, n)
}

func (l *listener) heard() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]told{}, l.got...)
}

func wantIDs(t *testing.T, got []told, want ...string) {
	t.Helper()
	var ids []string
	for _, x := range got {
		ids = append(ids, x.id)
	}
	if d := cmp.Diff(want, ids); d != "" && len(want)+len(ids) > 0 {
		t.Fatalf("heard (-want +got):\n%s", d)
	}
}

func refuse(err error) func(context.Context, exportops.Message, int) error {
	return func(context.Context, exportops.Message, int) error { return err }
}

func hang(ctx context.Context, _ exportops.Message, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestSender(t *testing.T) {
	t.Run("delivers_what_it_is_woken_for_at_once", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s}
			x := s.sender(map[string]exportops.Channel{"ops": ops})
			stop := s.run(x)
			synctest.Wait() // it found nothing, and waits
			n := s.enqueue("ops", nil)
			x.Wake()
			synctest.Wait()
			wantIDs(t, ops.heard(), n.ID)
			if at := ops.heard()[0].at; at != 0 {
				t.Errorf("it was delivered after %s", at)
			}
			stop()
			if got := s.notification(n.ID); got.State != exportops.NotificationDelivered || got.Attempts != 1 || got.SettledAt == nil {
				t.Errorf("is %+v", got)
			}
		})
	})
	t.Run("finds_what_others_enqueued", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s}
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			synctest.Wait()
			n := s.enqueue("ops", nil)
			s.enqueue("gone", nil) // a channel that is not in the settings any more
			time.Sleep(3 * time.Second)
			wantIDs(t, ops.heard(), n.ID)
		})
	})
	t.Run("a_channel_that_hangs_delays_no_other", func(t *testing.T) {
		inTime(t, func(s *stage) {
			slow, ops := &listener{stage: s, answer: hang}, &listener{stage: s}
			for range 9 {
				s.enqueue("slow", nil)
			}
			n := s.enqueue("ops", nil)
			defer s.run(s.sender(map[string]exportops.Channel{"slow": slow, "ops": ops}))()
			time.Sleep(time.Second)
			wantIDs(t, ops.heard(), n.ID)
			if len(slow.heard()) != 4 {
				t.Errorf("%d messages are sent to the one that hangs at a time", len(slow.heard()))
			}
			later := s.enqueue("ops", nil)
			time.Sleep(10 * time.Second)
			wantIDs(t, ops.heard(), n.ID, later.ID)
			time.Sleep(10 * time.Second) // the first four were given up after 15 s
			if got := s.notification(slow.heard()[0].id); len(slow.heard()) != 8 || got.Failures != 1 || got.Error != "no answer within 15s" {
				t.Errorf("%d were sent, and the first is %+v", len(slow.heard()), got)
			}
		})
	})
	t.Run("tries_again_ever_more_rarely_and_then_gives_up", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s, answer: refuse(errors.New("503"))}
			n := s.enqueue("ops", nil)
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			time.Sleep(7 * time.Hour)
			got := s.notification(n.ID)
			if got.State != exportops.NotificationDead || got.Attempts != 12 || got.Failures != 12 || got.Error != "503" {
				t.Errorf("is %+v", got)
			}
			const polls = 3 * time.Second
			least := 30 * time.Second
			heard := ops.heard()
			for i := 1; i < len(heard); i++ {
				if gap := heard[i].at - heard[i-1].at; gap < least || gap > 2*least+polls {
					t.Errorf("attempt %d came %s after the one before, want %s to %s", i+1, gap, least, 2*least)
				}
				least = min(2*least, time.Hour/2)
				if heard[i].id != n.ID {
					t.Errorf("attempt %d has the id %s", i+1, heard[i].id)
				}
			}
		})
	})
	t.Run("waits_as_long_as_the_receiver_asks_up_to_a_day", func(t *testing.T) {
		for asked, want := range map[time.Duration]time.Duration{2 * time.Hour: 2 * time.Hour, 72 * time.Hour: 24 * time.Hour} {
			inTime(t, func(s *stage) {
				ops := &listener{stage: s, answer: refuse(fmt.Errorf("send: %w", &exportops.DeliveryError{Err: errors.New("429"), RetryAfter: asked}))}
				n := s.enqueue("ops", nil)
				x := s.sender(map[string]exportops.Channel{"ops": ops})
				_, err := x.SendDue(s.t.Context())
				s.Must(err)
				if got := s.notification(n.ID); got.Failures != 1 || got.NextAt.Sub(s.now()) != want {
					t.Errorf("asked for %s, it is %+v", asked, got)
				}
				ops.answer = nil
				time.Sleep(want - time.Second)
				if sent, err := x.SendDue(s.t.Context()); err != nil || sent.Delivered != 0 {
					t.Errorf("before that %+v, %v", sent, err)
				}
				time.Sleep(time.Second)
				if sent, err := x.SendDue(s.t.Context()); err != nil || sent.Delivered != 1 {
					t.Errorf("then %+v, %v", sent, err)
				}
			})
		}
	})
	t.Run("what_is_no_use_is_tried_once", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s, answer: refuse(&exportops.DeliveryError{Err: errors.New("404\n\x1b[2J" + strings.Repeat("x", 9000) + "\xff"), Final: true})}
			n := s.enqueue("ops", nil)
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			time.Sleep(time.Hour)
			got := s.notification(n.ID)
			if got.State != exportops.NotificationDead || len(ops.heard()) != 1 || !strings.HasPrefix(got.Error, "404  [2J") || len(got.Error) > 600 {
				t.Errorf("is %+v", got)
			}
		})
	})
	t.Run("a_channel_that_panics_has_failed", func(t *testing.T) {
		inTime(t, func(s *stage) {
			bad := &listener{stage: s, answer: func(context.Context, exportops.Message, int) error { panic("oh") }}
			ops := &listener{stage: s}
			n, m := s.enqueue("bad", nil), s.enqueue("ops", nil)
			defer s.run(s.sender(map[string]exportops.Channel{"bad": bad, "ops": ops}))()
			time.Sleep(time.Second)
			wantIDs(t, ops.heard(), m.ID)
			if got := s.notification(n.ID); got.State != exportops.NotificationPending || got.Error != "the channel panicked: oh" {
				t.Errorf("is %+v", got)
			}
		})
	})
	t.Run("messages_of_an_incident_come_in_order", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s, answer: func(_ context.Context, _ exportops.Message, nth int) error {
				if nth == 1 {
					return errors.New("503")
				}
				return nil
			}}
			i := exportops.Incident{ID: exportops.NewID()}
			first, second := s.enqueue("ops", &i), s.enqueue("ops", &i)
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			time.Sleep(2 * time.Minute)
			wantIDs(t, ops.heard(), first.ID, first.ID, second.ID)
		})
	})
}

// deaf is an outbox that is never told how an attempt went: its process died.
type deaf struct{ notify.Outbox }

func (deaf) SettleNotification(ctx context.Context, _ exportops.NotificationOutcome) (bool, error) {
	return false, errors.New("the process died")
}

// claimsOnce is the outbox of a process that is paused after its first claim.
type claimsOnce struct {
	notify.Outbox
	claimed bool
}

func (o *claimsOnce) ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) ([]exportops.Notification, error) {
	if o.claimed {
		return nil, nil
	}
	o.claimed = true
	return o.Outbox.ClaimNotifications(ctx, c)
}

// claimsLate is an outbox whose answer takes a while where there is nothing to send.
type claimsLate struct{ notify.Outbox }

func (o claimsLate) ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) ([]exportops.Notification, error) {
	claimed, err := o.Outbox.ClaimNotifications(ctx, c)
	if len(claimed) == 0 {
		time.Sleep(time.Second)
	}
	return claimed, err
}

// What an attempt that ends makes way for is sent as well, even where it ends between
// the look for what is due and the look whether anything is under way.
func TestSendDueGoesOnAfterTheLastAttempt(t *testing.T) {
	inTime(t, func(s *stage) {
		slow := &listener{stage: s, answer: func(context.Context, exportops.Message, int) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}}
		i := exportops.Incident{ID: exportops.NewID()}
		first, second := s.enqueue("ops", &i), s.enqueue("ops", &i)
		s.enqueue("other", nil) // whose end has it look again while the first is under way
		x := s.sender(map[string]exportops.Channel{"ops": slow, "other": &listener{stage: s}}, func(o *notify.SenderOptions) {
			o.Outbox = claimsLate{s.Store}
		})
		sent, err := x.SendDue(s.t.Context())
		if err != nil || sent != (notify.Sent{Delivered: 3}) {
			t.Errorf("sent %+v, %v", sent, err)
		}
		wantIDs(t, slow.heard(), first.ID, second.ID)
	})
}

func TestSenderThatDies(t *testing.T) {
	t.Run("between_send_and_settle_the_same_is_sent_again", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s}
			n := s.enqueue("ops", nil)
			stop := s.run(s.sender(map[string]exportops.Channel{"ops": ops}, func(o *notify.SenderOptions) { o.Outbox = deaf{o.Outbox} }))
			time.Sleep(time.Second)
			stop()
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			time.Sleep(50 * time.Second)
			wantIDs(t, ops.heard(), n.ID) // until the lease is over
			time.Sleep(20 * time.Second)
			wantIDs(t, ops.heard(), n.ID, n.ID)
			if got := s.notification(n.ID); got.State != exportops.NotificationDelivered || got.Attempts != 2 {
				t.Errorf("is %+v", got)
			}
		})
	})
	t.Run("a_message_that_kills_every_sender_is_given_up_on", func(t *testing.T) {
		inTime(t, func(s *stage) {
			ops := &listener{stage: s}
			n := s.enqueue("ops", nil)
			stop := s.run(s.sender(map[string]exportops.Channel{"ops": ops}, func(o *notify.SenderOptions) { o.Outbox = deaf{o.Outbox} }))
			time.Sleep(15 * time.Minute)
			stop()
			defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
			time.Sleep(2 * time.Minute)
			if got := s.notification(n.ID); got.State != exportops.NotificationDead || len(ops.heard()) != 12 {
				t.Errorf("was sent %d times, and is %+v", len(ops.heard()), got)
			}
		})
	})
	t.Run("paused_it_cannot_say_how_it_went", func(t *testing.T) {
		inTime(t, func(s *stage) {
			paused := &listener{stage: s, answer: func(context.Context, exportops.Message, int) error {
				time.Sleep(5 * time.Minute)
				return errors.New("too late")
			}}
			ops := &listener{stage: s}
			n := s.enqueue("ops", nil)
			stop := s.run(s.sender(map[string]exportops.Channel{"ops": paused}, func(o *notify.SenderOptions) { o.Outbox = &claimsOnce{Outbox: o.Outbox} }))
			time.Sleep(time.Second)
			other := s.run(s.sender(map[string]exportops.Channel{"ops": ops}))
			time.Sleep(10 * time.Minute)
			stop()
			other()
			wantIDs(t, ops.heard(), n.ID)
			if got := s.notification(n.ID); got.State != exportops.NotificationDelivered || got.Attempts != 2 {
				t.Errorf("is %+v", got)
			}
		})
	})
	t.Run("stopped_it_gives_back_what_it_has_not_delivered", func(t *testing.T) {
		inTime(t, func(s *stage) {
			brief := &listener{stage: s, answer: func(context.Context, exportops.Message, int) error {
				time.Sleep(2 * time.Second)
				return nil
			}}
			slow := &listener{stage: s, answer: hang}
			n, m := s.enqueue("slow", nil), s.enqueue("brief", nil)
			stop := s.run(s.sender(map[string]exportops.Channel{"slow": slow, "brief": brief}))
			synctest.Wait()
			began := time.Now()
			stop()
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("it stopped after %s", took)
			}
			if got := s.notification(m.ID); got.State != exportops.NotificationDelivered {
				t.Errorf("what had time to end is %+v", got)
			}
			if got := s.notification(n.ID); got.State != exportops.NotificationPending || got.LeaseUntil != nil || got.Failures != 0 || got.Error != "" {
				t.Errorf("what had not is %+v", got)
			}
			ops := &listener{stage: s}
			defer s.run(s.sender(map[string]exportops.Channel{"slow": ops}))()
			synctest.Wait()
			wantIDs(t, ops.heard(), n.ID) // at once
		})
	})
}

// A channel that does not heed its context keeps nobody from stopping.
func TestSenderStopsWithout(t *testing.T) {
	inTime(t, func(s *stage) {
		stuck := &listener{stage: s, answer: func(context.Context, exportops.Message, int) error {
			time.Sleep(time.Hour)
			return nil
		}}
		n := s.enqueue("ops", nil)
		stop := s.run(s.sender(map[string]exportops.Channel{"ops": stuck}))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it stopped after %s", took)
		}
		ops := &listener{stage: s}
		defer s.run(s.sender(map[string]exportops.Channel{"ops": ops}))()
		time.Sleep(time.Hour)
		wantIDs(t, ops.heard(), n.ID)
		if got := s.notification(n.ID); got.State != exportops.NotificationDelivered || got.Attempts != 2 {
			t.Errorf("is %+v", got)
		}
	})
}

func TestSendDue(t *testing.T) {
	inTime(t, func(s *stage) {
		bad := &listener{stage: s, answer: refuse(errors.New("503"))}
		gone := &listener{stage: s, answer: refuse(&exportops.DeliveryError{Err: errors.New("404"), Final: true})}
		ops := &listener{stage: s}
		i := exportops.Incident{ID: exportops.NewID()}
		for range 9 {
			s.enqueue("ops", &i)
			s.enqueue("bad", nil)
			s.enqueue("gone", nil)
		}
		x := s.sender(map[string]exportops.Channel{"ops": ops, "bad": bad, "gone": gone})
		sent, err := x.SendDue(s.t.Context())
		s.Must(err)
		// The channel that fails is sent no more than what was under way with the first.
		if d := cmp.Diff(notify.Sent{Delivered: 9, Failed: 4, Dead: 9}, sent); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		bad.answer = nil
		if sent, err = x.SendDue(s.t.Context()); err != nil || sent != (notify.Sent{Delivered: 5}) {
			t.Errorf("the next time %+v, %v", sent, err)
		}
		time.Sleep(time.Hour)
		if sent, err = x.SendDue(s.t.Context()); err != nil || sent != (notify.Sent{Delivered: 4}) {
			t.Errorf("later %+v, %v", sent, err)
		}
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		if _, err := x.SendDue(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted it says %v", err)
		}
	})
}
