package postgres

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// loneMetric says of an outcome m that it finished, that no row stands for its
// export, and that the rollup of its hour holds it.
var loneMetric = `m.outcome AND m.status IN ('completed', 'failed')
	AND NOT EXISTS (SELECT 1 FROM {logs} e WHERE e.export_id = m.export_id)
	AND EXISTS (SELECT 1 FROM exportops.rollup_hours h WHERE h.start = m.counted_hour AND (h.clean OR h.sealed))
	AND NOT (` + heldBy("m.export_id", "m.user_id") + `)`

// DeleteLoneMetrics implements exportops.LogStore. It looks without a lock, and judges
// again once the exports' turns are taken and the hours are locked.
func (s *Store) DeleteLoneMetrics(ctx context.Context, c exportops.Checkpoint, sel exportops.LogSelection,
	after exportops.Cursor, limit int, progress exportops.TraceProgress,
) (deleted int64, next exportops.Cursor, err error) {
	exports, next, err := s.lonePage(ctx, sel, after, limit)
	if err != nil || len(exports) == 0 {
		return 0, "", err
	}
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
			if err := takeTurns(ctx, tx, exports); err != nil { // whoever adds a row of one looks at its metrics
				return err
			}
			still, err := s.stillLone(ctx, tx, exports)
			if err != nil {
				return err
			}
			if deleted = int64(len(still)); deleted == 0 {
				return nil
			}
			if err := sealHours(ctx, tx, []string{}, still); err != nil {
				return err
			}
			if err := deleteMetrics(ctx, tx, still); err != nil || progress == nil {
				return err
			}
			result, err := progress(deleted)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE exportops.runs SET result = $2::json WHERE id = $1`, c.RunID, nullJSON(result))
			if err != nil {
				return fmt.Errorf("keep the result: %w", err)
			}
			return nil
		})
	})
	return deleted, next, err
}

// stillLone locks the hours that count exports, and returns those that are lone all the
// same. One that another hour counts by now stays: that is not locked.
func (s *Store) stillLone(ctx context.Context, tx pgx.Tx, exports []string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT h.start::text FROM exportops.rollup_hours h WHERE `+countingHours+`
		ORDER BY h.start FOR UPDATE OF h`, []string{}, exports)
	if err != nil {
		return nil, fmt.Errorf("lock hours: %w", err)
	}
	hours, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("lock hours: %w", err)
	}
	rows, err = tx.Query(ctx, s.sql(`SELECT m.export_id::text FROM exportops.export_metrics m
		WHERE m.export_id = ANY($1::uuid[]) AND m.counted_hour = ANY($2::timestamptz[]) AND `+loneMetric), exports, hours)
	if err != nil {
		return nil, fmt.Errorf("read lone metrics: %w", err)
	}
	still, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read lone metrics: %w", err)
	}
	return still, nil
}

// lonePage goes through the metrics by their ids: one pass over all of them.
func (s *Store) lonePage(ctx context.Context, sel exportops.LogSelection, after exportops.Cursor, limit int) (
	exports []string, next exportops.Cursor, err error,
) {
	var from int64
	if after != "" {
		if from, err = strconv.ParseInt(string(after), 10, 64); err != nil {
			return nil, "", fmt.Errorf("cursor %q: %w", after, err)
		}
	}
	where, args := ``, []any{from, limit}
	if sel.UserID != "" {
		args = append(args, userArg(sel.UserID))
		where += fmt.Sprintf(` AND m.user_id = $%d::uuid`, len(args))
	}
	if !sel.Cut.IsZero() {
		args = append(args, sel.Cut.String())
		where += fmt.Sprintf(` AND m.timestamp < $%d::timestamptz`, len(args))
	}
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, s.sql(`SELECT m.id, m.export_id::text FROM exportops.export_metrics m
			WHERE m.id > $1 AND `+loneMetric+where+` ORDER BY m.id LIMIT $2`), args...)
		if err != nil {
			return fmt.Errorf("look for lone metrics: %w", err)
		}
		var export string
		_, err = pgx.ForEachRow(rows, []any{&from, &export}, func() error {
			exports = append(exports, export)
			return nil
		})
		return err
	})
	if len(exports) == limit {
		next = exportops.Cursor(strconv.FormatInt(from, 10))
	}
	return exports, next, err
}
