package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/exportops/exportops"
)

// tx runs fn in a transaction that holds the write lock from its start.
func (s *Store) tx(ctx context.Context, fn func(*sql.Tx) error) error {
	return s.onWriter(ctx, func(conn *sql.Conn) error { return s.begin(ctx, conn, fn) })
}

// onWriter runs fn with the writer, which those who ask get in their order: a pool
// would pick any of them, and one could wait for two others' transactions.
func (s *Store) onWriter(ctx context.Context, fn func(*sql.Conn) error) (err error) {
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("wait for the writer: %w", err)
	}
	defer s.turn.Release(1)
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return s.explain(fmt.Errorf("begin: %w", err))
	}
	defer func() {
		if failed := conn.Close(); failed != nil {
			err = errors.Join(err, failed)
		}
	}()
	return fn(conn)
}

func (s *Store) begin(ctx context.Context, conn *sql.Conn, fn func(*sql.Tx) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(fmt.Errorf("begin: %w", err))
	}
	return s.end(tx, fn(tx))
}

// end commits a transaction, or rolls it back after an error.
func (s *Store) end(tx *sql.Tx, err error) error {
	if err != nil {
		// A rollback after a failure the driver already rolled back is no news.
		if rb := tx.Rollback(); rb != nil && !errors.Is(rb, sql.ErrTxDone) {
			err = errors.Join(err, rb)
		}
		return s.explain(err)
	}
	if err := tx.Commit(); err != nil {
		return s.explain(fmt.Errorf("commit: %w", err))
	}
	return nil
}

// fenced runs fn in a transaction of a run: it commits only while the run is
// still held with the checkpoint's token, and renews the lease with it.
func (s *Store) fenced(ctx context.Context, c exportops.Checkpoint, fn func(*sql.Tx) error) error {
	return s.tx(ctx, func(tx *sql.Tx) error { return s.inFence(ctx, tx, c, fn) })
}

func (s *Store) inFence(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint, fn func(*sql.Tx) error) error {
	if err := s.checkFence(ctx, tx, c); err != nil {
		return err
	}
	return fn(tx)
}

func (s *Store) checkFence(ctx context.Context, tx *sql.Tx, c exportops.Checkpoint) error {
	query := `
		UPDATE exportops_runs SET lease_until = ?, result = coalesce(?, result)
		WHERE id = ? AND token = ? AND state = 'running'`
	if c.Token < 0 { // a worker's
		query = `
			UPDATE exportops_workers AS w SET lease_until = ?, result = coalesce(?, result)
			WHERE run_id = ? AND token = ? AND left_at IS NULL
				AND EXISTS (SELECT 1 FROM exportops_runs r WHERE r.id = w.run_id AND r.state = 'running')`
	}
	res, err := tx.ExecContext(ctx, query,
		exportops.At(c.Now.Add(c.Lease)).String(), nullJSON(c.Progress), c.RunID, c.Token)
	if err != nil {
		return fmt.Errorf("check the fence of run %s: %w", c.RunID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return exportops.ErrFenced
}

// explain gives the errors an operator can do something about their kind.
func (s *Store) explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return unavailable(s.path, err)
	}
	return err
}

// isUnique reports whether err is the violation of a unique index.
func isUnique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// refused says of a row that the table of export logs does not take, as its constraints
// have it, that it is the row which is wrong.
func refused(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_CONSTRAINT {
		return err
	}
	return &exportops.Error{Kind: exportops.KindInvalid, Message: "the table of export logs refuses the row", Err: err}
}

// nullJSON returns JSON as text, which SQLite's functions take, or null.
func nullJSON(b json.RawMessage) any {
	if len(b) == 0 {
		return nil
	}
	return string(b)
}

// jsonList returns values as the text of a JSON array, for json_each.
func jsonList[T any](values []T) (string, error) {
	var list any = values
	switch values := list.(type) {
	case []string:
		exact := make([]text, len(values))
		for i, v := range values {
			exact[i] = text(v)
		}
		list = exact
	case []any:
		exact := make([]any, len(values))
		for i, v := range values {
			if s, ok := v.(string); ok {
				v = text(s)
			}
			exact[i] = v
		}
		list = exact
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// text is a string that any program may have stored. SQLite takes its bytes as
// they stand in JSON; the standard library would replace those that are not
// UTF-8, and the list would name another row.
type text string

// MarshalJSON keeps every byte.
func (t text) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(t)+2)
	b = append(b, '"')
	for _, c := range []byte(t) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"'), nil
}

// timePtr reads a stored time; text that is none is treated as missing.
func timePtr(s sql.NullString) *exportops.Time {
	if !s.Valid {
		return nil
	}
	t, ok := exportops.ParseStoredTime(s.String)
	if !ok {
		return nil
	}
	return &t
}
