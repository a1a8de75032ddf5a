package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/exportops/exportops"
)

// dueNotifications are those that a channel can be sent at a time, as many as it
// has room for. One that is being sent is due again when its lease is over. While
// an earlier message of the same incident is pending, a later one waits.
const dueNotifications = `SELECT n.seq FROM exportops_notifications n
	WHERE n.channel = ?1 AND n.state = 'pending' AND n.next_at <= ?2
		AND NOT EXISTS (SELECT 1 FROM exportops_notifications p
			WHERE p.incident_id = n.incident_id AND p.channel = n.channel AND p.seq < n.seq AND p.state = 'pending')
	ORDER BY n.next_at, n.seq LIMIT ?3`

// ClaimNotifications implements exportops.NotificationStore. It looks without the
// write lock, and takes it only where something is due.
func (s *Store) ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) (out []exportops.Notification, err error) {
	var channels []string
	for _, name := range slices.Sorted(maps.Keys(c.Room)) {
		var seq int64
		err := s.read.QueryRowContext(ctx, dueNotifications, name, c.Now.String(), 1).Scan(&seq)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, s.explain(fmt.Errorf("look for due notifications: %w", err))
		default:
			channels = append(channels, name)
		}
	}
	if len(channels) == 0 {
		return nil, nil
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		out = nil
		for _, name := range channels {
			claimed, _, err := notificationsOf(tx.QueryContext(ctx, `UPDATE exportops_notifications SET attempts = attempts + 1,
					failures = failures + (lease_until IS NOT NULL),
					last_error = CASE WHEN lease_until IS NULL THEN last_error ELSE 'the sender stopped before it knew' END,
					lease_until = ?4, next_at = ?4
				WHERE seq IN (`+dueNotifications+`) RETURNING `+notificationColumns,
				name, c.Now.String(), c.Room[name], exportops.At(c.Now.Add(c.Lease)).String()))
			if err != nil {
				return fmt.Errorf("claim notifications: %w", err)
			}
			out = append(out, claimed...)
		}
		return nil
	})
	return out, err
}

// SettleNotification implements exportops.NotificationStore.
func (s *Store) SettleNotification(ctx context.Context, o exportops.NotificationOutcome) (ours bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE exportops_notifications SET state = ?3, lease_until = NULL,
				failures = failures + (?4 <> ''), last_error = CASE WHEN ?4 = '' THEN last_error ELSE ?4 END,
				next_at = CASE WHEN ?3 = 'pending' THEN ?5 ELSE next_at END, settled_at = CASE WHEN ?3 = 'pending' THEN NULL ELSE ?6 END
			WHERE id = ?1 AND attempts = ?2 AND state = 'pending' AND lease_until IS NOT NULL`,
			o.ID, o.Attempt, o.State, o.Error, o.NextAt.String(), o.Now.String())
		if err != nil {
			return fmt.Errorf("settle notification %s: %w", o.ID, err)
		}
		n, err := res.RowsAffected()
		ours = n == 1
		return err
	})
	return ours && err == nil, err
}

// RetryNotifications implements exportops.NotificationStore.
func (s *Store) RetryNotifications(ctx context.Context, ids []string, now exportops.Time) (done []string, err error) {
	list, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		done = nil
		rows, err := tx.QueryContext(ctx, `UPDATE exportops_notifications AS n SET state = 'pending', failures = 0, next_at = ?2, settled_at = NULL
			WHERE n.id IN (SELECT value FROM json_each(?1)) AND n.state = 'dead'
				AND NOT EXISTS (SELECT 1 FROM exportops_notifications l
					WHERE l.incident_id = n.incident_id AND l.channel = n.channel AND l.seq > n.seq
						AND (l.state = 'delivered' OR l.lease_until IS NOT NULL))
			RETURNING id`, list, now.String())
		if err != nil {
			return fmt.Errorf("retry notifications: %w", err)
		}
		return scanAll(rows, func() error {
			done = append(done, "")
			return rows.Scan(&done[len(done)-1])
		})
	})
	return done, err
}
