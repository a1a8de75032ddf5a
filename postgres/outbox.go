package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// dueNotification says of a notification n that it can be sent at the time $1. One
// that is being sent is due again when its lease is over. While an earlier message
// of the same incident is pending, a later one waits.
const dueNotification = `n.state = 'pending' AND n.next_at <= $1::timestamptz
	AND NOT EXISTS (SELECT 1 FROM exportops.notifications p
		WHERE p.incident_id = n.incident_id AND p.channel = n.channel AND p.seq < n.seq AND p.state = 'pending')`

// ClaimNotifications implements exportops.NotificationStore. Most of the time
// nothing is due, which one statement finds out. Claims share a lock that a retry
// takes alone, before they look: what is retried is older than what waits for it.
func (s *Store) ClaimNotifications(ctx context.Context, c exportops.NotificationClaim) (out []exportops.Notification, err error) {
	channels := slices.Sorted(maps.Keys(c.Room))
	room := make([]int32, len(channels))
	for i, name := range channels {
		room[i] = int32(c.Room[name])
	}
	due := false
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.notifications n WHERE n.channel = ANY($2::text[]) AND `+dueNotification+`)`,
			c.Now.String(), channels).Scan(&due)
	})
	if err != nil {
		return nil, fmt.Errorf("look for due notifications: %w", err)
	}
	if !due {
		return nil, nil
	}
	err = s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockOutbox); err != nil {
			return err
		}
		out, _, err = notificationsOf(tx.Query(ctx, `WITH due AS (
				SELECT d.seq FROM unnest($2::text[], $3::int[]) AS r (channel, room) CROSS JOIN LATERAL (
					SELECT n.seq FROM exportops.notifications n WHERE n.channel = r.channel AND `+dueNotification+`
					ORDER BY n.next_at, n.seq LIMIT r.room FOR UPDATE SKIP LOCKED) d)
			UPDATE exportops.notifications AS n SET attempts = n.attempts + 1, failures = n.failures + (n.lease_until IS NOT NULL)::int,
				last_error = CASE WHEN n.lease_until IS NULL THEN n.last_error ELSE 'the sender stopped before it knew' END,
				lease_until = $4::timestamptz, next_at = $4::timestamptz
			FROM due WHERE n.seq = due.seq RETURNING `+notificationColumns,
			c.Now.String(), channels, room, exportops.At(c.Now.Add(c.Lease)).String()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim notifications: %w", err)
	}
	return out, nil
}

// SettleNotification implements exportops.NotificationStore.
func (s *Store) SettleNotification(ctx context.Context, o exportops.NotificationOutcome) (ours bool, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE exportops.notifications SET state = $3, lease_until = NULL,
				failures = failures + ($4 <> '')::int, last_error = coalesce(nullif($4, ''), last_error),
				next_at = CASE WHEN $3 = 'pending' THEN $5::timestamptz ELSE next_at END,
				settled_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $6::timestamptz END
			WHERE id = $1::uuid AND attempts = $2 AND state = 'pending' AND lease_until IS NOT NULL`,
			o.ID, o.Attempt, string(o.State), o.Error, o.NextAt.String(), o.Now.String())
		if err != nil {
			return fmt.Errorf("settle notification %s: %w", o.ID, err)
		}
		ours = tag.RowsAffected() == 1
		return nil
	})
	return ours && err == nil, err
}

// RetryNotifications implements exportops.NotificationStore.
func (s *Store) RetryNotifications(ctx context.Context, ids []string, now exportops.Time) (done []string, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, 0)`, lockOutbox); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `UPDATE exportops.notifications AS n SET state = 'pending', failures = 0, next_at = $2::timestamptz,
				settled_at = NULL
			WHERE n.id = ANY($1::uuid[]) AND n.state = 'dead'
				AND NOT EXISTS (SELECT 1 FROM exportops.notifications l
					WHERE l.incident_id = n.incident_id AND l.channel = n.channel AND l.seq > n.seq
						AND (l.state = 'delivered' OR l.lease_until IS NOT NULL))
			RETURNING n.id::text`, ids, now.String())
		if err != nil {
			return err
		}
		done, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("retry notifications: %w", err)
	}
	return done, nil
}
