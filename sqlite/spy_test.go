package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"testing"
)

// spy opens connections that tell of every statement.
type spy struct {
	driver driver.Driver
	dsn    string
	seen   func(query string, args []driver.NamedValue)
}

// Driver implements driver.Connector.
func (s *spy) Driver() driver.Driver { return s.driver }

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	c, err := s.driver.Open(s.dsn)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(spiedConn)
	if !ok {
		return nil, fmt.Errorf("a connection of type %T cannot be watched", c)
	}
	return &spyConn{conn, s}, nil
}

// spyOn replaces a pool of the store by one that tells seen of every statement.
func spyOn(t *testing.T, pool **sql.DB, path string, seen func(string, []driver.NamedValue)) {
	t.Helper()
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=immediate&_pragma=busy_timeout(5000)"}
	watched := sql.OpenDB(&spy{(*pool).Driver(), dsn.String(), seen})
	if err := (*pool).Close(); err != nil {
		t.Fatal(err)
	}
	*pool = watched
}

type spiedConn interface {
	sqliteConn
	driver.ConnBeginTx
}

type spyConn struct {
	spiedConn
	spy *spy
}

func (c *spyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.spy.seen(query, args)
	return c.spiedConn.ExecContext(ctx, query, args)
}

func (c *spyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.spy.seen(query, args)
	return c.spiedConn.QueryContext(ctx, query, args)
}

func (c *spyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.spiedConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	prepared, ok := st.(sqliteStmt)
	if !ok {
		return nil, fmt.Errorf("a statement of type %T cannot be watched", st)
	}
	return &spyStmt{prepared, c.spy, query}, nil
}

type spyStmt struct {
	sqliteStmt
	spy   *spy
	query string
}

func (s *spyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.spy.seen(s.query, args)
	return s.sqliteStmt.ExecContext(ctx, args)
}

func (s *spyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.spy.seen(s.query, args)
	return s.sqliteStmt.QueryContext(ctx, args)
}
