package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// The classes of our transaction-scoped advisory locks.
const (
	lockHolds    = 0x65786f31 // claims and row deletions share it; placing a hold takes it alone
	lockKeys     = 0x65786f32 // with the hash of an Idempotency-Key
	lockExports  = 0x65786f33 // with a number that some exports share: who decides what they count as
	lockSchema   = 0x65786f34 // whoever changes the schema
	lockArchives = 0x65786f35 // who numbers an archive
	lockChain    = 0x65786f36 // whoever links entries of the ledger
	lockOutbox   = 0x65786f37 // claims of notifications share it; whoever has dead ones tried again takes it alone
)

// opening is what each transaction begins with, in one round trip: behind a
// pooler nothing outlasts it. Rows that row level security hides are an error,
// not nothing; times and bytes are printed in one way, whatever the server is
// set to; whoever opens a cursor reads all of it; to compile a query takes longer
// than it runs. The search path stays, because triggers of the application run in
// it; and whether it may write is the server's to say, which may protect a full
// disk.
func opening(mode string, lock, statement time.Duration) string {
	return fmt.Sprintf(`BEGIN %s; SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d;
		SET LOCAL row_security = off; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO';
		SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL cursor_tuple_fraction = 1;
		SET LOCAL jit = off`,
		mode, lock.Milliseconds(), statement.Milliseconds())
}

// tx runs fn in a transaction.
func (s *Store) tx(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.begin(ctx, opening("", s.opened.LockTimeout, s.opened.StatementTimeout), fn)
}

// reading runs fn in a transaction that cannot write.
func (s *Store) reading(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.begin(ctx, opening("READ ONLY", s.opened.LockTimeout, s.opened.StatementTimeout), fn)
}

// streaming is reading for statements whose rows somebody consumes as they come,
// or that look at a whole table: their time is bounded by ctx alone.
func (s *Store) streaming(ctx context.Context, fn func(pgx.Tx) error) error {
	return s.begin(ctx, opening("READ ONLY", s.opened.LockTimeout, 0), fn)
}

func (s *Store) begin(ctx context.Context, begin string, fn func(pgx.Tx) error) error {
	if s.stage != nil {
		return s.explain(s.stage.begin(ctx, fn))
	}
	return s.explain(pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, fn))
}

// fenced runs fn in a transaction of a run: it commits only while the run is
// still held with the checkpoint's token, and renews the lease with it. The
// lock on the row of the run, or of the worker, makes the transactions of one
// holder follow each other, and whoever ends the run wait for them.
func (s *Store) fenced(ctx context.Context, c exportops.Checkpoint, fn func(pgx.Tx) error) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := checkFence(ctx, tx, c); err != nil {
			return err
		}
		return fn(tx)
	})
}

func checkFence(ctx context.Context, tx pgx.Tx, c exportops.Checkpoint) error {
	query := `
		UPDATE exportops.runs SET lease_until = $1::timestamptz, result = coalesce($2::json, result)
		WHERE id = $3 AND token = $4 AND state = 'running'`
	if c.Token < 0 { // a worker's
		query = `
			UPDATE exportops.workers AS w SET lease_until = $1::timestamptz, result = coalesce($2::json, result)
			WHERE run_id = $3 AND token = $4 AND left_at IS NULL
				AND EXISTS (SELECT 1 FROM exportops.runs r WHERE r.id = w.run_id AND r.state = 'running')`
	}
	tag, err := tx.Exec(ctx, query,
		exportops.At(c.Now.Add(c.Lease)).String(), nullJSON(c.Progress), c.RunID, c.Token)
	if err != nil {
		return fmt.Errorf("check the fence of run %s: %w", c.RunID, err)
	}
	if tag.RowsAffected() == 0 {
		return exportops.ErrFenced
	}
	return nil
}

// nullJSON is JSON as text, or null.
func nullJSON(b json.RawMessage) *string { return nullText(string(b)) }
