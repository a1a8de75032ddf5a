package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// PlaceSilence implements exportops.AlertStore.
func (s *Store) PlaceSilence(ctx context.Context, q exportops.Silence) (exportops.Silence, error) {
	err := s.tx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO exportops.silences (rule, subject, until, reason, placed_by, placed_at)
			VALUES ($1, $2, $3::timestamptz, $4, $5, $6::timestamptz) RETURNING id`,
			q.Rule, q.Subject, q.Until.String(), q.Reason, q.PlacedBy, q.PlacedAt.String()).Scan(&q.ID)
		if err != nil {
			return fmt.Errorf("place a silence: %w", err)
		}
		return nil
	})
	return q, err
}

// EndSilence implements exportops.AlertStore.
func (s *Store) EndSilence(ctx context.Context, id int64, by string, now exportops.Time) (q exportops.Silence, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE exportops.silences SET ended_at = $2::timestamptz, ended_by = $3, until = $2::timestamptz
			WHERE id = $1 AND until > $2::timestamptz`, id, now.String(), by)
		if err != nil {
			return fmt.Errorf("end silence %d: %w", id, err)
		}
		all, err := silencesOf(tx.Query(ctx, `SELECT `+silenceColumns+` FROM exportops.silences WHERE id = $1`, id))
		if err != nil {
			return fmt.Errorf("read silence %d: %w", id, err)
		}
		if len(all) == 0 {
			return exportops.NoSuchSilence(id)
		}
		q = all[0]
		return nil
	})
	return q, err
}

// Silences implements exportops.AlertStore.
func (s *Store) Silences(ctx context.Context, after exportops.Time) (all []exportops.Silence, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		all, err = silencesOf(tx.Query(ctx, `SELECT `+silenceColumns+` FROM exportops.silences
			WHERE until > $1::timestamptz ORDER BY id DESC`, after.String()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list silences: %w", err)
	}
	return all, nil
}

const silenceColumns = `id, rule, subject, until, reason, placed_by, placed_at, ended_at, ended_by`

func silencesOf(rows pgx.Rows, err error) ([]exportops.Silence, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (q exportops.Silence, err error) {
		var until, placed time.Time
		var ended *time.Time
		err = row.Scan(&q.ID, &q.Rule, &q.Subject, &until, &q.Reason, &q.PlacedBy, &placed, &ended, &q.EndedBy)
		q.Until, q.PlacedAt, q.EndedAt = exportops.At(until), exportops.At(placed), timePtr(ended)
		return q, err
	})
}

// ForgetAlerts implements exportops.AlertStore.
func (s *Store) ForgetAlerts(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		n = 0
		for _, query := range []string{
			`DELETE FROM exportops.incident_events WHERE incident_id IN (
				SELECT id FROM exportops.incidents WHERE resolved_at < $1::timestamptz ORDER BY resolved_at, seq LIMIT $2)`,
			`DELETE FROM exportops.incidents WHERE seq IN (
				SELECT seq FROM exportops.incidents WHERE resolved_at < $1::timestamptz ORDER BY resolved_at, seq LIMIT $2)`,
			`DELETE FROM exportops.silences WHERE id IN (
				SELECT id FROM exportops.silences WHERE until < $1::timestamptz LIMIT $2)`,
			`DELETE FROM exportops.notifications WHERE seq IN (
				SELECT seq FROM exportops.notifications WHERE created_at < $1::timestamptz LIMIT $2)`,
		} {
			tag, err := tx.Exec(ctx, query, before.String(), limit)
			if err != nil {
				return fmt.Errorf("forget alerts: %w", err)
			}
			n += tag.RowsAffected()
		}
		return nil
	})
	return n, err
}
