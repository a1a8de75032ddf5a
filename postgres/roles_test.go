package postgres

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

// newRoleName makes up the name of a role, which is dropped in the end: databases
// in which it has privileges must be made later, so that they go first.
func newRoleName(t testing.TB) string {
	t.Helper()
	server, name := serverURL(t), "exportops_"+strings.ReplaceAll(exportops.NewID(), "-", "")
	t.Cleanup(func() { run(t, server, `DROP ROLE IF EXISTS `+name) })
	return name
}

// newRole makes a role that may log in.
func newRole(t testing.TB, options string) string {
	t.Helper()
	name := newRoleName(t)
	run(t, serverURL(t), `CREATE ROLE `+name+` LOGIN PASSWORD 'p4ss-word' `+options)
	return name
}

// as is a URL for another role.
func as(t testing.TB, database, role string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "p4ss-word")
	return u.String()
}

// value reads what a query yields.
func value[T any](t testing.TB, url, query string, args ...any) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}
