package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/exportops/exportops"
)

// ChangeExpiry implements exportops.ExpiryStore.
func (s *Store) ChangeExpiry(ctx context.Context, c exportops.Checkpoint, changes []exportops.ExpiryChange,
	progress func([]exportops.ExpiryKept) (json.RawMessage, error),
) (kept []exportops.ExpiryKept, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		ids := make([]string, len(changes))
		for i, x := range changes {
			ids[i] = x.ExportID
		}
		rows, err := s.candidatesByID(ctx, tx, ids)
		if err != nil {
			return err
		}
		if kept, err = s.changeExpiries(ctx, tx, c, changes, byExport(rows)); err != nil {
			return err
		}
		result, err := progress(kept)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE exportops_runs SET result = ? WHERE id = ?`, nullJSON(result), c.RunID)
		return err
	})
	return kept, err
}

func byExport(rows []exportops.Candidate) map[string]exportops.Candidate {
	byID := make(map[string]exportops.Candidate, len(rows))
	for _, r := range rows {
		byID[r.ExportID] = r
	}
	return byID
}

func (s *Store) changeExpiries(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, changes []exportops.ExpiryChange,
	rows map[string]exportops.Candidate,
) ([]exportops.ExpiryKept, error) {
	kept := make([]exportops.ExpiryKept, len(changes))
	var going []string
	for i, x := range changes {
		if kept[i] = x.Judge(rows[x.ExportID]); kept[i] == "" {
			going = append(going, x.ExportID)
		}
	}
	if len(going) == 0 {
		return kept, nil
	}
	list, err := jsonList(going)
	if err != nil {
		return nil, err
	}
	// A trigger may set updated_at, which says until now when they were completed.
	if _, err := s.observe(ctx, tx, c.Now, `e.export_id IN (SELECT value FROM json_each(?))`, list); err != nil {
		return nil, fmt.Errorf("freeze metrics: %w", err)
	}
	st, err := tx.PrepareContext(ctx, s.sql(`UPDATE {logs} SET expires_at = ? WHERE export_id = ? AND +status = 'completed'`))
	if err != nil {
		return nil, fmt.Errorf("prepare changes: %w", err)
	}
	defer st.Close()
	again, err := tx.PrepareContext(ctx, s.sql(`SELECT count(*) FROM {logs} WHERE export_id = ? AND CAST(expires_at AS TEXT) IS ?`))
	if err != nil {
		return nil, fmt.Errorf("prepare to read expiries again: %w", err)
	}
	defer again.Close()
	for i, x := range changes {
		if kept[i] != "" {
			continue
		}
		var to any
		if x.To != nil {
			to = x.To.String()
		}
		if _, err := st.ExecContext(ctx, to, x.ExportID); err != nil {
			return nil, fmt.Errorf("change the expiry of export %q: %w", x.ExportID, err)
		}
		var done int
		if err := again.QueryRowContext(ctx, x.ExportID, to).Scan(&done); err != nil {
			return nil, fmt.Errorf("read the expiry of export %q again: %w", x.ExportID, err)
		}
		if done == 0 {
			return nil, s.unpassed(fmt.Sprintf("the expiry of export %q was not changed", x.ExportID))
		}
	}
	return kept, nil
}
