package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// RecordMetrics implements exportops.MetricStore.
func (s *Store) RecordMetrics(ctx context.Context, batch []exportops.Metric) ([]exportops.Receipt, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	receipts := make([]exportops.Receipt, len(batch))
	err := s.tx(ctx, func(tx *sql.Tx) error {
		r := recording{ctx: ctx, tx: tx}
		if err := r.prepare(); err != nil {
			return err
		}
		defer r.insert.Close()
		for i := range batch {
			var err error
			if receipts[i], err = r.record(&batch[i]); err != nil {
				return fmt.Errorf("record metric of export %s: %w", batch[i].ExportID, err)
			}
		}
		moved, err := s.recount(ctx, tx, r.touched)
		if err != nil {
			return err
		}
		return s.report(ctx, tx, append(r.changes, moved...))
	})
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

// recording is the transaction of one batch.
type recording struct {
	ctx     context.Context
	tx      *sql.Tx
	insert  *sql.Stmt
	touched []string          // exports with a new metric
	changes []exportops.Delta // what replaced metrics take from the rollups
}

const metricColumns = ` export_id, user_id, format, status, attempt,
	conversation_count, duration_ms, file_size_bytes, error_type, error_message, timestamp`

func (r *recording) prepare() (err error) {
	r.insert, err = r.tx.PrepareContext(r.ctx, `INSERT INTO exportops_export_metrics (source, received_at,`+metricColumns+`)
		VALUES ('measured', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (export_id, status, attempt) DO NOTHING`)
	return err
}

func (r *recording) record(m *exportops.Metric) (exportops.Receipt, error) {
	res, err := r.insert.ExecContext(r.ctx, m.ExportID, m.UserID, string(m.Format), string(m.Status), m.Attempt,
		m.ConversationCount, m.DurationMS, m.FileSizeBytes, m.ErrorType, m.ErrorMessage, m.Timestamp.String())
	if err != nil {
		return exportops.Receipt{}, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return exportops.Receipt{}, err
	}
	if n == 0 {
		return r.repeat(m)
	}
	r.touched = append(r.touched, m.ExportID)
	return exportops.Receipt{New: true}, nil
}

// repeat deals with a metric whose key is taken.
func (r *recording) repeat(m *exportops.Metric) (exportops.Receipt, error) {
	var id int64
	var source exportops.Source
	have := exportops.Metric{ExportID: m.ExportID, Status: m.Status, Attempt: m.Attempt, Timestamp: m.Timestamp}
	err := r.tx.QueryRowContext(r.ctx, `SELECT id, source, user_id, format, conversation_count, duration_ms, file_size_bytes,
			error_type, error_message
		FROM exportops_export_metrics WHERE export_id = ? AND status = ? AND attempt = ?`,
		m.ExportID, string(m.Status), m.Attempt).Scan(&id, &source, &have.UserID, &have.Format, &have.ConversationCount,
		&have.DurationMS, &have.FileSizeBytes, &have.ErrorType, &have.ErrorMessage)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		// Another constraint than the key turned the row away.
		return exportops.Receipt{}, errors.New("it was neither stored nor there")
	case err != nil:
		return exportops.Receipt{}, err
	case source == exportops.Observed:
		r.touched = append(r.touched, m.ExportID)
		return exportops.Receipt{New: true}, r.replace(id, m)
	}
	return exportops.Receipt{Err: m.Conflict(&have)}, nil
}

// replace puts what was measured in place of what was observed.
func (r *recording) replace(id int64, m *exportops.Metric) error {
	rows, err := r.tx.QueryContext(r.ctx, `SELECT`+countedColumns+` FROM exportops_export_metrics
		WHERE id = ? AND counted_hour IS NOT NULL`, id)
	if err != nil {
		return err
	}
	err = scanAll(rows, func() error {
		o, hour, err := scanCounted(rows)
		r.changes = append(r.changes, exportops.Delta{Hour: hour, Old: &o})
		return err
	})
	if err != nil {
		return err
	}
	_, err = r.tx.ExecContext(r.ctx, `UPDATE exportops_export_metrics
		SET (source, outcome, counted_hour,`+metricColumns+`) = ('measured', 0, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		WHERE id = ?`,
		m.ExportID, m.UserID, string(m.Format), string(m.Status), m.Attempt,
		m.ConversationCount, m.DurationMS, m.FileSizeBytes, m.ErrorType, m.ErrorMessage, m.Timestamp.String(), id)
	return err
}
