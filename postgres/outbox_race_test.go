package postgres

import (
	"testing"
	"time"

	"github.com/exportops/exportops"
)

// outboxOf enqueues messages to a channel, of one incident or of none.
func outboxOf(t *testing.T, w *world, incident string, keys ...string) (ids []string) {
	t.Helper()
	for _, key := range keys {
		m := exportops.Message{Kind: exportops.MessageFiring, At: noon}
		if incident != "" {
			m.Incident = &exportops.Incident{ID: incident}
		}
		n := exportops.NewNotification(key, "ops", m, noon)
		_, err := w.a.EnqueueNotifications(t.Context(), []exportops.Notification{n})
		must(t, err)
		ids = append(ids, n.ID)
	}
	return ids
}

var claimOps = exportops.NotificationClaim{Now: noon, Lease: time.Minute, Room: map[string]int{"ops": 9}}

func TestOutboxOfSeveralReplicas(t *testing.T) {
	t.Run("a_claim_waits_for_a_retry_and_begins_with_what_was_retried", func(t *testing.T) {
		w := newWorld(t)
		ids := outboxOf(t, w, exportops.NewID(), "first", "second")
		w.now(`UPDATE exportops.notifications SET state = 'dead' WHERE key = 'first'`)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockOutbox)
		done := make(chan []exportops.Notification)
		go func() {
			all, err := w.a.ClaimNotifications(t.Context(), claimOps)
			if err != nil {
				t.Error(err)
			}
			done <- all
		}()
		w.blockedBy(tx, 1) // it has seen that the second is due
		w.exec(tx, `UPDATE exportops.notifications SET state = 'pending' WHERE key = 'first'`)
		w.commit(tx)
		if all := <-done; len(all) != 1 || all[0].ID != ids[0] {
			t.Fatalf("claimed %+v", all)
		}
	})
	t.Run("a_retry_waits_for_a_claim_and_is_refused", func(t *testing.T) {
		w := newWorld(t)
		ids := outboxOf(t, w, exportops.NewID(), "first", "second")
		w.now(`UPDATE exportops.notifications SET state = 'dead' WHERE key = 'first'`)
		tx := w.app()
		w.exec(tx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockOutbox)
		done := make(chan error)
		go func() {
			_, err := exportops.RetryNotification(t.Context(), w.b, ids[0], noon)
			done <- err
		}()
		w.blockedBy(tx, 1)
		w.exec(tx, `UPDATE exportops.notifications SET lease_until = now() WHERE key = 'second'`)
		w.commit(tx)
		if err := <-done; !exportops.IsKind(err, exportops.KindConflict) {
			t.Fatalf("retried: %v", err)
		}
	})
	t.Run("what_another_is_claiming_is_passed_over", func(t *testing.T) {
		w := newWorld(t)
		ids := outboxOf(t, w, "", "first", "second")
		tx := w.app()
		w.exec(tx, `SELECT 1 FROM exportops.notifications WHERE key = 'first' FOR UPDATE`)
		all, err := w.a.ClaimNotifications(t.Context(), claimOps)
		must(t, err)
		if len(all) != 1 || all[0].ID != ids[1] {
			t.Fatalf("claimed %+v", all)
		}
	})
}
