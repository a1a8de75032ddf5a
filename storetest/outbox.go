package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

func testOutbox(t *testing.T, open func(testing.TB) Fixture) {
	t.Run("is_kept_with_its_incident", func(t *testing.T) { outboxWithIncident(t, open(t)) })
	t.Run("a_key_is_told_once", func(t *testing.T) { outboxOnce(t, open(t)) })
	t.Run("what_is_claimed_is_the_claimers_until_the_lease_ends", func(t *testing.T) { outboxLease(t, open(t)) })
	t.Run("an_attempt_that_was_overtaken_says_nothing", func(t *testing.T) { outboxFence(t, open(t)) })
	t.Run("what_is_given_back_has_not_failed", func(t *testing.T) { outboxGivenBack(t, open(t)) })
	t.Run("a_channel_has_only_so_much_room", func(t *testing.T) { outboxRoom(t, open(t)) })
	t.Run("messages_of_an_incident_go_in_order", func(t *testing.T) { outboxOrder(t, open(t)) })
	t.Run("many_claimers_share_them_out", func(t *testing.T) { outboxRace(t, open(t)) })
	t.Run("what_is_dead_is_tried_again_on_request", func(t *testing.T) { outboxRetry(t, open(t)) })
	t.Run("old_news_stays_dead", func(t *testing.T) { outboxOldNews(t, open(t)) })
	t.Run("lists", func(t *testing.T) { outboxLists(t, open(t)) })
	t.Run("is_forgotten", func(t *testing.T) { outboxForgotten(t, open(t)) })
}

// message returns a notification of an incident, or of none.
func message(channel, key string, i *exportops.Incident) exportops.Notification {
	if i != nil {
		kept := *i
		kept.Version = 0 // as it is read back
		i = &kept
	}
	return exportops.NewNotification(key, channel, exportops.Message{
		Kind: exportops.MessageFiring, At: noon, Title: "high: \"zu viele\"", Text: "a\nb\n", Incident: i,
	}, noon)
}

func enqueue(t *testing.T, f Fixture, all ...exportops.Notification) {
	t.Helper()
	n, err := f.Store.EnqueueNotifications(t.Context(), all)
	must(t, err)
	if n != int64(len(all)) {
		t.Fatalf("%d of %d were kept", n, len(all))
	}
}

const outboxLeaseLength = time.Minute

// claimed claims what is due and returns it in the order in which it was made.
func claimed(t *testing.T, f Fixture, at exportops.Time, room int, channels ...string) []exportops.Notification {
	t.Helper()
	c := exportops.NotificationClaim{Now: at, Lease: outboxLeaseLength, Room: map[string]int{}}
	for _, name := range channels {
		c.Room[name] = room
	}
	all, err := f.Store.ClaimNotifications(t.Context(), c)
	must(t, err)
	slices.SortFunc(all, func(a, b exportops.Notification) int { return strings.Compare(a.Key, b.Key) })
	return all
}

func wantKeys(t *testing.T, what string, got []exportops.Notification, want ...string) {
	t.Helper()
	var keys []string
	for _, n := range got {
		keys = append(keys, n.Key)
	}
	if d := cmp.Diff(want, keys); d != "" && len(want)+len(keys) > 0 {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// settle ends an attempt, and sees whether it counted.
func settle(t *testing.T, f Fixture, n exportops.Notification, state exportops.NotificationState, at exportops.Time, says string, want bool) {
	t.Helper()
	ours, err := f.Store.SettleNotification(t.Context(), exportops.NotificationOutcome{
		ID: n.ID, Channel: n.Channel, Attempt: n.Attempts, Now: at, State: state, NextAt: at, Error: says,
	})
	must(t, err)
	if ours != want {
		t.Fatalf("the outcome of attempt %d counted: %v, want %v", n.Attempts, ours, want)
	}
}

func stands(t *testing.T, f Fixture, id string) exportops.Notification {
	t.Helper()
	n, err := f.Store.Notification(t.Context(), id)
	must(t, err)
	return n
}

func outboxWithIncident(t *testing.T, f Fixture) {
	i := incident("failure-rate", "")
	told := message("ops", "k1", &i)
	saved, err := f.Store.SaveIncident(t.Context(), i, nil, []exportops.Notification{told, message("mail", "k2", &i)})
	must(t, err)
	if !saved {
		t.Fatal("it was not saved")
	}
	if d := cmp.Diff(told, stands(t, f, told.ID)); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	if told.IncidentID != i.ID || told.Message.ID != told.ID {
		t.Fatalf("is of %q, its message of %q", told.IncidentID, told.Message.ID)
	}
	// Whoever is late with the incident tells nothing of it either.
	saved, err = f.Store.SaveIncident(t.Context(), i, nil, []exportops.Notification{message("ops", "k3", &i)})
	must(t, err)
	if n := f.Count(t, `SELECT count(*) FROM exportops_notifications`); saved || n != 2 {
		t.Fatalf("saved is %v, and there are %d messages", saved, n)
	}
	for _, id := range []string{exportops.NewID(), "no id"} {
		_, err = f.Store.Notification(t.Context(), id)
		wantKind(t, err, exportops.KindNotFound, "id")
	}
}

func outboxOnce(t *testing.T, f Fixture) {
	var all sync.WaitGroup
	var kept [6]int64
	for k := range kept {
		all.Go(func() {
			n, err := f.Store.EnqueueNotifications(t.Context(), []exportops.Notification{message("ops", "summary", nil), message("ops", fmt.Sprint(k), nil)})
			if kept[k] = n; err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sum := int64(0)
	for _, n := range kept {
		sum += n
	}
	if n := f.Count(t, `SELECT count(*) FROM exportops_notifications WHERE key = 'summary'`); n != 1 || sum != 7 {
		t.Fatalf("there are %d of one key; %d were kept", n, sum)
	}
	for key, want := range map[string]bool{"summary": true, "another": false} {
		if got, err := f.Store.HasNotification(t.Context(), key); err != nil || got != want {
			t.Errorf("%s is known: %v, %v", key, got, err)
		}
	}
}

func outboxLease(t *testing.T, f Fixture) {
	n := message("ops", "k", nil)
	enqueue(t, f, n)
	wantKeys(t, "before it is due", claimed(t, f, after(noon, -time.Second), 9, "ops"))
	wantKeys(t, "of another channel", claimed(t, f, noon, 9, "mail"))
	wantKeys(t, "without a channel", claimed(t, f, noon, 9))
	got := claimed(t, f, noon, 9, "ops")
	end := after(noon, outboxLeaseLength)
	want := n
	want.Attempts, want.NextAt, want.LeaseUntil = 1, end, &end
	if d := cmp.Diff([]exportops.Notification{want}, got); d != "" {
		t.Fatalf("(-want +got):\n%s", d)
	}
	wantKeys(t, "what another has", claimed(t, f, after(end, -time.Millisecond), 9, "ops"))
	again := claimed(t, f, end, 9, "ops")
	wantKeys(t, "after the lease", again, "k")
	if again[0].Attempts != 2 || again[0].Failures != 1 || again[0].Error == "" || again[0].ID != n.ID || again[0].Message.ID != n.ID {
		t.Fatalf("is %+v", again[0])
	}
	settle(t, f, again[0], exportops.NotificationDelivered, end, "", true)
	if got := stands(t, f, n.ID); got.State != exportops.NotificationDelivered || got.SettledAt == nil || *got.SettledAt != end || got.LeaseUntil != nil {
		t.Fatalf("is %+v", got)
	}
	wantKeys(t, "what was delivered", claimed(t, f, after(end, time.Hour), 9, "ops"))
}

func outboxFence(t *testing.T, f Fixture) {
	enqueue(t, f, message("ops", "k", nil))
	first := claimed(t, f, noon, 9, "ops")[0]
	later := after(noon, outboxLeaseLength)
	second := claimed(t, f, later, 9, "ops")[0]
	for _, state := range exportops.NotificationStates {
		settle(t, f, first, state, later, "late", false)
	}
	settle(t, f, second, exportops.NotificationPending, later, "503", true)
	if got := stands(t, f, second.ID); got.State != exportops.NotificationPending || got.Failures != 2 || got.Error != "503" || got.NextAt != later || got.LeaseUntil != nil {
		t.Fatalf("is %+v", got)
	}
	settle(t, f, second, exportops.NotificationDelivered, later, "", false) // it was settled
	third := claimed(t, f, later, 9, "ops")[0]
	settle(t, f, third, exportops.NotificationDead, later, "404", true)
	settle(t, f, third, exportops.NotificationDelivered, later, "", false)
	if got := stands(t, f, third.ID); got.State != exportops.NotificationDead || got.Failures != 3 || got.Attempts != 3 || got.Error != "404" {
		t.Fatalf("is %+v", got)
	}
	// A number that was used before a retry is not used again after it.
	done, err := f.Store.RetryNotifications(t.Context(), []string{third.ID}, later)
	must(t, err)
	if len(done) != 1 || claimed(t, f, later, 9, "ops")[0].Attempts != 4 {
		t.Fatalf("retried %q, is %+v", done, stands(t, f, third.ID))
	}
	settle(t, f, first, exportops.NotificationDelivered, later, "", false)
	settle(t, f, third, exportops.NotificationDelivered, later, "", false)
}

func outboxGivenBack(t *testing.T, f Fixture) {
	enqueue(t, f, message("ops", "k", nil))
	n := claimed(t, f, noon, 9, "ops")[0]
	settle(t, f, n, exportops.NotificationPending, noon, "", true)
	got := claimed(t, f, noon, 9, "ops")
	if len(got) != 1 || got[0].Attempts != 2 || got[0].Failures != 0 || got[0].Error != "" {
		t.Fatalf("is %+v", got)
	}
}

func outboxRoom(t *testing.T, f Fixture) {
	for n := range 5 {
		enqueue(t, f, message("ops", fmt.Sprint("o", n), nil), message("mail", fmt.Sprint("m", n), nil), message("gone", fmt.Sprint("g", n), nil))
	}
	all, err := f.Store.ClaimNotifications(t.Context(), exportops.NotificationClaim{
		Now: noon, Lease: outboxLeaseLength, Room: map[string]int{"ops": 2, "mail": 4, "none": 7},
	})
	must(t, err)
	slices.SortFunc(all, func(a, b exportops.Notification) int { return strings.Compare(a.Key, b.Key) })
	wantKeys(t, "by room", all, "m0", "m1", "m2", "m3", "o0", "o1")
	wantKeys(t, "the rest", claimed(t, f, noon, 9, "ops", "mail"), "m4", "o2", "o3", "o4")
}

func outboxOrder(t *testing.T, f Fixture) {
	a, b := incident("a", ""), incident("b", "")
	enqueue(t, f,
		message("ops", "a1", &a), message("ops", "a2", &a), message("mail", "a1m", &a), message("ops", "b1", &b), message("ops", "s1", nil), message("ops", "s2", nil),
	)
	first := claimed(t, f, noon, 9, "ops", "mail")
	wantKeys(t, "at first", first, "a1", "a1m", "b1", "s1", "s2")
	wantKeys(t, "while it is being sent", claimed(t, f, noon, 9, "ops"))
	later := after(noon, time.Hour)
	settle(t, f, first[0], exportops.NotificationPending, later, "503", true) // due at later
	wantKeys(t, "while it waits for its next attempt", claimed(t, f, after(noon, time.Minute/2), 9, "ops"))
	again := claimed(t, f, later, 1, "mail", "ops") // leases of the others are over, too
	wantKeys(t, "one of each", again, "a1m", "b1")
	third := claimed(t, f, later, 9, "ops")
	wantKeys(t, "the rest", third, "a1", "s1", "s2")
	settle(t, f, third[0], exportops.NotificationDead, later, "404", true)
	wantKeys(t, "when it is dead", claimed(t, f, later, 9, "ops"), "a2")
}

func outboxRace(t *testing.T, f Fixture) {
	const incidents, each = 10, 3
	for n := range incidents {
		i := incident("a", fmt.Sprint(n))
		for k := range each {
			enqueue(t, f, message("ops", fmt.Sprintf("%d-%d", n, k), &i))
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	took := map[string]int{}
	order := map[string][]string{}
	for range 4 {
		all.Go(func() {
			for idle := 0; idle < 20; {
				got, err := f.Store.ClaimNotifications(t.Context(), exportops.NotificationClaim{Now: noon, Lease: outboxLeaseLength, Room: map[string]int{"ops": 3}})
				if err != nil {
					t.Error(err)
					return
				}
				if idle++; len(got) > 0 {
					idle = 0
				}
				for _, n := range got {
					mu.Lock()
					took[n.Key]++
					order[n.IncidentID] = append(order[n.IncidentID], n.Key)
					mu.Unlock()
					ours, err := f.Store.SettleNotification(t.Context(), exportops.NotificationOutcome{
						ID: n.ID, Attempt: n.Attempts, Now: noon, State: exportops.NotificationDelivered, NextAt: noon,
					})
					if err != nil || !ours {
						t.Errorf("%s was not its claimer's: %v", n.Key, err)
					}
				}
			}
		})
	}
	all.Wait()
	for key, n := range took {
		if n != 1 {
			t.Errorf("%s was claimed %d times", key, n)
		}
	}
	if len(took) != incidents*each {
		t.Errorf("%d were claimed", len(took))
	}
	for _, keys := range order {
		if !slices.IsSorted(keys) {
			t.Errorf("claimed in the order %q", keys)
		}
	}
}

func outboxRetry(t *testing.T, f Fixture) {
	enqueue(t, f, message("ops", "k1", nil), message("ops", "k2", nil), message("mail", "k3", nil))
	all := claimed(t, f, noon, 9, "ops", "mail")
	settle(t, f, all[0], exportops.NotificationDead, noon, "404", true)
	settle(t, f, all[1], exportops.NotificationDelivered, noon, "", true)
	settle(t, f, all[2], exportops.NotificationDead, noon, "404", true)
	later := after(noon, time.Hour)
	_, err := exportops.RetryNotification(t.Context(), f.Store, all[1].ID, later)
	wantKind(t, err, exportops.KindConflict, "")
	_, err = exportops.RetryNotification(t.Context(), f.Store, exportops.NewID(), later)
	wantKind(t, err, exportops.KindNotFound, "id")
	n, err := exportops.RetryNotification(t.Context(), f.Store, all[0].ID, later)
	must(t, err)
	if n.State != exportops.NotificationPending || n.Failures != 0 || n.Attempts != 1 || n.NextAt != later || n.SettledAt != nil || n.Error != "404" {
		t.Fatalf("is %+v", n)
	}
	for _, c := range []struct {
		channel string
		want    int
	}{{"ops", 0}, {"", 1}} {
		if n, left, err := exportops.RetryDead(t.Context(), f.Store, c.channel, later); err != nil || n != c.want || left != 0 {
			t.Fatalf("of %q %d were retried, %d left, %v", c.channel, n, left, err)
		}
	}
	again := claimed(t, f, later, 9, "ops", "mail")
	wantKeys(t, "again", again, "k1", "k3")
	if again[0].Attempts != 2 {
		t.Fatalf("is %+v", again[0])
	}
}

func outboxOldNews(t *testing.T, f Fixture) {
	told, both, waits := incident("a", ""), incident("b", ""), incident("c", "")
	var all []exportops.Notification
	for n, i := range []*exportops.Incident{&told, &both, &waits} {
		for k := range 2 {
			all = append(all, message("ops", fmt.Sprintf("%c%d", 'a'+n, k), i))
		}
	}
	enqueue(t, f, all...)
	for _, n := range claimed(t, f, noon, 9, "ops") {
		settle(t, f, n, exportops.NotificationDead, noon, "404", true)
	}
	for _, n := range claimed(t, f, noon, 2, "ops") { // the second of each
		switch n.Key {
		case "a1":
			settle(t, f, n, exportops.NotificationDelivered, noon, "", true)
		case "b1":
			settle(t, f, n, exportops.NotificationDead, noon, "404", true)
		}
	}
	_, err := exportops.RetryNotification(t.Context(), f.Store, all[0].ID, noon)
	wantKind(t, err, exportops.KindConflict, "")
	retried, left, err := exportops.RetryDead(t.Context(), f.Store, "ops", noon)
	if err != nil || retried != 3 || left != 1 {
		t.Fatalf("%d were retried, %d left: %v", retried, left, err)
	}
	wantKeys(t, "in order", claimed(t, f, noon, 9, "ops"), "b0", "c0")
}

func outboxLists(t *testing.T, f Fixture) {
	var made []exportops.Notification
	for n := range 4 {
		made = append([]exportops.Notification{message([]string{"ops", "mail"}[n%2], fmt.Sprint("k", n), nil)}, made...)
		enqueue(t, f, made[0])
	}
	got := claimed(t, f, noon, 1, "ops")
	settle(t, f, got[0], exportops.NotificationDead, noon, "404", true)
	made[3] = stands(t, f, made[3].ID)
	for name, c := range map[string]struct {
		filter exportops.NotificationFilter
		want   []exportops.Notification
	}{
		"all":     {exportops.NotificationFilter{}, made},
		"channel": {exportops.NotificationFilter{Channel: "mail"}, []exportops.Notification{made[0], made[2]}},
		"dead":    {exportops.NotificationFilter{State: exportops.NotificationDead}, made[3:]},
		"pending": {exportops.NotificationFilter{State: exportops.NotificationPending, Channel: "ops"}, made[1:2]},
	} {
		page, next, err := f.Store.Notifications(t.Context(), c.filter)
		if d := cmp.Diff(c.want, page); d != "" || err != nil || next != "" {
			t.Errorf("%s: %v, %q (-want +got):\n%s", name, err, next, d)
		}
	}
	var paged []exportops.Notification
	filter := exportops.NotificationFilter{Limit: 3}
	for {
		page, next, err := f.Store.Notifications(t.Context(), filter)
		must(t, err)
		if paged = append(paged, page...); next == "" {
			break
		}
		filter.Before = next
	}
	if d := cmp.Diff(made, paged); d != "" {
		t.Errorf("in pages (-want +got):\n%s", d)
	}
	_, _, err := f.Store.Notifications(t.Context(), exportops.NotificationFilter{Before: "x"})
	wantKind(t, err, exportops.KindInvalid, "cursor")
	for late, want := range map[exportops.Time][]exportops.ChannelBacklog{
		noon:                     {{Channel: "mail", Pending: 2}, {Channel: "ops", Pending: 1, Dead: 1}},
		after(noon, time.Second): {{Channel: "mail", Pending: 2, Late: 2}, {Channel: "ops", Pending: 1, Late: 1, Dead: 1}},
	} {
		left, err := f.Store.NotificationBacklog(t.Context(), late)
		if d := cmp.Diff(want, left); d != "" || err != nil {
			t.Errorf("left: %v (-want +got):\n%s", err, d)
		}
	}
}

func outboxForgotten(t *testing.T, f Fixture) {
	old, young := message("ops", "old", nil), message("ops", "young", nil)
	young.CreatedAt = after(noon, time.Hour)
	enqueue(t, f, old, young)
	cp := heldRun(t, f, noon)
	for _, want := range []int64{1, 0} {
		if n, err := f.Store.ForgetAlerts(t.Context(), cp, after(noon, time.Minute), 9); err != nil || n != want {
			t.Fatalf("%d were forgotten (%v), want %d", n, err, want)
		}
	}
	stands(t, f, young.ID)
}
