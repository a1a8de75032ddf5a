package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// PlaceSilence implements exportops.AlertStore.
func (s *Store) PlaceSilence(ctx context.Context, q exportops.Silence) (exportops.Silence, error) {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO exportops_silences (rule, subject, until, reason, placed_by, placed_at)
			VALUES (?, ?, ?, ?, ?, ?)`, q.Rule, q.Subject, q.Until.String(), q.Reason, q.PlacedBy, q.PlacedAt.String())
		if err != nil {
			return fmt.Errorf("place a silence: %w", err)
		}
		q.ID, err = res.LastInsertId()
		return err
	})
	return q, err
}

// EndSilence implements exportops.AlertStore.
func (s *Store) EndSilence(ctx context.Context, id int64, by string, now exportops.Time) (q exportops.Silence, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE exportops_silences SET ended_at = ?2, ended_by = ?3, until = ?2
			WHERE id = ?1 AND until > ?2`, id, now.String(), by)
		if err != nil {
			return fmt.Errorf("end silence %d: %w", id, err)
		}
		all, err := silencesOf(tx.QueryContext(ctx, `SELECT `+silenceColumns+` FROM exportops_silences WHERE id = ?`, id))
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
func (s *Store) Silences(ctx context.Context, after exportops.Time) ([]exportops.Silence, error) {
	all, err := silencesOf(s.read.QueryContext(ctx, `SELECT `+silenceColumns+` FROM exportops_silences
		WHERE until > ? ORDER BY id DESC`, after.String()))
	if err != nil {
		return nil, s.explain(fmt.Errorf("list silences: %w", err))
	}
	return all, nil
}

const silenceColumns = `id, rule, subject, until, reason, placed_by, placed_at, ended_at, ended_by`

func silencesOf(rows *sql.Rows, err error) (all []exportops.Silence, _ error) {
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func() error {
		var q exportops.Silence
		var until, placed string
		var ended sql.NullString
		err := rows.Scan(&q.ID, &q.Rule, &q.Subject, &until, &q.Reason, &q.PlacedBy, &placed, &ended, &q.EndedBy)
		q.Until, _ = exportops.ParseStoredTime(until)
		q.PlacedAt, _ = exportops.ParseStoredTime(placed)
		q.EndedAt = timePtr(ended)
		all = append(all, q)
		return err
	})
	return all, err
}

// ForgetAlerts implements exportops.AlertStore.
func (s *Store) ForgetAlerts(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		n = 0
		for _, query := range []string{
			`DELETE FROM exportops_incident_events WHERE incident_id IN (
				SELECT id FROM exportops_incidents WHERE resolved_at < ?1 ORDER BY resolved_at, seq LIMIT ?2)`,
			`DELETE FROM exportops_incidents WHERE seq IN (
				SELECT seq FROM exportops_incidents WHERE resolved_at < ?1 ORDER BY resolved_at, seq LIMIT ?2)`,
			`DELETE FROM exportops_silences WHERE id IN (SELECT id FROM exportops_silences WHERE until < ?1 LIMIT ?2)`,
			`DELETE FROM exportops_notifications WHERE seq IN (
				SELECT seq FROM exportops_notifications WHERE created_at < ?1 LIMIT ?2)`,
		} {
			res, err := tx.ExecContext(ctx, query, before.String(), limit)
			if err != nil {
				return fmt.Errorf("forget alerts: %w", err)
			}
			if n, err = addRows(n, res); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func addRows(n int64, res sql.Result) (int64, error) {
	more, err := res.RowsAffected()
	return n + more, err
}
