package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// ImportExports implements exportops.ExportStore.
func (s *Store) ImportExports(ctx context.Context, batch []exportops.Export, now exportops.Time) ([]exportops.Receipt, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	receipts := make([]exportops.Receipt, len(batch))
	known, err := s.capitals(ctx, batch)
	if err != nil {
		return nil, err
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var exports, hours []string
		for i := range batch {
			var err error
			if receipts[i], err = s.importExport(ctx, tx, &batch[i], known[batch[i].ExportID]); err != nil {
				return fmt.Errorf("import export %s: %w", batch[i].ExportID, err)
			}
			if receipts[i].New {
				exports = append(exports, batch[i].ExportID)
				hours = append(hours, batch[i].Timestamp.Hour().String())
			}
		}
		if len(exports) == 0 {
			return nil
		}
		list, err := jsonList(exports)
		if err != nil {
			return err
		}
		if err := s.dirty(ctx, tx, hours); err != nil {
			return err
		}
		if _, err := s.observe(ctx, tx, now, `e.export_id IN (SELECT value FROM json_each(?))`, list); err != nil {
			return err
		}
		return s.place(ctx, tx, exports)
	})
	if err != nil {
		return nil, err
	}
	return receipts, nil
}

// capitals returns the ids of exports that have a row in which they are written in
// another case, as it has them. It is asked before the transaction: it takes as long.
func (s *Store) capitals(ctx context.Context, batch []exportops.Export) (map[string]string, error) {
	ids := make([]string, len(batch))
	for i := range batch {
		ids[i] = batch[i].ExportID
	}
	list, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, s.sql(`SELECT j.value, e.export_id FROM json_each(?) j CROSS JOIN {logs} e
		ON e.export_id IN (`+spellings("{logs}", "export_id", "j.value")+`) WHERE e.export_id <> j.value`), list)
	if err != nil {
		return nil, s.explain(fmt.Errorf("look for the exports: %w", err))
	}
	known := map[string]string{}
	return known, s.explain(scanAll(rows, func() error {
		var id, as string
		err := rows.Scan(&id, &as)
		known[id] = as
		return err
	}))
}

func (s *Store) importExport(ctx context.Context, tx *sql.Tx, e *exportops.Export, known string) (exportops.Receipt, error) {
	if known == "" {
		known = e.ExportID
		_, n, err := s.insertExport(ctx, tx, *e, "ON CONFLICT DO NOTHING")
		if err != nil || n == 1 {
			return exportops.Receipt{New: n == 1}, refused(err)
		}
	}
	return s.compareExport(ctx, tx, e, known)
}

// compareExport says whether the row that is in the way is the same export. known is
// the export's id as that row has it, where it is the export's.
func (s *Store) compareExport(ctx context.Context, tx *sql.Tx, e *exportops.Export, known string) (exportops.Receipt, error) {
	created := e.CreatedAt
	if created.IsZero() {
		created = e.Timestamp // as insertExport has it
	}
	var same bool
	err := tx.QueryRowContext(ctx, s.sql(`
		SELECT coalesce(lower(user_id) = lower(?) AND timestamp = ? AND format = ? AND config = ? AND conversation_count = ? AND file_size IS ?
			AND (status = ? OR status = 'expired') AND file_url IS ? AND expires_at IS ? AND error_message IS ? AND created_at = ?, 0)
		FROM {logs} WHERE export_id = ?`),
		e.UserID, e.Timestamp.String(), e.Format, string(e.Config), e.ConversationCount, e.FileSize,
		e.Status, e.FileURL, timeText(e.ExpiresAt), e.ErrorMessage, created.String(), known).Scan(&same)
	conflict := &exportops.Error{Kind: exportops.KindConflict, Field: "export_id"}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		conflict.Field, conflict.Message = "id", "another export has this id"
		return exportops.Receipt{Err: conflict}, nil
	case err != nil:
		return exportops.Receipt{}, err
	case !same:
		conflict.Message = "there is an export with this id and other content"
		return exportops.Receipt{Err: conflict}, nil
	}
	return exportops.Receipt{}, nil
}

// timeText writes a time as it is stored, or null.
func timeText(t *exportops.Time) any {
	if t == nil {
		return nil
	}
	return t.String()
}
