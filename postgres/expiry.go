package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ChangeExpiry implements exportops.ExpiryStore. Rows are locked first, then the
// ledger is read, as everywhere.
func (s *Store) ChangeExpiry(ctx context.Context, c exportops.Checkpoint, changes []exportops.ExpiryChange,
	progress func([]exportops.ExpiryKept) (json.RawMessage, error),
) (kept []exportops.ExpiryKept, err error) {
	ids := make([]string, len(changes))
	for i, x := range changes {
		ids[i] = x.ExportID
	}
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
			rows, err := s.lockNamed(ctx, tx, ids)
			if err != nil {
				return err
			}
			if kept, err = s.changeExpiries(ctx, tx, c, changes, rows); err != nil {
				return err
			}
			result, err := progress(kept)
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
	return kept, err
}

func (s *Store) changeExpiries(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, changes []exportops.ExpiryChange,
	rows []exportops.Candidate,
) ([]exportops.ExpiryKept, error) {
	byID := make(map[string]exportops.Candidate, len(rows))
	for _, r := range rows {
		byID[r.ExportID] = r
	}
	kept := make([]exportops.ExpiryKept, len(changes))
	var going []string
	var to []*string
	for i, x := range changes {
		if kept[i] = x.Judge(byID[x.ExportID]); kept[i] != "" {
			continue
		}
		going = append(going, x.ExportID)
		var at *string
		if x.To != nil {
			text := x.To.String()
			at = &text
		}
		to = append(to, at)
	}
	if len(going) == 0 {
		return kept, nil
	}
	// A trigger sets updated_at, which says until now when they were completed.
	if err := s.freeze(ctx, tx, c.Now, going); err != nil {
		return nil, fmt.Errorf("freeze metrics: %w", err)
	}
	_, err := tx.Exec(ctx, s.sql(`UPDATE {logs} AS e SET expires_at = n.expires_at
		FROM unnest($1::uuid[], $2::timestamptz[]) AS n (export_id, expires_at) WHERE e.export_id = n.export_id`), going, to)
	if err != nil {
		return nil, fmt.Errorf("change expiries: %w", refused(err))
	}
	var done int
	err = tx.QueryRow(ctx, s.sql(`SELECT count(*) FROM unnest($1::uuid[], $2::timestamptz[]) AS n (export_id, expires_at)
		JOIN {logs} e ON e.export_id = n.export_id WHERE e.expires_at IS NOT DISTINCT FROM n.expires_at`), going, to).Scan(&done)
	if err != nil {
		return nil, fmt.Errorf("read expiries again: %w", err)
	}
	if done != len(going) {
		return nil, s.unpassed(fmt.Sprintf("of %d expiries that were changed %d were", len(going), done))
	}
	return kept, nil
}
