package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/exportops/exportops"
)

// SaveIncident implements exportops.AlertStore.
func (s *Store) SaveIncident(ctx context.Context, i exportops.Incident, events []exportops.IncidentEvent,
	tell []exportops.Notification,
) (saved bool, err error) {
	body, err := json.Marshal(i)
	if err != nil {
		return false, fmt.Errorf("write incident %s: %w", i.ID, err)
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		query := `INSERT INTO exportops_incidents (id, rule, subject, state, fired_at, resolved_at, body, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, 1 + ?) ON CONFLICT DO NOTHING`
		args := []any{i.ID, i.Rule, i.Subject, i.State, timeText(i.FiredAt), timeText(i.ResolvedAt), string(body), i.Version}
		if i.Version > 0 {
			query = `UPDATE exportops_incidents SET state = ?4, fired_at = ?5, resolved_at = ?6, body = ?7, version = 1 + ?8
				WHERE id = ?1 AND rule = ?2 AND subject = ?3 AND version = ?8`
		}
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("keep incident %s: %w", i.ID, err)
		}
		n, err := res.RowsAffected()
		if saved = n == 1; err != nil || !saved {
			return err
		}
		for _, e := range events {
			_, err := tx.ExecContext(ctx, `INSERT INTO exportops_incident_events (incident_id, at, step, value, by, note)
				VALUES (?, ?, ?, ?, ?, ?)`, i.ID, e.At.String(), e.Step, e.Value, e.By, e.Note)
			if err != nil {
				return fmt.Errorf("keep what happened to incident %s: %w", i.ID, err)
			}
		}
		_, err = enqueue(ctx, tx, tell)
		return err
	})
	return saved && err == nil, err
}

const incidentColumns = `seq, version, body`

// incidentsOf reads the incidents that a query yields, with the place of the last.
func incidentsOf(rows *sql.Rows, err error) (all []exportops.Incident, last int64, _ error) {
	if err != nil {
		return nil, 0, err
	}
	err = scanAll(rows, func() error {
		var i exportops.Incident
		var version int64
		var body string
		err := rows.Scan(&last, &version, &body)
		if err == nil {
			err = json.Unmarshal([]byte(body), &i)
		}
		i.Version = version
		all = append(all, i)
		return err
	})
	return all, last, err
}

// OpenIncidents implements exportops.AlertStore.
func (s *Store) OpenIncidents(ctx context.Context) ([]exportops.Incident, error) {
	all, _, err := incidentsOf(s.read.QueryContext(ctx, `SELECT `+incidentColumns+` FROM exportops_incidents
		WHERE state <> 'resolved' ORDER BY rule, subject`))
	if err != nil {
		return nil, s.explain(fmt.Errorf("read open incidents: %w", err))
	}
	return all, nil
}

// Incident implements exportops.AlertStore.
func (s *Store) Incident(ctx context.Context, id string) (exportops.Incident, error) {
	all, _, err := incidentsOf(s.read.QueryContext(ctx, `SELECT `+incidentColumns+` FROM exportops_incidents WHERE id = ?`, id))
	switch {
	case err != nil:
		return exportops.Incident{}, s.explain(fmt.Errorf("read incident %s: %w", id, err))
	case len(all) == 0:
		return exportops.Incident{}, exportops.NoSuchIncident(id)
	}
	return all[0], nil
}

// Incidents implements exportops.AlertStore.
func (s *Store) Incidents(ctx context.Context, f exportops.IncidentFilter) ([]exportops.Incident, string, error) {
	limit := exportops.PageSize(f.Limit)
	before, err := exportops.PageBefore(f.Before)
	if err != nil {
		return nil, "", err
	}
	all, last, err := incidentsOf(s.read.QueryContext(ctx, `SELECT `+incidentColumns+` FROM exportops_incidents
		WHERE seq < ?1 AND (?2 = '' OR rule = ?2) AND (NOT ?3 OR state <> 'resolved') AND (NOT ?4 OR fired_at IS NOT NULL)
		ORDER BY seq DESC LIMIT ?5`, before, f.Rule, f.Open, f.Fired, limit))
	if err != nil {
		return nil, "", s.explain(fmt.Errorf("list incidents: %w", err))
	}
	if len(all) < limit {
		return all, "", nil
	}
	return all, strconv.FormatInt(last, 10), nil
}

// IncidentHistory implements exportops.AlertStore.
func (s *Store) IncidentHistory(ctx context.Context, id string) (all []exportops.IncidentEvent, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT at, step, value, by, note FROM exportops_incident_events
		WHERE incident_id = ? ORDER BY seq`, id)
	if err != nil {
		return nil, s.explain(fmt.Errorf("read what happened to incident %s: %w", id, err))
	}
	err = scanAll(rows, func() error {
		e := exportops.IncidentEvent{IncidentID: id}
		var at string
		err := rows.Scan(&at, &e.Step, &e.Value, &e.By, &e.Note)
		e.At, _ = exportops.ParseStoredTime(at)
		all = append(all, e)
		return err
	})
	return all, s.explain(err)
}
