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

// SaveIncident implements exportops.AlertStore.
func (s *Store) SaveIncident(ctx context.Context, i exportops.Incident, events []exportops.IncidentEvent,
	tell []exportops.Notification,
) (saved bool, err error) {
	body, err := json.Marshal(i)
	if err != nil {
		return false, fmt.Errorf("write incident %s: %w", i.ID, err)
	}
	err = s.tx(ctx, func(tx pgx.Tx) error {
		query := `INSERT INTO exportops.incidents (id, rule, subject, state, fired_at, resolved_at, body, version)
			VALUES ($1::uuid, $2, $3, $4, $5::timestamptz, $6::timestamptz, $7::jsonb, 1 + $8::bigint) ON CONFLICT DO NOTHING`
		if i.Version > 0 {
			query = `UPDATE exportops.incidents SET state = $4, fired_at = $5::timestamptz, resolved_at = $6::timestamptz,
					body = $7::jsonb, version = 1 + $8::bigint
				WHERE id = $1::uuid AND rule = $2 AND subject = $3 AND version = $8::bigint`
		}
		tag, err := tx.Exec(ctx, query, i.ID, i.Rule, i.Subject, string(i.State), timeText(i.FiredAt), timeText(i.ResolvedAt), string(body), i.Version)
		if err != nil {
			return fmt.Errorf("keep incident %s: %w", i.ID, err)
		}
		if saved = tag.RowsAffected() == 1; !saved {
			return nil
		}
		for _, e := range events {
			_, err := tx.Exec(ctx, `INSERT INTO exportops.incident_events (incident_id, at, step, value, by, note)
				VALUES ($1::uuid, $2::timestamptz, $3, $4, $5, $6)`, i.ID, e.At.String(), string(e.Step), e.Value, e.By, e.Note)
			if err != nil {
				return fmt.Errorf("keep what happened to incident %s: %w", i.ID, err)
			}
		}
		_, err = enqueue(ctx, tx, tell)
		return err
	})
	return saved && err == nil, err
}

const incidentColumns = `i.seq, i.version, i.body::text FROM exportops.incidents i `

// incidents reads those that a query yields, with the place of the last.
func (s *Store) incidents(ctx context.Context, doing, where string, args ...any) (all []exportops.Incident, last int64, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+incidentColumns+where, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i exportops.Incident, err error) {
			var version int64
			var body string
			if err = row.Scan(&last, &version, &body); err == nil {
				err = json.Unmarshal([]byte(body), &i)
			}
			i.Version = version
			return i, err
		})
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", doing, err)
	}
	return all, last, nil
}

// OpenIncidents implements exportops.AlertStore.
func (s *Store) OpenIncidents(ctx context.Context) ([]exportops.Incident, error) {
	all, _, err := s.incidents(ctx, "read open incidents", `WHERE i.state <> 'resolved' ORDER BY i.rule COLLATE "C", i.subject COLLATE "C"`)
	return all, err
}

// Incident implements exportops.AlertStore.
func (s *Store) Incident(ctx context.Context, id string) (exportops.Incident, error) {
	all, _, err := s.incidents(ctx, "read incident "+id, `WHERE i.id = $1::uuid`, userArg(id))
	switch {
	case err != nil:
		return exportops.Incident{}, err
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
	all, last, err := s.incidents(ctx, "list incidents", `WHERE i.seq < $1 AND ($2 = '' OR i.rule = $2)
		AND (NOT $3 OR i.state <> 'resolved') AND (NOT $4 OR i.fired_at IS NOT NULL) ORDER BY i.seq DESC LIMIT $5`,
		before, f.Rule, f.Open, f.Fired, limit)
	if err != nil || len(all) < limit {
		return all, "", err
	}
	return all, strconv.FormatInt(last, 10), nil
}

// IncidentHistory implements exportops.AlertStore.
func (s *Store) IncidentHistory(ctx context.Context, id string) (all []exportops.IncidentEvent, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT at, step, value, by, note FROM exportops.incident_events
			WHERE incident_id = $1::uuid ORDER BY seq`, userArg(id))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (exportops.IncidentEvent, error) {
			e := exportops.IncidentEvent{IncidentID: id}
			var at time.Time
			err := row.Scan(&at, (*string)(&e.Step), &e.Value, &e.By, &e.Note)
			e.At = exportops.At(at)
			return e, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what happened to incident %s: %w", id, err)
	}
	return all, nil
}
