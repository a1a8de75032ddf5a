package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// finished and running are the statuses that a metric can report.
const (
	finished = `('completed', 'failed')`
	running  = `('queued', 'processing')`
)

// unfrozen says of a row e and its outcome m, if any, that the row is finished
// and no metric says so yet. An observed outcome follows its row while nobody
// measured, because applications try failed exports again under their old id.
// The plus keeps SQLite from the index on status, which holds nearly all rows:
// whoever asks knows the exports, or the time, it is about.
const unfrozen = `+e.status IN ('completed', 'failed', 'expired') AND (m.id IS NULL OR m.status IN ` + running + `
	OR (m.source = 'observed' AND e.status IN ` + finished + ` AND e.status <> m.status))`

// withOutcome reads rows of the export logs, each with the metric that its
// export counts as.
const withOutcome = `FROM {logs} e LEFT JOIN exportops_export_metrics m ON m.export_id = e.export_id AND m.outcome = 1`

// What a row says of its export, for a query that has the row as e.
const (
	// Any program may have written the row: a time counts only where it reads
	// back as it is written, and where the domain reads it: not of the year nought.
	exactTimestamp = `(strftime('%Y-%m-%dT%H:%M:%fZ', e.timestamp) = e.timestamp AND +e.timestamp >= '0001')`

	rowDuration = `CASE WHEN e.status IN ` + finished + `
		AND strftime('%Y-%m-%dT%H:%M:%fZ', e.created_at) = e.created_at
		AND strftime('%Y-%m-%dT%H:%M:%fZ', e.updated_at) = e.updated_at AND e.updated_at >= e.created_at
		THEN CAST(round((julianday(e.updated_at) - julianday(e.created_at)) * 86400000) AS INTEGER) END`

	rowSize = `CASE WHEN typeof(e.file_size) = 'integer' AND e.file_size >= 0 THEN e.file_size END`

	rowCount = `CASE WHEN typeof(e.conversation_count) = 'integer' AND e.conversation_count >= 0
		THEN e.conversation_count ELSE 0 END`

	// rowError is what stands before the first colon, where that looks like the
	// name of a type: by habit messages are "ErrorType: detail".
	rowError = `CASE WHEN instr(e.error_message, ':') BETWEEN 2 AND 65
		AND substr(e.error_message, 1, 1) GLOB '[A-Za-z_]'
		AND substr(e.error_message, 1, instr(e.error_message, ':') - 1) NOT GLOB '*[^A-Za-z0-9_.]*'
		THEN substr(e.error_message, 1, instr(e.error_message, ':') - 1) ELSE 'Unknown' END`
)

// observe freezes what is known of rows that are finished and that no metric
// says so of: it records an observed metric for each, which becomes the
// export's outcome. The rows are those e of the export logs that cond selects.
// It returns how many it recorded.
func (s *Store) observe(ctx context.Context, tx *sql.Tx, now exportops.Time, cond string, args ...any) (int64, error) {
	changes, err := s.displace(ctx, tx, cond, args)
	if err != nil {
		return 0, fmt.Errorf("set aside what was known: %w", err)
	}
	// Rows that no metric can stand for, such as one without an export_id or
	// with another's, are left out: one of them must not stop the others.
	rows, err := tx.QueryContext(ctx, s.sql(`
		INSERT OR IGNORE INTO exportops_export_metrics (export_id, user_id, format, status, attempt, source,
			conversation_count, duration_ms, file_size_bytes, error_type, error_message,
			timestamp, received_at, outcome, counted_hour)
		SELECT e.export_id, coalesce(e.user_id, ''), coalesce(e.format, ''),
			CASE e.status WHEN 'failed' THEN 'failed' ELSE 'completed' END,
			(SELECT coalesce(max(attempt), 0) + 1 FROM exportops_export_metrics x
				WHERE x.export_id = e.export_id AND x.status IN `+finished+`),
			'observed', `+rowCount+`, `+rowDuration+`, `+rowSize+`,
			CASE e.status WHEN 'failed' THEN `+rowError+` END,
			CASE e.status WHEN 'failed' THEN substr(e.error_message, 1, 8192) END,
			e.exportops_at, ?, 1, substr(e.exportops_at, 1, 13) || ':00:00.000Z'
		FROM (SELECT e.*, CASE WHEN `+exactTimestamp+` THEN e.timestamp
				WHEN strftime('%Y-%m-%dT%H:%M:%fZ', e.created_at) = e.created_at AND e.created_at >= '0001' THEN e.created_at
				ELSE ? END AS exportops_at
			`+withOutcome+` WHERE (`+unfrozen+`) AND (`+cond+`)) e
		RETURNING`+countedColumns), append([]any{now.String(), now.String()}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("record what rows say: %w", err)
	}
	var n int64
	err = scanAll(rows, func() error {
		o, hour, err := scanCounted(rows)
		if err != nil {
			return err
		}
		n++
		changes = append(changes, exportops.Delta{Hour: hour, New: &o})
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("record what rows say: %w", err)
	}
	return n, s.report(ctx, tx, changes)
}

// displace takes the outcome from the metrics that observe is about to replace,
// and returns what the rollups lose by it.
func (s *Store) displace(ctx context.Context, tx *sql.Tx, cond string, args []any) ([]exportops.Delta, error) {
	rows, err := tx.QueryContext(ctx, s.sql(`SELECT id,`+countedColumns+` FROM exportops_export_metrics
		WHERE id IN (SELECT m.id `+withOutcome+` WHERE m.id IS NOT NULL AND (`+unfrozen+`) AND (`+cond+`))`), args...)
	if err != nil {
		return nil, err
	}
	var ids []int64
	var changes []exportops.Delta
	err = scanAll(rows, func() error {
		var id int64
		o, hour, err := scanCounted(rows, &id)
		if err != nil {
			return err
		}
		ids = append(ids, id)
		if !hour.IsZero() {
			changes = append(changes, exportops.Delta{Hour: hour, Old: &o})
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	list, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE exportops_export_metrics SET outcome = 0, counted_hour = NULL
		WHERE id IN (SELECT value FROM json_each(?))`, list)
	return changes, err
}
