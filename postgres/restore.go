package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// RestoreRows implements exportops.ArchiveStore.
func (s *Store) RestoreRows(ctx context.Context, rows []exportops.ArchivedRow, epoch int64, now exportops.Time) (added []bool, err error) {
	list, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("restore log rows: %w", err)
	}
	exports := make([]string, len(rows))
	for i, r := range rows {
		exports[i] = r.ExportID
	}
	err = s.again(ctx, func() error {
		return s.tx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::int, 0)`, lockArchives); err != nil {
				return fmt.Errorf("restore log rows: %w", err)
			}
			if err := inEpoch(ctx, tx, epoch); err != nil {
				return err
			}
			if err := takeTurns(ctx, tx, exports); err != nil {
				return err
			}
			ids, err := s.restoreRows(ctx, tx, string(list))
			if err != nil {
				return fmt.Errorf("restore log rows: %w", refused(err))
			}
			fresh := make(map[string]bool, len(ids))
			for _, id := range ids {
				fresh[id] = true
			}
			added = make([]bool, len(rows))
			for i, r := range rows {
				added[i] = fresh[r.ID]
				delete(fresh, r.ID) // the same twice is new once
			}
			return restoreMetrics(ctx, tx, string(list), ids, now)
		})
	})
	return added, err
}

func (s *Store) restoreRows(ctx context.Context, tx pgx.Tx, list string) ([]string, error) {
	column, value := "", ""
	if s.downloads {
		column, value = ", downloaded_count", ", n.downloaded_count"
	}
	rows, err := tx.Query(ctx, s.sql(`
		INSERT INTO {logs} AS e (id, export_id, user_id, timestamp, format, config, conversation_count, file_size, status, file_url,
			expires_at, error_message, created_at, updated_at`+column+`)
		SELECT n.id, n.export_id, n.user_id, n.timestamp, n.format, n.config::json, n.conversation_count, n.file_size, n.status,
			n.file_url, n.expires_at, n.error_message, n.created_at, n.updated_at`+value+`
		FROM json_to_recordset($1::json) AS n (id uuid, export_id uuid, user_id uuid, timestamp timestamptz, format text, config text,
			conversation_count bigint, file_size bigint, status text, file_url text, expires_at timestamptz, error_message text,
			created_at timestamptz, updated_at timestamptz, downloaded_count bigint)
		ON CONFLICT DO NOTHING RETURNING e.id::text`), list)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// restoreMetrics adds the metrics of rows that were added. Hours that are not sealed
// are computed again from their metrics.
func restoreMetrics(ctx context.Context, tx pgx.Tx, list string, ids []string, now exportops.Time) error {
	rows, err := tx.Query(ctx, `
		INSERT INTO exportops.export_metrics AS x (export_id, user_id, format, status, attempt, source, conversation_count, duration_ms,
			file_size_bytes, error_type, error_message, timestamp, received_at, outcome, counted_hour)
		SELECT n.export_id, n.user_id, m.format, m.status, m.attempt, m.source, m.conversation_count, m.duration_ms,
			m.file_size_bytes, m.error_type, m.error_message, m.timestamp, $3::timestamptz, true, m.counted_hour
		FROM json_to_recordset($1::json) AS n (id uuid, export_id uuid, user_id uuid, metric json)
			CROSS JOIN LATERAL json_to_record(n.metric) AS m (format text, status text, attempt bigint, source text,
				conversation_count bigint, duration_ms bigint, file_size_bytes bigint, error_type text, error_message text,
				timestamp timestamptz, counted_hour timestamptz)
		WHERE json_typeof(n.metric) = 'object' AND n.id = ANY($2::uuid[])
			AND NOT EXISTS (SELECT 1 FROM exportops.export_metrics y WHERE y.export_id = n.export_id)
		RETURNING x.counted_hour::text`, list, ids, now.String())
	if err != nil {
		return fmt.Errorf("restore metrics: %w", err)
	}
	counted, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err != nil {
		return fmt.Errorf("restore metrics: %w", err)
	}
	var hours []exportops.Time
	for _, text := range counted {
		if text == nil {
			continue
		}
		hour, err := timeOf(*text)
		if err != nil {
			return fmt.Errorf("restore metrics: %w", err)
		}
		hours = append(hours, hour)
	}
	if len(hours) == 0 {
		return nil
	}
	_, err = dirty(ctx, tx, hours)
	return err
}
