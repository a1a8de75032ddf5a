package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/exportops/exportops"
)

// Rehearse implements exportops.Database. It holds the database's one writer. A
// failure to roll back is an error; the connection is given up then, which rolls
// back too.
func (s *Store) Rehearse(ctx context.Context, fn func(exportops.Store) error) error {
	return s.onWriter(ctx, func(conn *sql.Conn) error {
		return conn.Raw(func(raw any) error {
			stage, ok := raw.(sqliteConn)
			if !ok {
				return fmt.Errorf("a connection of type %T cannot rehearse", raw)
			}
			return s.rehearse(ctx, stage, fn)
		})
	})
}

func (s *Store) rehearse(ctx context.Context, stage sqliteConn, fn func(exportops.Store) error) (err error) {
	if _, err := stage.ExecContext(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		return s.explain(fmt.Errorf("begin a rehearsal: %w", err))
	}
	var mu sync.Mutex
	play := &Store{path: s.path, table: s.table, replacer: s.replacer, configKeys: s.configKeys, turn: semaphore.NewWeighted(1)}
	play.write = sql.OpenDB(&stageConnector{stage: stage, mu: &mu, writes: true})
	play.write.SetMaxOpenConns(1)
	play.read = sql.OpenDB(&stageConnector{stage: stage, mu: &mu})
	defer func() {
		err = errors.Join(err, play.Close()) //nolint:contextcheck // no context ends it
		// Also when ctx has ended or fn panicked.
		if _, rb := stage.ExecContext(context.WithoutCancel(ctx), "ROLLBACK", nil); rb != nil {
			err = errors.Join(err, fmt.Errorf("roll a rehearsal back: %w", rb), driver.ErrBadConn)
		}
	}()
	return fn(play)
}

// sqliteConn is what the driver's connections offer.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

// stageConnector gives out connections that all are the same one. Pools need
// several, since a statement runs while the rows of another are read; SQLite
// allows that on one connection as long as calls take turns.
type stageConnector struct {
	stage  sqliteConn
	mu     *sync.Mutex
	writes bool
}

func (c *stageConnector) Connect(context.Context) (driver.Conn, error) {
	return &stageConn{stageConnector: c}, nil
}

func (c *stageConnector) Driver() driver.Driver { return nil }

// stageConn is a stage's connection. Its transactions are savepoints in the one
// that is rolled back; those of readers are nothing, since they see what is
// there anyway, and a savepoint of theirs would undo what was written inside it.
type stageConn struct {
	*stageConnector
}

func (c *stageConn) Close() error { return nil }
func (c *stageConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *stageConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *stageConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, err := c.stage.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	prepared, ok := st.(sqliteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a statement of type %T cannot be rehearsed", st), st.Close())
	}
	return &stageStmt{prepared, c.mu}, nil
}

func (c *stageConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage.ExecContext(ctx, query, args)
}

func (c *stageConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rows, err := c.stage.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &stageRows{rows, c.mu}, nil
}

func (c *stageConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if !c.writes || o.ReadOnly {
		return readerTx{}, nil
	}
	if _, err := c.ExecContext(ctx, "SAVEPOINT rehearsal", nil); err != nil {
		return nil, err
	}
	return savepoint{c}, nil
}

type readerTx struct{}

func (readerTx) Commit() error   { return nil }
func (readerTx) Rollback() error { return nil }

type savepoint struct{ c *stageConn }

func (s savepoint) Commit() error { return s.exec("RELEASE rehearsal") }

func (s savepoint) Rollback() error {
	return errors.Join(s.exec("ROLLBACK TO rehearsal"), s.exec("RELEASE rehearsal"))
}

func (s savepoint) exec(query string) error {
	_, err := s.c.ExecContext(context.Background(), query, nil)
	return err
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type stageStmt struct {
	sqliteStmt
	mu *sync.Mutex
}

func (s *stageStmt) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sqliteStmt.Close()
}

func (s *stageStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sqliteStmt.ExecContext(ctx, args)
}

func (s *stageStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.sqliteStmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	return &stageRows{rows, s.mu}, nil
}

type stageRows struct {
	driver.Rows
	mu *sync.Mutex
}

func (r *stageRows) Next(dest []driver.Value) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Rows.Next(dest)
}

func (r *stageRows) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Rows.Close()
}
