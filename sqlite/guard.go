package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/exportops/exportops"
)

// CountCandidatesUpTo implements exportops.GuardStore.
func (s *Store) CountCandidatesUpTo(ctx context.Context, sel exportops.Selection, most int64) (int64, error) {
	o, err := orderOf(sel)
	if err != nil {
		return 0, err
	}
	return s.countUpTo(ctx, o, candidateFrom, most)
}

// CountLogRowsUpTo implements exportops.GuardStore.
func (s *Store) CountLogRowsUpTo(ctx context.Context, sel exportops.LogSelection, most int64) (int64, error) {
	return s.countUpTo(ctx, logOrder(sel), ` FROM {logs} e`, most)
}

func (s *Store) countUpTo(ctx context.Context, o order, from string, most int64) (n int64, err error) {
	query := s.sql(`SELECT count(*) FROM (SELECT 1` + from + ` WHERE ` + o.where + ` LIMIT ?)`)
	err = s.read.QueryRowContext(ctx, query, append(o.args, most)...).Scan(&n)
	return n, s.explain(err)
}

// FinishedRuns implements exportops.GuardStore.
func (s *Store) FinishedRuns(ctx context.Context, j exportops.Job, limit int) (runs []exportops.Run, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT `+runColumns+` FROM exportops_runs
		WHERE job = ? AND finished_at IS NOT NULL AND +state IN ('done', 'partial', 'failed')
		ORDER BY finished_at DESC LIMIT ?`, j, limit)
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the last runs of %s: %w", j, err))
	}
	err = scanAll(rows, func() error {
		r, err := scanRun(rows.Scan)
		runs = append(runs, r.Run)
		return err
	})
	return runs, s.explain(err)
}

// Clock implements exportops.GuardStore. SQLite's clock is ours. Only cleanups
// that the guard let through are asked: one refusal would be the reason for the
// next.
func (s *Store) Clock(ctx context.Context, runID string) (r exportops.ClockReading, err error) {
	var at, claimed sql.NullString
	err = s.read.QueryRowContext(ctx, `
		SELECT coalesce(r.finished_at, r.started_at), (SELECT CASE WHEN d.run_id = r.id THEN d.claimed_at END
			FROM exportops_deletions d ORDER BY d.id DESC LIMIT 1)
		FROM (SELECT 1) LEFT JOIN exportops_runs r ON r.seq = (SELECT x.seq FROM exportops_runs x
			WHERE +x.job IN ('file-cleanup', 'log-cleanup') AND x.state IN ('running', 'done', 'partial', 'failed') AND x.id <> ?
			ORDER BY x.seq DESC LIMIT 1)`, runID).Scan(&at, &claimed)
	if err != nil {
		return r, s.explain(fmt.Errorf("read the clock: %w", err))
	}
	r.Newest = timePtr(at)
	if c := timePtr(claimed); c != nil && (r.Newest == nil || c.After(r.Newest.Time)) {
		r.Newest = c
	}
	return r, nil
}
