package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/exportops/exportops"
)

// Settle implements exportops.DeletionStore.
func (s *Store) Settle(ctx context.Context, c exportops.Checkpoint, batch []exportops.Settlement) (
	out []exportops.Settled, err error,
) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		changed, err := s.expireRows(ctx, tx, c, batch)
		if err != nil {
			return err
		}
		out, err = s.recordOutcomes(ctx, tx, c, batch, changed)
		return err
	})
	return out, err
}

// generation is what a row was when it was claimed; it expires only while it
// still is.
type generation struct {
	ExportID  text  `json:"e"`
	FileURL   *text `json:"u"`
	ExpiresAt *text `json:"x"`
}

func generationOf(b exportops.Settlement) generation {
	if d := b.Claim; d != nil {
		return generation{text(d.ExportID), (*text)(d.FileURL), (*text)(d.ExpiresAt)}
	}
	return generation{text(b.Row.ExportID), (*text)(b.Row.FileURL), (*text)(b.Row.ExpiresAt)}
}

// The plus keeps SQLite from the index on status: by it, the whole list would be
// read for every export that is completed.
const expireQuery = `
	UPDATE {logs} AS e SET status = 'expired', updated_at = ?
	FROM (SELECT value ->> 'e' AS export_id, value ->> 'u' AS file_url, value ->> 'x' AS expires_at
		FROM json_each(?)) g
	WHERE e.export_id = g.export_id AND +e.status = 'completed'
		AND CAST(e.file_url AS TEXT) IS g.file_url AND CAST(e.expires_at AS TEXT) IS g.expires_at
	RETURNING export_id`

// expireRows turns the rows whose files are confirmed gone to expired, and
// returns the export ids of those that still were what was claimed. What is
// known of their metrics is frozen first: updated_at says when they finished
// only until now.
func (s *Store) expireRows(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, batch []exportops.Settlement) (
	map[string]bool, error,
) {
	var rows []generation
	var ids []string
	for _, b := range batch {
		if b.Expires() {
			g := generationOf(b)
			rows, ids = append(rows, g), append(ids, string(g.ExportID))
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	idList, err := jsonList(ids)
	if err != nil {
		return nil, err
	}
	if _, err := s.observe(ctx, tx, c.Now, `e.export_id IN (SELECT value FROM json_each(?))`, idList); err != nil {
		return nil, fmt.Errorf("freeze metrics: %w", err)
	}
	rowList, err := jsonList(rows)
	if err != nil {
		return nil, err
	}
	found, err := tx.QueryContext(ctx, s.sql(expireQuery), c.Now.String(), rowList)
	if err != nil {
		return nil, fmt.Errorf("expire rows: %w", err)
	}
	defer found.Close()
	expired := make(map[string]bool, len(rows))
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, err
		}
		expired[id] = true
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	return expired, s.reallyExpired(ctx, tx, expired)
}

// reallyExpired reads the rows of a view again: it says of each row that it was
// changed, whatever its trigger did.
func (s *Store) reallyExpired(ctx context.Context, tx *sql.Tx, exports map[string]bool) error {
	if !s.view {
		return nil
	}
	list, err := jsonList(slices.Collect(maps.Keys(exports)))
	if err != nil {
		return err
	}
	var n int
	err = tx.QueryRowContext(ctx, s.sql(`SELECT count(*) FROM json_each(?) j JOIN {logs} e ON e.export_id = j.value
		WHERE e.status = 'expired'`), list).Scan(&n)
	if err != nil {
		return fmt.Errorf("read rows again: %w", err)
	}
	if n < len(exports) {
		return s.unpassed(fmt.Sprintf("of %d rows that were to expire %d did", len(exports), n))
	}
	return nil
}

// recordOutcomes writes the outcomes into the ledger. A claim that is no longer
// this run's was taken over: nothing of the batch is committed then.
func (s *Store) recordOutcomes(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint,
	batch []exportops.Settlement, expired map[string]bool,
) ([]exportops.Settled, error) {
	record, err := tx.PrepareContext(ctx, `
		UPDATE exportops_deletions SET state = ?, failures = ?, bytes = ?, evidence = ?, error = ?, finished_at = ?,
			next_try_at = ?
		WHERE id = ? AND state = 'claimed' AND run_id = ? AND token = ?`)
	if err != nil {
		return nil, fmt.Errorf("prepare outcomes: %w", err)
	}
	defer record.Close()
	out := make([]exportops.Settled, len(batch))
	for i, b := range batch {
		out[i] = exportops.Settled{State: b.State, RowExpired: b.Expires() && expired[string(generationOf(b).ExportID)]}
		out[i].RowUnlike = b.Expires() && !out[i].RowExpired
		if b.Claim == nil {
			continue
		}
		d := b.Apply(*b.Claim, out[i].RowUnlike, c.Now)
		out[i].State = d.State
		var next any
		if d.State == exportops.DeletionFailed {
			next = c.Now.String()
		}
		res, err := record.ExecContext(ctx, d.State, d.Failures, d.Bytes, d.Evidence, d.Error, c.Now.String(), next,
			d.ID, c.RunID, c.Token)
		if err != nil {
			return nil, fmt.Errorf("record the outcome of entry %d: %w", d.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return nil, fmt.Errorf("entry %d of the ledger: %w", d.ID, errorOr(err, exportops.ErrFenced))
		}
		if err := markGone(ctx, tx, c, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func errorOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}
