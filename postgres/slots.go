package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// Schedule implements exportops.RunStore.
func (s *Store) Schedule(ctx context.Context, j exportops.Job, expression string, now exportops.Time) (
	since exportops.Time, err error,
) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		var from time.Time
		err := tx.QueryRow(ctx, `
			INSERT INTO exportops.schedules AS c (job, expression, since) VALUES ($1, $2, $3::timestamptz)
			ON CONFLICT (job) DO UPDATE SET expression = excluded.expression,
				since = CASE WHEN c.expression = excluded.expression THEN c.since ELSE excluded.since END
			RETURNING since`, string(j), expression, now.String()).Scan(&from)
		if err != nil {
			return fmt.Errorf("keep the schedule of %s: %w", j, err)
		}
		// Slots are dealt with in order, so the last with a row stands for all.
		var last *time.Time
		err = tx.QueryRow(ctx, `SELECT max(slot) FROM exportops.runs WHERE job = $1 AND slot IS NOT NULL`, string(j)).Scan(&last)
		if err != nil {
			return fmt.Errorf("look for the last slot of %s: %w", j, err)
		}
		if last != nil && last.After(from) {
			from = *last
		}
		since = exportops.At(from)
		return nil
	})
	return since, err
}

// EndsSince implements exportops.RunStore.
func (s *Store) EndsSince(ctx context.Context, j exportops.Job, from exportops.Time) (ends []exportops.Time, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT finished_at FROM exportops.runs
			WHERE job = $1 AND finished_at >= $2::timestamptz AND state NOT IN ('skipped', 'missed') ORDER BY finished_at`,
			string(j), from.String())
		if err != nil {
			return fmt.Errorf("read when %s ended: %w", j, err)
		}
		ends, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (exportops.Time, error) {
			var t time.Time
			err := row.Scan(&t)
			return exportops.At(t), err
		})
		return err
	})
	return ends, err
}

// LastRun implements exportops.RunStore.
func (s *Store) LastRun(ctx context.Context, j exportops.Job, lane string) (last exportops.Run, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		found, err := runsOf(tx.Query(ctx, `SELECT `+runColumns+` FROM exportops.runs r
			WHERE r.job = $1 AND r.finished_at IS NOT NULL AND r.lane = $2 AND r.result IS NOT NULL
			ORDER BY r.finished_at DESC, r.seq DESC LIMIT 1`, string(j), lane))
		for _, r := range found {
			last = r.Run
		}
		return err
	})
	return last, err
}

// RecordSlots implements exportops.RunStore.
func (s *Store) RecordSlots(ctx context.Context, j exportops.Job, slots []exportops.Time, state exportops.RunState,
	now exportops.Time,
) error {
	if state != exportops.RunMissed && state != exportops.RunSkipped {
		return errors.New("only a missed or skipped slot is recorded without a run")
	}
	// In one order everywhere: two replicas that record the same wait for each
	// other, and not crosswise.
	slots = slices.SortedFunc(slices.Values(slots), func(a, b exportops.Time) int { return a.Compare(b.Time) })
	const most = 500 // rows a transaction
	for part := range slices.Chunk(slots, most) {
		ids, at := make([]string, len(part)), make([]string, len(part))
		for i, slot := range part {
			ids[i], at[i] = exportops.NewID(), slot.String()
		}
		err := s.tx(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				INSERT INTO exportops.runs (id, job, lane, state, trigger, slot, params, holder, token, started_at, finished_at)
				SELECT n.id, $3, $3, $4, $5, n.slot, '{}', '', 0, n.slot, $6::timestamptz
				FROM unnest($1::text[], $2::timestamptz[]) AS n (id, slot) ORDER BY n.slot
				ON CONFLICT DO NOTHING`,
				ids, at, string(j), string(state), string(exportops.BySchedule), now.String())
			if err != nil {
				return fmt.Errorf("record slots of %s: %w", j, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
