package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// holderAlive says of an entry d that the holder, or the worker, that claimed it
// may still be at work at the time $1. It is the one place that
// knows.
const holderAlive = `EXISTS (SELECT 1 FROM exportops.runs r WHERE r.id = d.run_id AND r.state = 'running' AND (
	r.token = d.token AND r.lease_until > $1::timestamptz
	OR EXISTS (SELECT 1 FROM exportops.workers w WHERE w.run_id = r.id AND w.token = d.token
		AND w.left_at IS NULL AND w.lease_until > $1::timestamptz)))`

// leftOpen says of an entry d that its claim is open, and neither ours nor that
// of a living holder: it ended, was taken over, or let its lease run out.
const leftOpen = `d.state = 'claimed' AND NOT (d.run_id = $2 AND d.token = $3) AND NOT ` + holderAlive

// Reclaim implements exportops.DeletionStore. Of two replicas that recover at
// once, each gets claims of its own.
func (s *Store) Reclaim(ctx context.Context, c exportops.Checkpoint, limit int,
	resume func(exportops.OpenClaim) bool, exportIDs ...string,
) (open []exportops.OpenClaim, resumed []bool, err error) {
	err = s.again(ctx, func() error {
		return s.fenced(ctx, c, func(tx pgx.Tx) error {
			if err := s.shareHolds(ctx, tx); err != nil {
				return err
			}
			open, resumed = nil, nil
			if paused, err := pausedIn(ctx, tx); err != nil || paused {
				return err
			}
			if open, err = s.openClaims(ctx, tx, c, limit, exportIDs); err != nil {
				return err
			}
			resumed = make([]bool, len(open))
			var ours, changed []int64
			for i := range open {
				if resumed[i] = resume(open[i]); !resumed[i] {
					changed = append(changed, open[i].ID)
					continue
				}
				ours = append(ours, open[i].ID)
				open[i].Attempts++
				open[i].RunID = c.RunID
			}
			return reclaim(ctx, tx, c, ours, changed)
		})
	})
	return open, resumed, err
}

func reclaim(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, ours, changed []int64) error {
	if len(ours) > 0 {
		_, err := tx.Exec(ctx, `UPDATE exportops.deletions SET attempts = attempts + 1, run_id = $2, token = $3
			WHERE id = ANY($1::bigint[])`, ours, c.RunID, c.Token)
		if err != nil {
			return fmt.Errorf("take over claims: %w", err)
		}
	}
	if len(changed) > 0 {
		_, err := tx.Exec(ctx, `UPDATE exportops.deletions SET state = 'changed', run_id = $2, token = $3,
				finished_at = $4::timestamptz,
				error = 'the row was changed while no process held the claim; the file was left alone'
			WHERE id = ANY($1::bigint[])`, changed, c.RunID, c.Token, c.Now.String())
		if err != nil {
			return fmt.Errorf("end claims of rows that were changed: %w", err)
		}
	}
	return nil
}

// lockOpen locks claims whose holder no longer has them, those that another
// replica is about to recover or to settle aside, and reads them under the lock:
// in between, one may have become somebody's. Arguments of the condition begin at
// $5.
func lockOpen(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, limit int, and string, args ...any) ([]exportops.Deletion, error) {
	// The sum keeps the planner on the index of open claims, which are few.
	rows, err := tx.Query(ctx, `SELECT d.id FROM exportops.deletions d WHERE `+leftOpen+and+`
		ORDER BY d.id + 0 LIMIT $4 FOR UPDATE OF d SKIP LOCKED`, append([]any{c.Now.String(), c.RunID, c.Token, limit}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("find open claims: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	found, err := deletionsOf(tx.Query(ctx, `SELECT `+deletionColumns+` FROM exportops.deletions d
		WHERE d.id = ANY($4::bigint[]) AND `+leftOpen+` ORDER BY d.id`, c.Now.String(), c.RunID, c.Token, ids))
	if err != nil {
		return nil, fmt.Errorf("read open claims: %w", err)
	}
	return found, nil
}

// openClaims locks and reads claims, those on files that no row named aside, with
// the rows as they are now.
func (s *Store) openClaims(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint, limit int, exportIDs []string) (
	[]exportops.OpenClaim, error,
) {
	and, args := ` AND d.mode <> 'unknown'`, []any{}
	if len(exportIDs) > 0 {
		// As texts, or the planner may look for each export by its index.
		and, args = and+` AND d.export_id::text = ANY($5::text[])`, append(args, known(exportIDs))
	}
	found, err := lockOpen(ctx, tx, c, limit, and, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	open := make([]exportops.OpenClaim, len(found))
	exports := make([]string, len(found))
	for i, d := range found {
		open[i].Deletion, exports[i] = d, d.ExportID
	}
	now, err := s.candidatesByID(ctx, tx, exports)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*exportops.Candidate, len(now))
	for i := range now {
		byID[now[i].ExportID] = &now[i]
	}
	for i := range open {
		open[i].Row = byID[open[i].ExportID]
	}
	return open, nil
}
