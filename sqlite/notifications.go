package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/exportops/exportops"
)

// enqueue keeps notifications whose key is not known, and returns how many.
func enqueue(ctx context.Context, tx *sql.Tx, all []exportops.Notification) (kept int64, err error) {
	for _, n := range all {
		body, err := json.Marshal(n.Message)
		if err != nil {
			return kept, fmt.Errorf("write notification %s: %w", n.ID, err)
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO exportops_notifications
				(id, key, channel, incident_id, state, next_at, body, created_at)
			VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING`,
			n.ID, n.Key, n.Channel, n.IncidentID, n.State, n.NextAt.String(), string(body), n.CreatedAt.String())
		if err != nil {
			return kept, fmt.Errorf("keep notification %s: %w", n.ID, err)
		}
		if kept, err = addRows(kept, res); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// EnqueueNotifications implements exportops.NotificationStore.
func (s *Store) EnqueueNotifications(ctx context.Context, all []exportops.Notification) (kept int64, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		kept, err = enqueue(ctx, tx, all)
		return err
	})
	return kept, err
}

// HasNotification implements exportops.NotificationStore.
func (s *Store) HasNotification(ctx context.Context, key string) (found bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exportops_notifications WHERE key = ?)`, key).Scan(&found)
	if err != nil {
		return false, s.explain(fmt.Errorf("look for notification %s: %w", key, err))
	}
	return found, nil
}

const notificationColumns = `seq, id, key, channel, coalesce(incident_id, ''), state, attempts, failures, next_at, lease_until, last_error,
	body, created_at, settled_at`

// notificationsOf reads the notifications that a query yields, with the place of
// the last.
func notificationsOf(rows *sql.Rows, err error) (all []exportops.Notification, last int64, _ error) {
	if err != nil {
		return nil, 0, err
	}
	err = scanAll(rows, func() error {
		var n exportops.Notification
		var next, body, created string
		var lease, settled sql.NullString
		err := rows.Scan(&last, &n.ID, &n.Key, &n.Channel, &n.IncidentID, &n.State, &n.Attempts, &n.Failures, &next, &lease, &n.Error,
			&body, &created, &settled)
		if err == nil {
			err = json.Unmarshal([]byte(body), &n.Message)
		}
		n.NextAt, _ = exportops.ParseStoredTime(next)
		n.CreatedAt, _ = exportops.ParseStoredTime(created)
		n.LeaseUntil, n.SettledAt = timePtr(lease), timePtr(settled)
		all = append(all, n)
		return err
	})
	return all, last, err
}

// Notification implements exportops.NotificationStore.
func (s *Store) Notification(ctx context.Context, id string) (exportops.Notification, error) {
	all, _, err := notificationsOf(s.read.QueryContext(ctx, `SELECT `+notificationColumns+` FROM exportops_notifications WHERE id = ?`, id))
	switch {
	case err != nil:
		return exportops.Notification{}, s.explain(fmt.Errorf("read notification %s: %w", id, err))
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
	all, last, err := notificationsOf(s.read.QueryContext(ctx, `SELECT `+notificationColumns+` FROM exportops_notifications
		WHERE seq < ?1 AND (?2 = '' OR state = ?2) AND (?3 = '' OR channel = ?3) ORDER BY seq DESC LIMIT ?4`,
		before, f.State, f.Channel, limit))
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("list notifications: %w", err))
	}
	if len(all) < limit {
		return all, "", nil
	}
	return all, strconv.FormatInt(last, 10), nil
}

// NotificationBacklog implements exportops.NotificationStore.
func (s *Store) NotificationBacklog(ctx context.Context, late exportops.Time) (all []exportops.ChannelBacklog, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT channel, sum(pending), sum(late), sum(dead) FROM (
			SELECT channel, 1 AS pending, created_at < ? AS late, 0 AS dead FROM exportops_notifications WHERE state = 'pending'
			UNION ALL SELECT channel, 0, 0, 1 FROM exportops_notifications WHERE state = 'dead')
		GROUP BY channel ORDER BY channel`, late.String())
	if err != nil {
		return nil, s.explain(fmt.Errorf("count notifications: %w", err))
	}
	err = scanAll(rows, func() error {
		var b exportops.ChannelBacklog
		err := rows.Scan(&b.Channel, &b.Pending, &b.Late, &b.Dead)
		all = append(all, b)
		return err
	})
	return all, s.explain(err)
}
