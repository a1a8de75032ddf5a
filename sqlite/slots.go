package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/exportops/exportops"
)

// Schedule implements exportops.RunStore.
func (s *Store) Schedule(ctx context.Context, j exportops.Job, expression string, now exportops.Time) (
	since exportops.Time, err error,
) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		var text string
		err := tx.QueryRowContext(ctx, `
			INSERT INTO exportops_schedules (job, expression, since) VALUES (?1, ?2, ?3)
			ON CONFLICT (job) DO UPDATE SET
				since = iif(expression = ?2, since, ?3), expression = ?2
			RETURNING since`, j, expression, now.String()).Scan(&text)
		if err != nil {
			return fmt.Errorf("keep the schedule of %s: %w", j, err)
		}
		// Slots are dealt with in order, so the last with a row stands for all.
		err = tx.QueryRowContext(ctx, `
			SELECT max(?2, coalesce(max(slot), '')) FROM exportops_runs WHERE job = ?1 AND slot IS NOT NULL`,
			j, text).Scan(&text)
		if err != nil {
			return fmt.Errorf("look for the last slot of %s: %w", j, err)
		}
		var ok bool
		if since, ok = exportops.ParseStoredTime(text); !ok {
			return fmt.Errorf("the schedule of %s starts at %q, which is no time", j, text)
		}
		return nil
	})
	return since, err
}

// EndsSince implements exportops.RunStore.
func (s *Store) EndsSince(ctx context.Context, j exportops.Job, from exportops.Time) ([]exportops.Time, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT finished_at FROM exportops_runs
		WHERE job = ? AND finished_at >= ? AND state NOT IN ('skipped', 'missed') ORDER BY finished_at`, j, from.String())
	if err != nil {
		return nil, s.explain(fmt.Errorf("read when %s ended: %w", j, err))
	}
	var ends []exportops.Time
	err = scanAll(rows, func() error {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if t := timePtr(text); t != nil {
			ends = append(ends, *t)
		}
		return nil
	})
	return ends, s.explain(err)
}

// LastRun implements exportops.RunStore.
func (s *Store) LastRun(ctx context.Context, j exportops.Job, lane string) (exportops.Run, error) {
	r, err := scanRun(s.read.QueryRowContext(ctx, `SELECT `+runColumns+` FROM exportops_runs
		WHERE job = ? AND finished_at IS NOT NULL AND lane = ? AND result IS NOT NULL ORDER BY finished_at DESC, seq DESC LIMIT 1`, j, lane).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return exportops.Run{}, nil
	case err != nil:
		return exportops.Run{}, s.explain(fmt.Errorf("read the last run of %s: %w", j, err))
	}
	return r.Run, nil
}

// RecordSlots implements exportops.RunStore.
func (s *Store) RecordSlots(ctx context.Context, j exportops.Job, slots []exportops.Time, state exportops.RunState,
	now exportops.Time,
) error {
	if state != exportops.RunMissed && state != exportops.RunSkipped {
		return errors.New("only a missed or skipped slot is recorded without a run")
	}
	const most = 500 // rows a transaction
	for len(slots) > 0 {
		n := min(len(slots), most)
		err := s.tx(ctx, func(tx *sql.Tx) error {
			for _, slot := range slots[:n] {
				_, err := tx.ExecContext(ctx, `
					INSERT INTO exportops_runs (id, job, lane, state, trigger, slot, params, holder, token, started_at, finished_at)
					VALUES (?, ?, ?, ?, ?, ?, '{}', '', 0, ?, ?)
					ON CONFLICT DO NOTHING`,
					exportops.NewID(), j, string(j), state, exportops.BySchedule, slot.String(), slot.String(), now.String())
				if err != nil {
					return fmt.Errorf("record slot %s of %s: %w", slot, j, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		slots = slots[n:]
	}
	return nil
}

// EndAbandoned implements exportops.RunStore.
func (s *Store) EndAbandoned(ctx context.Context, id string, now exportops.Time) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		r, err := scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM exportops_runs WHERE id = ?`, id).Scan)
		if errors.Is(err, sql.ErrNoRows) || (err == nil && !r.Abandoned(now)) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = endRun(ctx, tx, r, now)
		return err
	})
}

// ActiveRuns implements exportops.RunStore.
func (s *Store) ActiveRuns(ctx context.Context) ([]exportops.Run, error) {
	// The plus keeps SQLite on the index of active runs.
	rows, err := s.read.QueryContext(ctx, `
		SELECT `+runColumns+` FROM exportops_runs WHERE state = 'running' ORDER BY +seq`)
	if err != nil {
		return nil, s.explain(fmt.Errorf("look for active runs: %w", err))
	}
	var runs []exportops.Run
	err = scanAll(rows, func() error {
		r, err := scanRun(rows.Scan)
		runs = append(runs, r.Run)
		return err
	})
	return runs, s.explain(err)
}
