package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/exportops/exportops"
)

const runColumns = `seq, id, job, state, trigger, slot, params, forced, holder, token, takeovers, lease_until,
	started_at, finished_at, result, error, closing, cancelled_at, coalesce(cancelled_by, '')`

// runRow is a run with what only the store needs.
type runRow struct {
	exportops.Run
	seq   int64
	token int64
}

func scanRun(scan func(...any) error) (runRow, error) {
	var r runRow
	var slot, lease, finished, result, cancelled sql.NullString
	var params, started string
	err := scan(&r.seq, &r.ID, &r.Job, &r.State, &r.Trigger, &slot, &params, &r.Forced, &r.Holder, &r.token,
		&r.Takeovers, &lease, &started, &finished, &result, &r.Error, &r.Closing, &cancelled, &r.CancelledBy)
	if err != nil {
		return runRow{}, err
	}
	r.Params = json.RawMessage(params)
	r.Slot, r.LeaseUntil, r.FinishedAt = timePtr(slot), timePtr(lease), timePtr(finished)
	r.CancelledAt = timePtr(cancelled)
	if t, ok := exportops.ParseStoredTime(started); ok {
		r.StartedAt = t
	}
	if result.Valid {
		r.Result = json.RawMessage(result.String)
	}
	return r, nil
}

// BeginRun implements exportops.RunStore.
func (s *Store) BeginRun(ctx context.Context, r exportops.RunRequest) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		earlier, found, err := s.earlierRun(ctx, tx, r)
		if err != nil {
			return err
		}
		if found {
			run, how = earlier.Run, exportops.Replayed
			return nil
		}
		run, fence, how, err = beginRun(ctx, tx, r)
		if err != nil || r.IdempotencyKey == "" {
			return err
		}
		return keepKey(ctx, tx, r, run.ID)
	})
	return run, fence, how, err
}

func beginRun(ctx context.Context, tx *sql.Tx, r exportops.RunRequest) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	active, err := scanRun(tx.QueryRowContext(ctx,
		`SELECT `+runColumns+` FROM exportops_runs WHERE lane = ? AND state = 'running'`, r.Lane).Scan)
	switch same := active.Job == r.Job && string(active.Params) == string(r.Params); {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return run, fence, "", err
	case !active.Abandoned(r.Now) && !same:
		return run, fence, "", &exportops.Error{
			Kind:    exportops.KindConflict,
			Message: fmt.Sprintf("run %s of %s is active with other parameters", active.ID, active.Job),
			Hint:    "try again when it has ended: exportops runs " + active.ID,
		}
	case !active.Abandoned(r.Now):
		return active.Run, fence, exportops.Joined, nil
	case active.GoesOnFor(r):
		run, fence, err = takeOver(ctx, tx, active, r)
		return run, fence, exportops.TookOver, err
	default:
		// The dead run's claims are recovered by whichever run comes next; its
		// own parameters are nobody's wish any more.
		ended, err := endRun(ctx, tx, active, r.Now)
		if err != nil {
			return run, fence, "", err
		}
		if r.Slot != nil && ended.Job == r.Job && ended.Slot != nil && ended.Slot.Equal(r.Slot.Time) {
			return ended, fence, exportops.Replayed, nil // a slot never runs twice
		}
	}
	run, fence, err = insertRun(ctx, tx, r)
	return run, fence, exportops.Started, err
}

// earlierRun looks for a run that has answered the request already: the one it
// resumes, one for the same slot, or a success with the same Idempotency-Key
// within a day.
func (s *Store) earlierRun(ctx context.Context, tx *sql.Tx, r exportops.RunRequest) (runRow, bool, error) {
	if r.Resumes != "" {
		run, err := scanRun(tx.QueryRowContext(ctx,
			`SELECT `+runColumns+` FROM exportops_runs WHERE id = ?`, r.Resumes).Scan)
		return run, err == nil && run.Finished(), err
	}
	if r.Slot != nil {
		run, err := scanRun(tx.QueryRowContext(ctx,
			`SELECT `+runColumns+` FROM exportops_runs WHERE job = ? AND slot = ?`, r.Job, r.Slot.String()).Scan)
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return run, err == nil && run.Finished(), err
		}
	}
	if r.IdempotencyKey == "" {
		return runRow{}, false, nil
	}
	run, err := scanRun(tx.QueryRowContext(ctx, `
		SELECT `+runColumns+` FROM exportops_runs
		WHERE id = (SELECT run_id FROM exportops_run_keys WHERE key = ? AND used_at > ?)`,
		r.IdempotencyKey, exportops.At(r.Now.Add(-exportops.ReplayFor)).String()).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return runRow{}, false, nil
	case err != nil:
		return runRow{}, false, err
	case run.Job != r.Job || string(run.Params) != string(r.Params):
		return runRow{}, false, &exportops.Error{
			Kind: exportops.KindConflict, Field: "Idempotency-Key",
			Message: fmt.Sprintf("it was used for run %s, which is another job or has other parameters", run.ID),
			Hint:    "send a new key with each new request",
		}
	case run.State == exportops.RunFailed || run.State == exportops.RunRefused:
		return runRow{}, false, nil // it is tried again
	}
	return run, run.Finished(), nil
}

// keepKey remembers which run answers an Idempotency-Key, and forgets those
// that are no longer replayed.
func keepKey(ctx context.Context, tx *sql.Tx, r exportops.RunRequest, runID string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM exportops_run_keys WHERE used_at <= ?`,
		exportops.At(r.Now.Add(-exportops.ReplayFor)).String())
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO exportops_run_keys (key, run_id, used_at) VALUES (?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET run_id = excluded.run_id, used_at = excluded.used_at`,
			r.IdempotencyKey, runID, r.Now.String())
	}
	if err != nil {
		return fmt.Errorf("keep the Idempotency-Key of run %s: %w", runID, err)
	}
	return nil
}

func insertRun(ctx context.Context, tx *sql.Tx, r exportops.RunRequest) (exportops.Run, exportops.Fence, error) {
	var slot any
	if r.Slot != nil {
		slot = r.Slot.String()
	}
	run, err := scanRun(tx.QueryRowContext(ctx, `
		INSERT INTO exportops_runs
			(id, job, lane, state, trigger, slot, params, forced, holder, token, lease_until, started_at)
		VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, 1, ?, ?)
		RETURNING `+runColumns,
		exportops.NewID(), r.Job, r.Lane, r.Trigger, slot, string(r.Params), r.Forced, r.Holder,
		exportops.At(r.Now.Add(r.Lease)).String(), r.Now.String()).Scan)
	if err != nil {
		return exportops.Run{}, exportops.Fence{}, fmt.Errorf("record run of %s: %w", r.Job, err)
	}
	return run.Run, exportops.Fence{RunID: run.ID, Token: run.token}, nil
}

func takeOver(ctx context.Context, tx *sql.Tx, dead runRow, r exportops.RunRequest) (
	exportops.Run, exportops.Fence, error,
) {
	run, err := scanRun(tx.QueryRowContext(ctx, `
		UPDATE exportops_runs SET holder = ?, token = token + 1, takeovers = takeovers + 1, lease_until = ?, closing = 0,
			forced = max(forced, ?)
		WHERE seq = ? RETURNING `+runColumns,
		r.Holder, exportops.At(r.Now.Add(r.Lease)).String(), r.Forced, dead.seq).Scan)
	if err != nil {
		return exportops.Run{}, exportops.Fence{}, fmt.Errorf("take over run %s: %w", dead.ID, err)
	}
	return run.Run, exportops.Fence{RunID: run.ID, Token: run.token}, nil
}

// asDead ends a run at ?1 whose holder is dead, and that nobody goes on with.
const asDead = `state = 'failed', token = token + 1, finished_at = ?1, lease_until = NULL,
	error = 'its process ended without finishing it'`

func endRun(ctx context.Context, tx *sql.Tx, dead runRow, now exportops.Time) (exportops.Run, error) {
	ended, err := scanRun(tx.QueryRowContext(ctx, `
		UPDATE exportops_runs SET `+asDead+` WHERE seq = ?2 RETURNING `+runColumns,
		now.String(), dead.seq).Scan)
	if err != nil {
		return exportops.Run{}, fmt.Errorf("end run %s: %w", dead.ID, err)
	}
	return ended.Run, nil
}

// Renew implements exportops.RunStore. A lease alone is not synced: after a power cut
// nobody holds it, and in a bulk change all that came before would be synced with it.
func (s *Store) Renew(ctx context.Context, c exportops.Checkpoint) error {
	fenced := s.bulkFenced
	if c.Progress != nil {
		fenced = s.fenced
	}
	return fenced(ctx, c, func(*sql.Tx) error { return nil })
}

// FinishRun implements exportops.RunStore.
func (s *Store) FinishRun(ctx context.Context, c exportops.Checkpoint, state exportops.RunState, message string) (
	run exportops.Run, err error,
) {
	err = s.fenced(ctx, c, func(tx *sql.Tx) error {
		row, err := scanRun(tx.QueryRowContext(ctx, `
			UPDATE exportops_runs SET state = ?, error = ?, finished_at = ?, lease_until = NULL
			WHERE id = ? RETURNING `+runColumns, state, message, c.Now.String(), c.RunID).Scan)
		run = row.Run
		return err
	})
	return run, err
}

// Run implements exportops.RunStore.
func (s *Store) Run(ctx context.Context, id string) (exportops.Run, error) {
	r, err := scanRun(s.read.QueryRowContext(ctx,
		`SELECT `+runColumns+` FROM exportops_runs WHERE id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return exportops.Run{}, &exportops.Error{
			Kind: exportops.KindNotFound, Message: fmt.Sprintf("there is no run %q", id),
		}
	}
	return r.Run, s.explain(err)
}

// Runs implements exportops.RunStore.
func (s *Store) Runs(ctx context.Context, f exportops.RunFilter) (page []exportops.Run, next string, err error) {
	limit := exportops.PageSize(f.Limit)
	before, err := exportops.PageBefore(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.read.QueryContext(ctx, `
		SELECT `+runColumns+` FROM exportops_runs
		WHERE seq < ? AND (? = '' OR job = ?) AND (? = '' OR state = ?)
		ORDER BY seq DESC LIMIT ?`, before, f.Job, f.Job, f.State, f.State, limit+1)
	if err != nil {
		return nil, "", s.explain(err)
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		r, err := scanRun(rows.Scan)
		if err != nil {
			return nil, "", s.explain(err)
		}
		if len(page) == limit {
			return page, strconv.FormatInt(last, 10), nil
		}
		page, last = append(page, r.Run), r.seq
	}
	return page, "", s.explain(rows.Err())
}
