package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// CountCandidatesUpTo implements exportops.GuardStore.
func (s *Store) CountCandidatesUpTo(ctx context.Context, sel exportops.Selection, most int64) (int64, error) {
	o, err := orderOf(sel)
	if err != nil {
		return 0, err
	}
	return s.countUpTo(ctx, o, most)
}

// CountLogRowsUpTo implements exportops.GuardStore.
func (s *Store) CountLogRowsUpTo(ctx context.Context, sel exportops.LogSelection, most int64) (int64, error) {
	return s.countUpTo(ctx, logOrder(sel), most)
}

// FinishedRuns implements exportops.GuardStore.
func (s *Store) FinishedRuns(ctx context.Context, j exportops.Job, limit int) (runs []exportops.Run, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		found, err := runsOf(tx.Query(ctx, `SELECT `+runColumns+` FROM exportops.runs r
			WHERE r.job = $1 AND r.finished_at IS NOT NULL AND r.state IN ('done', 'partial', 'failed')
			ORDER BY r.finished_at DESC LIMIT $2`, string(j), limit))
		for _, r := range found {
			runs = append(runs, r.Run)
		}
		return err
	})
	return runs, err
}

// Clock implements exportops.GuardStore. Only cleanups that the guard let
// through are asked: one refusal would be the reason for the next.
func (s *Store) Clock(ctx context.Context, runID string) (r exportops.ClockReading, err error) {
	var now time.Time
	var at, claimed *time.Time
	err = s.reading(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT clock_timestamp(), coalesce(r.finished_at, r.started_at), d.claimed_at
			FROM (SELECT 1) one
			LEFT JOIN LATERAL (SELECT x.* FROM exportops.runs x
				WHERE x.job IN ('file-cleanup', 'log-cleanup') AND x.state IN ('running', 'done', 'partial', 'failed') AND x.id <> $1
				ORDER BY x.seq DESC LIMIT 1) r ON true
			LEFT JOIN LATERAL (SELECT y.run_id, y.claimed_at FROM exportops.deletions y
				ORDER BY y.id DESC LIMIT 1) d ON d.run_id = r.id`, runID).Scan(&now, &at, &claimed)
	})
	if err != nil {
		return r, fmt.Errorf("read the clock: %w", err)
	}
	clock := exportops.At(now)
	r.Now, r.Newest = &clock, timePtr(at)
	if c := timePtr(claimed); c != nil && (r.Newest == nil || c.After(r.Newest.Time)) {
		r.Newest = c
	}
	return r, nil
}
