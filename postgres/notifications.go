package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// enqueue keeps notifications whose key is not known, and returns how many.
func enqueue(ctx context.Context, tx pgx.Tx, all []exportops.Notification) (kept int64, err error) {
	for _, n := range all {
		body, err := json.Marshal(n.Message)
		if err != nil {
			return kept, fmt.Errorf("write notification %s: %w", n.ID, err)
		}
		tag, err := tx.Exec(ctx, `INSERT INTO exportops.notifications
				(id, key, channel, incident_id, state, next_at, body, created_at)
			VALUES ($1::uuid, $2, $3, $4::uuid, $5, $6::timestamptz, $7::jsonb, $8::timestamptz) ON CONFLICT (key) DO NOTHING`,
			n.ID, n.Key, n.Channel, nullText(n.IncidentID), string(n.State), n.NextAt.String(), string(body), n.CreatedAt.String())
		if err != nil {
			return kept, fmt.Errorf("keep notification %s: %w", n.ID, err)
		}
		kept += tag.RowsAffected()
	}
	return kept, nil
}

// EnqueueNotifications implements exportops.NotificationStore.
func (s *Store) EnqueueNotifications(ctx context.Context, all []exportops.Notification) (kept int64, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		kept, err = enqueue(ctx, tx, all)
		return err
	})
	return kept, err
}

// HasNotification implements exportops.NotificationStore.
func (s *Store) HasNotification(ctx context.Context, key string) (found bool, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM exportops.notifications WHERE key = $1)`, key).Scan(&found)
	})
	if err != nil {
		return false, fmt.Errorf("look for notification %s: %w", key, err)
	}
	return found, nil
}

const notificationColumns = `n.seq, n.id::text, n.key, n.channel, coalesce(n.incident_id::text, ''), n.state, n.attempts, n.failures, n.next_at,
	n.lease_until, n.last_error, n.body::text, n.created_at, n.settled_at`

// notificationsOf reads the notifications that a query yields, with the place of
// the last.
func notificationsOf(rows pgx.Rows, err error) (all []exportops.Notification, last int64, _ error) {
	if err != nil {
		return nil, 0, err
	}
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n exportops.Notification, err error) {
		var next, created time.Time
		var lease, settled *time.Time
		var body string
		err = row.Scan(&last, &n.ID, &n.Key, &n.Channel, &n.IncidentID, (*string)(&n.State), &n.Attempts, &n.Failures, &next, &lease, &n.Error,
			&body, &created, &settled)
		if err == nil {
			err = json.Unmarshal([]byte(body), &n.Message)
		}
		n.NextAt, n.CreatedAt, n.LeaseUntil, n.SettledAt = exportops.At(next), exportops.At(created), timePtr(lease), timePtr(settled)
		return n, err
	})
	return all, last, err
}

// notifications reads those that a condition selects, with the place of the last.
func (s *Store) notifications(ctx context.Context, doing, where string, args ...any) (all []exportops.Notification, last int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, last, err = notificationsOf(tx.Query(ctx, `SELECT `+notificationColumns+` FROM exportops.notifications n `+where, args...))
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", doing, err)
	}
	return all, last, nil
}

// Notification implements exportops.NotificationStore.
func (s *Store) Notification(ctx context.Context, id string) (exportops.Notification, error) {
	all, _, err := s.notifications(ctx, "read notification "+id, `WHERE n.id = $1::uuid`, userArg(id))
	switch {
	case err != nil:
		return exportops.Notification{}, err
	case len(all) == 0:
		return exportops.Notification{}, exportops.NoSuchNotification(id)
	}
	return all[0], nil
}

// Notifications implements exportops.NotificationStore.
func (s *Store) Notifications(ctx context.Context, f exportops.NotificationFilter) ([]exportops.Notification, string, error) {
	limit := exportops.PageSize(f.Limit)
	before, err := exportops.PageBefore(f.Before)
	if err != nil {
		return nil, "", err
	}
	all, last, err := s.notifications(ctx, "list notifications", `WHERE n.seq < $1 AND ($2 = '' OR n.state = $2)
		AND ($3 = '' OR n.channel = $3) ORDER BY n.seq DESC LIMIT $4`, before, string(f.State), f.Channel, limit)
	if err != nil || len(all) < limit {
		return all, "", err
	}
	return all, strconv.FormatInt(last, 10), nil
}

// NotificationBacklog implements exportops.NotificationStore.
func (s *Store) NotificationBacklog(ctx context.Context, late exportops.Time) (all []exportops.ChannelBacklog, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT channel, sum(pending), sum(late), sum(dead) FROM (
				SELECT channel, 1 AS pending, (created_at < $1::timestamptz)::int AS late, 0 AS dead FROM exportops.notifications
					WHERE state = 'pending'
				UNION ALL SELECT channel, 0, 0, 1 FROM exportops.notifications WHERE state = 'dead') x
			GROUP BY channel ORDER BY channel COLLATE "C"`, late.String())
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b exportops.ChannelBacklog, err error) {
			err = row.Scan(&b.Channel, &b.Pending, &b.Late, &b.Dead)
			return b, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count notifications: %w", err)
	}
	return all, nil
}
