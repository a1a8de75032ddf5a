package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// ClaimUnknown implements exportops.UnknownStore.
func (s *Store) ClaimUnknown(ctx context.Context, c exportops.Checkpoint, bucket string, files []exportops.UnknownFile) (
	out []exportops.UnknownClaim, err error,
) {
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			out = make([]exportops.UnknownClaim, len(files))
			if len(files) == 0 {
				return nil
			}
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
			return s.claimUnknown(ctx, tx, c, bucket, files, out)
		})
	})
	return out, err
}

func (s *Store) claimUnknown(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, bucket string, files []exportops.UnknownFile,
	out []exportops.UnknownClaim,
) error {
	store, keys := files[0].Store, make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	known, err := lockUnknown(ctx, tx, store, keys)
	if err != nil {
		return err
	}
	held, err := s.heldByKey(ctx, tx, keys)
	if err != nil {
		return err
	}
	prior, err := failedUnknown(ctx, tx, store, keys)
	if err != nil {
		return err
	}
	var fresh, again []*exportops.Deletion
	at := map[*exportops.Deletion]int{}
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
		at[&d], out[i].Kept = i, exportops.UnknownClaimed // unless the ledger takes it
		if d.ID == 0 {
			fresh = append(fresh, &d)
		} else {
			again = append(again, &d)
		}
	}
	kept, err := claimAgain(ctx, tx, c, again)
	if err != nil {
		return fmt.Errorf("claim files again: %w", err)
	}
	inserted, err := claimFresh(ctx, tx, c, fresh)
	if err != nil {
		return fmt.Errorf("claim files: %w", err)
	}
	for _, d := range append(kept, inserted...) {
		out[at[d]] = exportops.UnknownClaim{Claim: d}
	}
	return nil
}

// lockUnknown locks the records of files of a store, and returns them by key.
func lockUnknown(ctx context.Context, tx pgx.Tx, store string, keys []string) (map[string]exportops.UnknownFile, error) {
	rows, err := tx.Query(ctx, `SELECT `+unknownColumns+` FROM exportops.unknown_files u
		WHERE u.store = $1 AND u.key = ANY($2::text[]) ORDER BY u.key FOR UPDATE OF u`, store, keys)
	if err != nil {
		return nil, fmt.Errorf("read unknown files: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanUnknown)
	if err != nil {
		return nil, fmt.Errorf("read unknown files: %w", err)
	}
	known := make(map[string]exportops.UnknownFile, len(all))
	for _, u := range all {
		known[u.Key] = u
	}
	return known, nil
}

// heldByKey returns those of the keys that a hold on everything covers, or that
// hold the id of a held user or export, or of an export of a held user.
func (s *Store) heldByKey(ctx context.Context, tx pgx.Tx, keys []string) (map[string]bool, error) {
	held := map[string]bool{}
	var found string
	rows, err := tx.Query(ctx, `SELECT k.key FROM unnest($1::text[]) AS k (key) WHERE EXISTS (SELECT 1 FROM exportops.holds h
		WHERE h.released_at IS NULL AND position(coalesce(h.subject::text, '') in lower(k.key)) > 0)`, keys)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&found}, func() error { held[found] = true; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("look for holds: %w", err)
	}
	ids, with := exportops.KeysByID(keys)
	rows, err = tx.Query(ctx, s.sql(`SELECT e.export_id::text FROM {logs} e WHERE e.export_id = ANY($1::uuid[])
		AND e.user_id IN (SELECT h.subject FROM exportops.holds h WHERE h.released_at IS NULL AND h.scope = 'user')`), ids)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&found}, func() error {
			for _, key := range with[found] {
				held[key] = true
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for holds: %w", err)
	}
	return held, nil
}

// failedUnknown returns the entries of files that could not be deleted before, by
// key. The text that is added to keeps the planner on the index of entries that
// failed, which are few.
func failedUnknown(ctx context.Context, tx pgx.Tx, store string, keys []string) (map[string]*exportops.Deletion, error) {
	all, err := deletionsOf(tx.Query(ctx, `SELECT `+deletionColumns+` FROM exportops.deletions d
		WHERE d.state IN ('failed', 'quarantined') AND d.mode = 'unknown' AND d.store || '' = $1 AND d.key || '' = ANY($2::text[])`,
		store, keys))
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
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			open = nil
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
			if paused, err := pausedIn(ctx, tx); err != nil || paused {
				return err
			}
			if open, err = lockOpen(ctx, tx, c, limit, ` AND d.mode = 'unknown'`); err != nil {
				return err
			}
			ids := make([]int64, len(open))
			for i := range open {
				ids[i] = open[i].ID
				open[i].Attempts++
				open[i].RunID = c.RunID
			}
			return reclaim(ctx, tx, c, ids, nil)
		})
	})
	return open, err
}

// markGone records which files that no row named are gone.
func markGone(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, settled []exportops.Deletion) error {
	var stores, keys []string
	for _, d := range settled {
		if d.Mode == exportops.ByReconcile && d.State.Confirmed() {
			stores, keys = append(stores, d.Store), append(keys, d.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE exportops.unknown_files AS u SET state = 'gone', last_seen = $1::timestamptz
		FROM unnest($2::text[], $3::text[]) AS g (store, key) WHERE u.store = g.store AND u.key = g.key`, c.Now.String(), stores, keys)
	if err != nil {
		return fmt.Errorf("record which files are gone: %w", err)
	}
	return nil
}
