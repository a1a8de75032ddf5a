package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// RestoreRows implements exportops.ArchiveStore.
func (s *Store) RestoreRows(ctx context.Context, rows []exportops.ArchivedRow, epoch int64, now exportops.Time) ([]bool, error) {
	added := make([]bool, len(rows))
	err := s.tx(ctx, func(tx *sql.Tx) error {
		if err := inEpoch(ctx, tx, epoch); err != nil {
			return err
		}
		var hours []string
		for i := range rows {
			var err error
			if added[i], err = s.restoreRow(ctx, tx, &rows[i]); err != nil {
				return fmt.Errorf("restore log row %q: %w", rows[i].ID, err)
			}
			m := rows[i].Metric
			if !added[i] || m == nil {
				continue
			}
			n, err := restoreMetric(ctx, tx, &rows[i], now)
			if err != nil {
				return fmt.Errorf("restore the metric of log row %q: %w", rows[i].ID, err)
			}
			if n > 0 && m.CountedHour != nil {
				hours = append(hours, *m.CountedHour)
			}
		}
		if len(hours) == 0 {
			return nil
		}
		// One that is not sealed is computed again, from its metrics.
		return s.dirty(ctx, tx, hours)
	})
	return added, err
}

func (s *Store) restoreRow(ctx context.Context, tx *sql.Tx, r *exportops.ArchivedRow) (bool, error) {
	column, value := "", ""
	args := []any{
		r.ID, r.ExportID, r.UserID, r.Timestamp, r.Format, r.Config, r.ConversationCount, r.FileSize, r.Status, r.FileURL,
		r.ExpiresAt, r.ErrorMessage, r.CreatedAt, r.UpdatedAt,
	}
	if s.sql("{downloads}") != "NULL" {
		column, value = ", downloaded_count", ", ?"
		args = append(args, r.DownloadedCount)
	}
	res, err := tx.ExecContext(ctx, s.sql(`INSERT INTO {logs} (id, export_id, user_id, timestamp, format, config, conversation_count,
			file_size, status, file_url, expires_at, error_message, created_at, updated_at`+column+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?`+value+`) ON CONFLICT DO NOTHING`), args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func restoreMetric(ctx context.Context, tx *sql.Tx, r *exportops.ArchivedRow, now exportops.Time) (int64, error) {
	m := r.Metric
	res, err := tx.ExecContext(ctx, `INSERT INTO exportops_export_metrics (export_id, user_id, format, status, attempt, source,
			conversation_count, duration_ms, file_size_bytes, error_type, error_message, timestamp, received_at, outcome, counted_hour)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1, ?14
		WHERE NOT EXISTS (SELECT 1 FROM exportops_export_metrics x WHERE x.export_id = ?1)`,
		r.ExportID, r.UserID, m.Format, m.Status, m.Attempt, m.Source, m.ConversationCount, m.DurationMS, m.FileSizeBytes,
		m.ErrorType, m.ErrorMessage, m.Timestamp, now.String(), m.CountedHour)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
