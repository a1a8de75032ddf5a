package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// finished and running are the statuses that a metric can report.
const (
	finished = `('completed', 'failed')`
	running  = `('queued', 'processing')`
)

// recountQuery ranks the metrics of exports, in a total order so that the order
// of arrival does not matter: what finished, what was measured, the latest
// attempt, the latest in time, and a failure before a success. The first is what
// the export counts as, in the hour of its row where there is one that can be
// read. It yields the metrics that are to change.
var recountQuery = `
	WITH ranked AS (
		SELECT m.*, row_number() OVER (PARTITION BY m.export_id ORDER BY m.status IN ` + finished + ` DESC,
			m.source = 'measured' DESC, m.attempt DESC, m.timestamp DESC,
			array_position('{queued,processing,completed,failed}'::text[], m.status) DESC) = 1 AS best
		FROM exportops.export_metrics m WHERE m.export_id = ANY($1::uuid[])
	), m AS (
		SELECT r.*, CASE WHEN r.best AND r.status IN ` + finished + ` THEN date_trunc('hour', coalesce(
			(SELECT min(e.timestamp) FROM {logs} e WHERE e.export_id = r.export_id AND ` + readable(`e.timestamp`) + `), r.timestamp), 'UTC') END AS place
		FROM ranked r
	)
	SELECT m.id, m.outcome, m.best, m.place::text,` + countedColumns + `
	FROM m WHERE m.outcome <> m.best OR m.counted_hour IS DISTINCT FROM m.place`

// decision is what recount is about to write.
type decision struct {
	ids     []int64
	best    []bool
	places  []*string
	changes []exportops.Delta
}

// recount decides anew what exports count as and in which hour, and reports what
// changes by that, and what changed earlier in the transaction. The exports'
// turns are taken.
func (s *Store) recount(ctx context.Context, tx pgx.Tx, exports []string, earlier []exportops.Delta) error {
	if len(exports) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, s.sql(recountQuery), exports)
	if err != nil {
		return fmt.Errorf("read metrics of exports: %w", err)
	}
	d := decision{changes: earlier}
	var id int64
	var was, is bool
	var place *string
	var c counted
	_, err = pgx.ForEachRow(rows, append([]any{&id, &was, &is, &place}, c.columns()...), func() error {
		return d.add(id, is, place, c)
	})
	if err != nil {
		return fmt.Errorf("read metrics of exports: %w", err)
	}
	if err := s.report(ctx, tx, d.changes); err != nil || len(d.ids) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE exportops.export_metrics AS m SET outcome = n.best, counted_hour = n.place
		FROM unnest($1::bigint[], $2::boolean[], $3::timestamptz[]) AS n (id, best, place) WHERE m.id = n.id`,
		d.ids, d.best, d.places)
	if err != nil {
		return fmt.Errorf("set outcomes: %w", err)
	}
	return nil
}

func (d *decision) add(id int64, best bool, place *string, c counted) error {
	o, hour, err := c.outcome()
	if err != nil {
		return err
	}
	d.ids, d.best, d.places = append(d.ids, id), append(d.best, best), append(d.places, place)
	if !hour.IsZero() {
		d.changes = append(d.changes, exportops.Delta{Hour: hour, Old: o})
	}
	if place == nil {
		return nil
	}
	now, err := timeOf(*place)
	d.changes = append(d.changes, exportops.Delta{Hour: now, New: o})
	return err
}
