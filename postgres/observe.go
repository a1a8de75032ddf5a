package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// unfrozen says of a row e and its outcome m, if any, that the row is finished
// and no metric says so yet. An observed outcome follows its row while nobody
// measured, because applications try failed exports again under their old id.
const unfrozen = `e.status IN ('completed', 'failed', 'expired') AND (m.id IS NULL OR m.status IN ` + running + `
	OR (m.source = 'observed' AND e.status IN ` + finished + ` AND e.status <> m.status))`

// withOutcome reads rows of the export logs, each with the metric that its
// export counts as.
const withOutcome = ` FROM {logs} e LEFT JOIN exportops.export_metrics m ON m.export_id = e.export_id AND m.outcome`

// nobody stands for the user of a row that names none.
const nobody = `'00000000-0000-0000-0000-000000000000'::uuid`

// What a row says of its export, for a query that has the row as e.
const (
	rowUser   = `coalesce(e.user_id, ` + nobody + `)`
	rowFormat = `coalesce(e.format::text, '')`
	rowSize   = `CASE WHEN e.file_size >= 0 THEN e.file_size END`
	rowCount  = `greatest(coalesce(e.conversation_count, 0), 0)`

	// rowError is what stands before the first colon, where that looks like the
	// name of a type: by habit messages are "ErrorType: detail".
	rowError = `coalesce(substring(e.error_message from '^([A-Za-z_][A-Za-z0-9_.]{0,63}):'), 'Unknown')`
)

// rowDuration is in the milliseconds that the domain has: each end is cut first.
var rowDuration = `CASE WHEN e.status IN ` + finished + ` AND e.updated_at >= e.created_at
		AND ` + readable(`e.created_at`) + ` AND ` + readable(`e.updated_at`) + `
	THEN (extract(epoch FROM date_trunc('milliseconds', e.updated_at) - date_trunc('milliseconds', e.created_at)) * 1000)::bigint END`

// observeQuery looks at rows and records what it sees in one statement: the
// application may change a row between two. It looks for the metrics of each (OFFSET
// keeps the planner from joining, which reads all metrics of a table of some ten
// thousand). It yields for each what its export
// counted as until now, and what it counts as from now on.
var observeQuery = `
	WITH seen AS MATERIALIZED (
		SELECT DISTINCT ON (e.export_id) e.export_id, ` + rowUser + ` AS user_id, ` + rowFormat + ` AS format,
			CASE e.status WHEN 'failed' THEN 'failed' ELSE 'completed' END AS status,
			(SELECT coalesce(max(x.attempt), 0) + 1 FROM exportops.export_metrics x
				WHERE x.export_id = e.export_id AND x.status IN ` + finished + `) AS attempt,
			` + rowCount + ` AS conversation_count, ` + rowDuration + ` AS duration_ms, ` + rowSize + ` AS file_size_bytes,
			CASE e.status WHEN 'failed' THEN ` + rowError + ` END AS error_type,
			CASE e.status WHEN 'failed' THEN left(e.error_message, 8192) END AS error_message,
			CASE WHEN ` + readable(`e.timestamp`) + ` THEN e.timestamp WHEN ` + readable(`e.created_at`) + ` THEN e.created_at
				ELSE $2::timestamptz END AS timestamp,
			m.id AS before
		FROM {logs} e LEFT JOIN LATERAL (SELECT x.* FROM exportops.export_metrics x
			WHERE x.export_id = e.export_id AND x.outcome OFFSET 0) m ON true
		WHERE e.export_id = ANY($1::uuid[]) AND ` + unfrozen + `
		ORDER BY e.export_id
	), added AS (
		INSERT INTO exportops.export_metrics AS a (export_id, user_id, format, status, attempt, source, conversation_count,
			duration_ms, file_size_bytes, error_type, error_message, timestamp, received_at, outcome, counted_hour)
		SELECT n.export_id, n.user_id, n.format, n.status, n.attempt, 'observed', n.conversation_count,
			n.duration_ms, n.file_size_bytes, n.error_type, n.error_message, n.timestamp, $2::timestamptz, true,
			date_trunc('hour', n.timestamp, 'UTC')
		FROM seen n RETURNING a.*
	)
	SELECT 0,` + countedColumns + ` FROM added m
	UNION ALL
	SELECT m.id,` + countedColumns + ` FROM exportops.export_metrics m WHERE m.id IN (SELECT n.before FROM seen n)`

// observe freezes what is known of rows that are finished and that no metric
// says so of: it records an observed metric for each, which becomes the export's
// outcome. It returns how many it recorded. The exports' turns are taken.
func (s *Store) observe(ctx context.Context, tx pgx.Tx, now exportops.Time, exports []string) (n int64, err error) {
	rows, err := tx.Query(ctx, s.sql(observeQuery), exports, now.String())
	if err != nil {
		return 0, fmt.Errorf("record what rows say: %w", err)
	}
	var changes []exportops.Delta
	var displaced []int64
	var id int64
	var c counted
	_, err = pgx.ForEachRow(rows, append([]any{&id}, c.columns()...), func() error {
		o, hour, err := c.outcome()
		switch {
		case err != nil:
			return err
		case id == 0:
			n++
			changes = append(changes, exportops.Delta{Hour: hour, New: o})
			return nil
		case !hour.IsZero():
			changes = append(changes, exportops.Delta{Hour: hour, Old: o})
		}
		displaced = append(displaced, id)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("record what rows say: %w", err)
	}
	if err := s.report(ctx, tx, changes); err != nil || len(displaced) == 0 {
		return n, err
	}
	_, err = tx.Exec(ctx, `UPDATE exportops.export_metrics SET outcome = false, counted_hour = NULL
		WHERE id = ANY($1::bigint[])`, displaced)
	if err != nil {
		return n, fmt.Errorf("set aside what was known: %w", err)
	}
	return n, nil
}
