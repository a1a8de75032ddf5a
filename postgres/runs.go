package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// runColumns reads JSON as the text it was given as: requests are the same when
// their parameters are the same text.
const runColumns = `r.seq, r.id::text, r.job, r.state, r.trigger, r.slot, r.params::text, r.forced, r.holder, r.token,
	r.takeovers, r.lease_until, r.started_at, r.finished_at, r.result::text, r.error, r.closing,
	r.cancelled_at, coalesce(r.cancelled_by, '')`

// runRow is a run with what only the store needs.
type runRow struct {
	exportops.Run
	seq   int64
	token int64
}

func scanRun(row pgx.Row) (runRow, error) {
	var r runRow
	var slot, lease, finished, cancelled *time.Time
	var started time.Time
	var params string
	var result *string
	err := row.Scan(&r.seq, &r.ID, &r.Job, &r.State, &r.Trigger, &slot, &params, &r.Forced, &r.Holder, &r.token,
		&r.Takeovers, &lease, &started, &finished, &result, &r.Error, &r.Closing, &cancelled, &r.CancelledBy)
	if err != nil {
		return runRow{}, err
	}
	r.Params, r.StartedAt = json.RawMessage(params), exportops.At(started)
	r.Slot, r.LeaseUntil, r.FinishedAt = timePtr(slot), timePtr(lease), timePtr(finished)
	r.CancelledAt = timePtr(cancelled)
	if result != nil {
		r.Result = json.RawMessage(*result)
	}
	return r, nil
}

// runsOf reads the runs that a query yields.
func runsOf(rows pgx.Rows, err error) ([]runRow, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (runRow, error) { return scanRun(row) })
}

// runWhere reads the one run that a condition is about; found is false where
// there is none.
func runWhere(ctx context.Context, tx pgx.Tx, where string, args ...any) (r runRow, found bool, err error) {
	r, err = scanRun(tx.QueryRow(ctx, `SELECT `+runColumns+` FROM exportops.runs r WHERE `+where, args...))
	if errors.Is(err, pgx.ErrNoRows) {
		return runRow{}, false, nil
	}
	return r, err == nil, err
}

// Renew implements exportops.RunStore.
func (s *Store) Renew(ctx context.Context, c exportops.Checkpoint) error {
	return s.fenced(ctx, c, func(pgx.Tx) error { return nil })
}

// FinishRun implements exportops.RunStore.
func (s *Store) FinishRun(ctx context.Context, c exportops.Checkpoint, state exportops.RunState, message string) (
	run exportops.Run, err error,
) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		if err := dismiss(ctx, tx, c.RunID, c.Now); err != nil {
			return err
		}
		row, err := scanRun(tx.QueryRow(ctx, `
			UPDATE exportops.runs AS r SET state = $1, error = $2, finished_at = $3::timestamptz, lease_until = NULL
			WHERE r.id = $4 RETURNING `+runColumns, string(state), message, c.Now.String(), c.RunID))
		run = row.Run
		return err
	})
	return run, err
}

// Run implements exportops.RunStore.
func (s *Store) Run(ctx context.Context, id string) (run exportops.Run, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		r, found, err := runWhere(ctx, tx, `r.id = $1`, id)
		if err == nil && !found {
			err = &exportops.Error{Kind: exportops.KindNotFound, Message: fmt.Sprintf("there is no run %q", id)}
		}
		run = r.Run
		return err
	})
	return run, err
}

// Runs implements exportops.RunStore.
func (s *Store) Runs(ctx context.Context, f exportops.RunFilter) (page []exportops.Run, next string, err error) {
	limit := exportops.PageSize(f.Limit)
	before, err := exportops.PageBefore(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var found []runRow
	err = s.reading(ctx, func(tx pgx.Tx) error {
		found, err = runsOf(tx.Query(ctx, `SELECT `+runColumns+` FROM exportops.runs r
			WHERE r.seq < $1 AND ($2 = '' OR r.job = $2) AND ($3 = '' OR r.state = $3)
			ORDER BY r.seq DESC LIMIT $4`, before, string(f.Job), string(f.State), limit+1))
		return err
	})
	if err != nil {
		return nil, "", err
	}
	for i, r := range found {
		if i == limit {
			return page, strconv.FormatInt(found[i-1].seq, 10), nil
		}
		page = append(page, r.Run)
	}
	return page, "", nil
}

// ActiveRuns implements exportops.RunStore.
func (s *Store) ActiveRuns(ctx context.Context) (runs []exportops.Run, err error) {
	err = s.reading(ctx, func(tx pgx.Tx) error {
		found, err := runsOf(tx.Query(ctx, `SELECT `+runColumns+` FROM exportops.runs r
			WHERE r.state = 'running' ORDER BY r.seq + 0`))
		for _, r := range found {
			runs = append(runs, r.Run)
		}
		return err
	})
	return runs, err
}

// leaseOver says of a run r that its holder's lease is over at a time.
func leaseOver(now string) string {
	return `(r.lease_until IS NULL OR r.lease_until <= ` + now + `::timestamptz)`
}

// EndAbandoned implements exportops.RunStore. It looks and acts in one
// statement: a holder that renews its lease in the same instant keeps the run.
func (s *Store) EndAbandoned(ctx context.Context, id string, now exportops.Time) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, endRunQuery+` r.id = $2 AND r.state = 'running' AND `+leaseOver(`$1`), now.String(), id)
		if err != nil {
			return fmt.Errorf("end run %s: %w", id, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		return dismiss(ctx, tx, id, now)
	})
}

const endRunQuery = `UPDATE exportops.runs AS r SET state = 'failed', token = r.token + 1,
	finished_at = $1::timestamptz, lease_until = NULL, error = 'its process ended without finishing it' WHERE`

// ForgetRuns implements exportops.RunStore. The last slot of a job stays: it is
// the schedule's watermark.
func (s *Store) ForgetRuns(ctx context.Context, c exportops.Checkpoint, before exportops.Time, limit int) (n int64, err error) {
	err = s.fenced(ctx, c, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM exportops.runs WHERE seq IN (
			SELECT r.seq FROM exportops.runs r
			WHERE r.finished_at < $1::timestamptz AND r.state <> 'running' AND (r.slot IS NULL
				OR r.slot < (SELECT max(x.slot) FROM exportops.runs x WHERE x.job = r.job AND x.slot IS NOT NULL))
			ORDER BY r.seq LIMIT $2)`, before.String(), limit)
		if err != nil {
			return fmt.Errorf("forget runs: %w", err)
		}
		if n = tag.RowsAffected(); n == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, `DELETE FROM exportops.workers w
			WHERE NOT EXISTS (SELECT 1 FROM exportops.runs r WHERE r.id = w.run_id)`)
		if err != nil {
			return fmt.Errorf("forget workers: %w", err)
		}
		return nil
	})
	return n, err
}
