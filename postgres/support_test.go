package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/storetest"
)

// serverURL names the test server, or skips the test.
func serverURL(t testing.TB) string {
	t.Helper()
	u := os.Getenv("EXPORTOPS_TEST_POSTGRES")
	if u == "" {
		t.Skip("EXPORTOPS_TEST_POSTGRES names no server")
	}
	return u
}

// withDatabase is a server's URL with another database.
func withDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// run executes statements on a connection of its own.
func run(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx := context.Background() // a cleanup runs after the test's context ends
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
}

var template struct {
	sync.Mutex
	name string
}

// newDatabase makes a migrated database, and drops it in the end.
func newDatabase(t testing.TB) string {
	t.Helper()
	server := serverURL(t)
	template.Lock()
	defer template.Unlock()
	if template.name == "" {
		name := fmt.Sprintf("exportops_template_%d", os.Getpid())
		run(t, server, `CREATE DATABASE `+name)
		template.name = name
		migrated(t, withDatabase(t, server, name))
	}
	name := "exportops_" + strings.ReplaceAll(exportops.NewID(), "-", "")
	run(t, server, `CREATE DATABASE `+name+` TEMPLATE `+template.name)
	t.Cleanup(func() { run(t, server, `DROP DATABASE `+name+` WITH (FORCE)`) })
	return withDatabase(t, server, name)
}

// emptyDatabase makes a database with nothing in it, and drops it in the end.
func emptyDatabase(t testing.TB) string {
	t.Helper()
	server, name := serverURL(t), "exportops_"+strings.ReplaceAll(exportops.NewID(), "-", "")
	run(t, server, `CREATE DATABASE `+name)
	t.Cleanup(func() { run(t, server, `DROP DATABASE `+name+` WITH (FORCE)`) })
	return withDatabase(t, server, name)
}

// migrated makes our tables and the application's.
func migrated(t testing.TB, url string) {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateExportLogs(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if template.name != "" {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, os.Getenv("EXPORTOPS_TEST_POSTGRES"))
		if err == nil {
			_, err = conn.Exec(ctx, `DROP DATABASE `+template.name+` WITH (FORCE)`)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// openStore opens a database, one more replica of those that use it.
func openStore(t testing.TB, url string) *Store {
	t.Helper()
	return openWith(t, Options{URL: url})
}

func openWith(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// plainSQL turns the suite's statements into ours.
var plainSQL = strings.NewReplacer("{logs}", DefaultTable, "exportops_", "exportops.", "sealed = 1", "sealed = true",
	"'theirs'", "'2001-02-03T04:05:06Z'")

func numbered(query string) string {
	query = plainSQL.Replace(query)
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

// fixtureOn is a fixture of a store, with a connection pool of its own beside
// it, as the application has.
func fixtureOn(t testing.TB, s *Store, all exportops.Store) storetest.Fixture {
	t.Helper()
	return storetest.Fixture{
		Store: all,
		Typed: true,
		Exec: func(t testing.TB, query string, args ...any) {
			t.Helper()
			if _, err := s.pool.Exec(t.Context(), numbered(query), args...); err != nil {
				t.Fatal(err)
			}
		},
		Insert: func(t testing.TB, rows ...storetest.Row) {
			t.Helper()
			for _, r := range rows {
				if r.UpdatedAt == "theirs" {
					r.UpdatedAt = "2001-02-03T04:05:06Z"
				}
				_, err := s.pool.Exec(t.Context(), `INSERT INTO public.export_logs (id, export_id, user_id, timestamp, format,
					config, conversation_count, file_size, status, file_url, expires_at, error_message, created_at, updated_at)
					VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
					r.ID, r.ExportID, r.UserID, r.Timestamp, r.Format, r.Config, r.Conversations, r.FileSize, r.Status,
					r.FileURL, r.ExpiresAt, r.Error, r.CreatedAt, r.UpdatedAt)
				if err != nil {
					t.Fatal(err)
				}
			}
		},
		Count: func(t testing.TB, query string, args ...any) (n int64) {
			t.Helper()
			if err := s.pool.QueryRow(t.Context(), numbered(query), args...).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		},
	}
}

// databaseOf is the name of the database that a URL names.
func databaseOf(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}
