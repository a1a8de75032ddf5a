package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// errLost says that another replica was faster: look again.
var errLost = errors.New("another process was faster")

// BeginRun implements exportops.RunStore. Nothing is locked beforehand: the
// index of active runs, and conditions repeated in each UPDATE, decide between
// replicas that ask in the same instant, and who lost looks again.
func (s *Store) BeginRun(ctx context.Context, r exportops.RunRequest) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	const most = 20 // each time, another replica began or ended a run meanwhile
	b := beginning{RunRequest: r}
	for range most {
		err = s.tx(ctx, func(tx pgx.Tx) error {
			run, fence, how, err = b.begin(ctx, tx)
			return err
		})
		if !errors.Is(err, errLost) {
			break
		}
		b.lost = true
	}
	if errors.Is(err, errLost) {
		err = &exportops.Error{
			Kind: exportops.KindUnavailable, Message: fmt.Sprintf("too many processes begin runs of %s at once", r.Job),
			Hint: "try again", Err: err,
		}
	}
	if err != nil {
		return exportops.Run{}, exportops.Fence{}, "", err
	}
	return run, fence, how, nil
}

// beginning is one request for a run.
type beginning struct {
	exportops.RunRequest
	lost bool  // a run was begun, or taken over, by another while we were about to
	seen int64 // the number of the lane's last run when we looked
}

// ofLane says of a run that it is one, and of the lane $1.
const ofLane = `r.lane = $1 AND r.state NOT IN ('skipped', 'missed')`

func (b *beginning) begin(ctx context.Context, tx pgx.Tx) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	if b.IdempotencyKey != "" {
		// Of two requests with one key the second sees what became of the first,
		// even where they are about different jobs.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, hashtext($2))`, lockKeys, b.IdempotencyKey); err != nil {
			return run, fence, "", fmt.Errorf("wait for the Idempotency-Key: %w", err)
		}
	}
	earlier, found, err := b.earlier(ctx, tx)
	switch {
	case err != nil:
		return run, fence, "", err
	case found:
		return earlier.Run, fence, exportops.Replayed, nil
	}
	run, fence, how, err = b.inLane(ctx, tx)
	if err != nil || b.IdempotencyKey == "" {
		return run, fence, how, err
	}
	return run, fence, how, b.keepKey(ctx, tx, run.ID)
}

// inLane meets the request by the run that is active in its lane, or a new one.
func (b *beginning) inLane(ctx context.Context, tx pgx.Tx) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	// What begins after this look, and ends before the next, is found by its number.
	err = tx.QueryRow(ctx, `SELECT coalesce(max(r.seq), 0) FROM exportops.runs r WHERE `+ofLane, b.Lane).Scan(&b.seen)
	if err != nil {
		return run, fence, "", fmt.Errorf("look for the last run: %w", err)
	}
	active, found, err := runWhere(ctx, tx, `r.lane = $1 AND r.state = 'running'`, b.Lane)
	same := active.Job == b.Job && string(active.Params) == string(b.Params)
	switch {
	case err != nil:
		return run, fence, "", fmt.Errorf("look for the active run: %w", err)
	case b.Resumes != "" && active.ID != b.Resumes:
		return run, fence, "", errLost // it ended since
	case !found:
		return b.start(ctx, tx)
	case !active.Abandoned(b.Now) && !same:
		return run, fence, "", &exportops.Error{
			Kind:    exportops.KindConflict,
			Message: fmt.Sprintf("run %s of %s is active with other parameters", active.ID, active.Job),
			Hint:    "try again when it has ended: exportops runs " + active.ID,
		}
	case !active.Abandoned(b.Now):
		return active.Run, fence, exportops.Joined, nil
	case active.GoesOnFor(b.RunRequest):
		return b.takeOver(ctx, tx, active)
	}
	// The dead run's claims are recovered by whichever run comes next; its
	// own parameters are nobody's wish any more.
	ended, err := scanRun(tx.QueryRow(ctx, endRunQuery+stillDead+` RETURNING `+runColumns,
		b.Now.String(), active.seq, active.token))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return run, fence, "", errLost
	case err != nil:
		return run, fence, "", fmt.Errorf("end run %s: %w", active.ID, err)
	}
	if err := dismiss(ctx, tx, ended.ID, b.Now); err != nil {
		return run, fence, "", err
	}
	if b.Slot != nil && ended.Job == b.Job && ended.Slot != nil && ended.Slot.Equal(b.Slot.Time) {
		return ended.Run, fence, exportops.Replayed, nil // a slot never runs twice
	}
	return b.start(ctx, tx)
}

// stillDead says of a run that nothing happened to it since it was found dead.
var stillDead = ` r.seq = $2 AND r.token = $3 AND r.state = 'running' AND ` + leaseOver(`$1`)

func (b *beginning) takeOver(ctx context.Context, tx pgx.Tx, dead runRow) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	r, err := scanRun(tx.QueryRow(ctx, `
		UPDATE exportops.runs AS r SET holder = $4, token = r.token + 1, takeovers = r.takeovers + 1,
			lease_until = $5::timestamptz, closing = false, forced = r.forced OR $6::boolean
		WHERE`+stillDead+` RETURNING `+runColumns,
		b.Now.String(), dead.seq, dead.token, b.Holder, exportops.At(b.Now.Add(b.Lease)).String(), b.Forced))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return run, fence, "", errLost
	case err != nil:
		return run, fence, "", fmt.Errorf("take over run %s: %w", dead.ID, err)
	}
	return r.Run, exportops.Fence{RunID: r.ID, Token: r.token}, exportops.TookOver, nil
}

// start records a new run. Where another began one in the lane in the same
// instant, the request is met by that, even when it has ended since: it began
// after it was asked for.
func (b *beginning) start(ctx context.Context, tx pgx.Tx) (
	run exportops.Run, fence exportops.Fence, how exportops.Beginning, err error,
) {
	if b.lost && b.Slot == nil {
		winner, found, err := runWhere(ctx, tx, ofLane+` ORDER BY r.seq DESC LIMIT 1`, b.Lane)
		if err != nil {
			return run, fence, "", fmt.Errorf("look for the run that was begun: %w", err)
		}
		if found && winner.Job == b.Job && string(winner.Params) == string(b.Params) {
			return winner.Run, fence, exportops.Joined, nil
		}
	}
	var slot *string
	if b.Slot != nil {
		at := b.Slot.String()
		slot = &at
	}
	r, err := scanRun(tx.QueryRow(ctx, `
		INSERT INTO exportops.runs AS r
			(id, job, lane, state, trigger, slot, params, forced, holder, token, lease_until, started_at)
		SELECT $2, $3, $1, 'running', $4, $5::timestamptz, $6::json, $7::boolean, $8, 1, $9::timestamptz, $10::timestamptz
		WHERE NOT EXISTS (SELECT 1 FROM exportops.runs r WHERE `+ofLane+` AND r.seq > $11)
		ON CONFLICT DO NOTHING RETURNING `+runColumns,
		b.Lane, exportops.NewID(), string(b.Job), string(b.Trigger), slot, string(b.Params), b.Forced, b.Holder,
		exportops.At(b.Now.Add(b.Lease)).String(), b.Now.String(), b.seen))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return run, fence, "", errLost
	case err != nil:
		return run, fence, "", fmt.Errorf("record run of %s: %w", b.Job, err)
	}
	return r.Run, exportops.Fence{RunID: r.ID, Token: r.token}, exportops.Started, nil
}

// earlier looks for a run that has answered the request already: the one it
// resumes, one for the same slot, or a success with the same Idempotency-Key
// within a day.
func (b *beginning) earlier(ctx context.Context, tx pgx.Tx) (runRow, bool, error) {
	if b.Resumes != "" {
		run, found, err := runWhere(ctx, tx, `r.id = $1`, b.Resumes)
		if err == nil && !found {
			err = &exportops.Error{Kind: exportops.KindNotFound, Message: fmt.Sprintf("there is no run %q", b.Resumes)}
		}
		return run, err == nil && run.Finished(), err
	}
	if b.Slot != nil {
		run, found, err := runWhere(ctx, tx, `r.job = $1 AND r.slot = $2::timestamptz`, string(b.Job), b.Slot.String())
		if err != nil || found {
			return run, err == nil && run.Finished(), err
		}
	}
	if b.IdempotencyKey == "" {
		return runRow{}, false, nil
	}
	run, found, err := runWhere(ctx, tx, `r.id = (SELECT k.run_id FROM exportops.run_keys k
		WHERE k.key = $1 AND k.used_at > $2::timestamptz)`, b.IdempotencyKey, b.replayedSince())
	switch {
	case err != nil || !found:
		return runRow{}, false, err
	case run.Job != b.Job || string(run.Params) != string(b.Params):
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

func (b *beginning) replayedSince() string {
	return exportops.At(b.Now.Add(-exportops.ReplayFor)).String()
}

// keepKey remembers which run answers an Idempotency-Key, and forgets those
// that are no longer replayed, but none that another replica is at work on.
func (b *beginning) keepKey(ctx context.Context, tx pgx.Tx, runID string) error {
	_, err := tx.Exec(ctx, `DELETE FROM exportops.run_keys WHERE key IN (
		SELECT key FROM exportops.run_keys WHERE used_at <= $1::timestamptz FOR UPDATE SKIP LOCKED)`, b.replayedSince())
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO exportops.run_keys (key, run_id, used_at) VALUES ($1, $2, $3::timestamptz)
			ON CONFLICT (key) DO UPDATE SET run_id = excluded.run_id, used_at = excluded.used_at`,
			b.IdempotencyKey, runID, b.Now.String())
	}
	if err != nil {
		return fmt.Errorf("keep the Idempotency-Key of run %s: %w", runID, err)
	}
	return nil
}
