package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// ClaimUnknown implements exportops.UnknownStore.
func (s *Store) ClaimUnknown(ctx context.Context, c exportops.Checkpoint, bucket string, files []exportops.UnknownFile) (
	out []exportops.UnknownClaim, err error,
) {
	keys := make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	list, err := jsonList(keys)
	if err != nil {
		return nil, err
	}
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		out = make([]exportops.UnknownClaim, len(files))
		if len(files) == 0 {
			return nil
		}
		known, err := recordedUnknown(ctx, tx, files[0].Store, list)
		if err != nil {
			return err
		}
		held, err := s.heldByKey(ctx, tx, keys)
		if err != nil {
			return err
		}
		prior, err := failedUnknown(ctx, tx, files[0].Store, list)
		if err != nil {
			return err
		}
		w, err := prepareClaims(ctx, tx)
		if err != nil {
			return err
		}
		defer w.close()
		for i, f := range files {
			u, recorded := known[f.Key]
			switch {
			case !recorded:
				out[i].Kept = exportops.UnknownChanged
			case held[f.Key]:
				out[i].Kept = exportops.UnknownHeld
			default:
				out[i].Kept = u.May(f)
			}
			if out[i].Kept != "" {
				continue
			}
			d := f.Entry(c, bucket, prior[f.Key])
			ok, err := w.write(ctx, c, &d)
			switch {
			case err != nil:
				return fmt.Errorf("claim the file %q: %w", f.Key, err)
			case ok:
				out[i].Claim = &d
			default:
				out[i].Kept = exportops.UnknownClaimed
			}
		}
		return nil
	})
	return out, err
}

// recordedUnknown returns the records of files of a store, by key.
func recordedUnknown(ctx context.Context, tx *sql.Tx, store, keys string) (map[string]exportops.UnknownFile, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+unknownColumns+` FROM exportops_unknown_files
		WHERE store = ? AND key IN (SELECT value FROM json_each(?))`, store, keys)
	if err != nil {
		return nil, fmt.Errorf("read unknown files: %w", err)
	}
	known := map[string]exportops.UnknownFile{}
	return known, scanAll(rows, func() error {
		u, err := scanUnknown(rows)
		known[u.Key] = u
		return err
	})
}

// heldByKey returns those of the keys that a hold on everything covers, or that
// hold the id of a held user or export, or of an export of a held user.
func (s *Store) heldByKey(ctx context.Context, tx *sql.Tx, keys []string) (map[string]bool, error) {
	list, err := jsonList(keys)
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	read := func(rows *sql.Rows, err error, found func(string)) error {
		if err != nil {
			return fmt.Errorf("look for holds: %w", err)
		}
		return scanAll(rows, func() error {
			var text string
			err := rows.Scan(&text)
			found(text)
			return err
		})
	}
	rows, err := tx.QueryContext(ctx, `SELECT j.value FROM json_each(?) j WHERE EXISTS (SELECT 1 FROM exportops_holds h
		WHERE h.released_at IS NULL AND instr(lower(j.value), h.subject) > 0)`, list) // in every key there is "", of a hold on everything
	if err := read(rows, err, func(key string) { held[key] = true }); err != nil {
		return nil, err
	}
	ids, with := exportops.KeysByID(keys)
	if list, err = jsonList(ids); err != nil {
		return nil, err
	}
	rows, err = tx.QueryContext(ctx, s.sql(`SELECT j.value FROM json_each(?) j CROSS JOIN {logs} e
		ON e.export_id IN (`+spellings("{logs}", "export_id", "j.value")+`)
		WHERE EXISTS (SELECT 1 FROM exportops_holds h WHERE h.released_at IS NULL AND h.scope = 'user')
			AND `+heldBy("e.export_id", "e.user_id")), list)
	err = read(rows, err, func(id string) {
		for _, key := range with[id] {
			held[key] = true
		}
	})
	return held, err
}

// failedUnknown returns the entries of files that could not be deleted before, by
// key.
func failedUnknown(ctx context.Context, tx *sql.Tx, store, keys string) (map[string]*exportops.Deletion, error) {
	all, err := deletionsOf(tx.QueryContext(ctx, `SELECT `+deletionColumns+` FROM exportops_deletions d
		WHERE d.state IN ('failed', 'quarantined') AND +d.mode = 'unknown' AND +d.store = ?
			AND +d.key IN (SELECT value FROM json_each(?))`, store, keys))
	if err != nil {
		return nil, fmt.Errorf("look for attempts that failed: %w", err)
	}
	prior := make(map[string]*exportops.Deletion, len(all))
	for i := range all {
		prior[all[i].Key] = &all[i]
	}
	return prior, nil
}

// ReclaimUnknown implements exportops.UnknownStore.
func (s *Store) ReclaimUnknown(ctx context.Context, c exportops.Checkpoint, limit int) (open []exportops.Deletion, err error) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		if paused, err := pausedIn(ctx, tx); err != nil || paused {
			return err
		}
		open, err = deletionsOf(tx.QueryContext(ctx, `SELECT `+deletionColumns+` FROM exportops_deletions d
			WHERE `+leftOpen+` AND +d.mode = 'unknown' ORDER BY +d.id LIMIT ?4`, c.RunID, c.Token, c.Now.String(), limit))
		if err != nil {
			return fmt.Errorf("find open claims: %w", err)
		}
		for i := range open {
			if err := reclaim(ctx, tx, c, &open[i], true); err != nil {
				return fmt.Errorf("recover claim %d: %w", open[i].ID, err)
			}
		}
		return nil
	})
	return open, err
}

// markGone records that a file which no row named is gone.
func markGone(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, d exportops.Deletion) error {
	if d.Mode != exportops.ByReconcile || !d.State.Confirmed() {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE exportops_unknown_files SET state = 'gone', last_seen = ? WHERE store = ? AND key = ?`,
		c.Now.String(), d.Store, d.Key)
	if err != nil {
		return fmt.Errorf("record that %q is gone: %w", d.Key, err)
	}
	return nil
}
