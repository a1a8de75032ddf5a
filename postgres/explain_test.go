package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/exportops/exportops"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Run("a_url_that_cannot_be_read", func(t *testing.T) {
		for _, u := range []string{"postgres://u:p4ss%zz@h/d", "postgres://u:p4ss word@h:x/d", "postgres://u:p4ss@h/d?sslmode=never"} {
			_, err := Open(t.Context(), Options{URL: u})
			if !exportops.IsKind(err, exportops.KindInvalid) || strings.Contains(err.Error(), "p4ss") {
				t.Errorf("%q: %v", u, err)
			}
		}
	})
	t.Run("nobody_listens", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: "postgres://u:p4ss@127.0.0.1:1/d"})
		wantUnavailable(t, err, "DATABASE_URL", "postgres://127.0.0.1:1/d", "reached")
		if strings.Contains(err.Error(), "p4ss") {
			t.Errorf("it tells the password: %v", err)
		}
	})
	// Roles first: they go last, when nothing is granted to them any more.
	group, reader, full, member := newRoleName(t), newRole(t, "SUPERUSER"), newRole(t, "CONNECTION LIMIT 0"), newRole(t, "")
	run(t, serverURL(t), `CREATE ROLE `+group, `ALTER ROLE `+reader+` SET default_transaction_read_only = on`)
	url := newDatabase(t)
	t.Run("no_such_database", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: withDatabase(t, serverURL(t), "exportops_nowhere")})
		wantUnavailable(t, err, "DATABASE_URL", "exportops_nowhere")
	})
	t.Run("a_role_that_may_not_log_in", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: as(t, url, group)})
		wantUnavailable(t, err, "DATABASE_URL", group)
	})
	t.Run("a_wrong_password", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: strings.Replace(as(t, url, member), "p4ss-word", "wr0ng", 1)})
		if err == nil {
			t.Skip("the server trusts everybody")
		}
		wantUnavailable(t, err, "DATABASE_URL", member, "refuses")
		if strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("it tells the password: %v", err)
		}
	})
	t.Run("no_connection_is_left", func(t *testing.T) {
		_, err := Open(t.Context(), Options{URL: as(t, url, full)})
		wantUnavailable(t, err, "DATABASE_URL", "no connection left")
	})
	t.Run("it_only_reads", func(t *testing.T) {
		s := openStore(t, as(t, url, reader))
		must(t, s.Ready(t.Context()))
		_, err := s.Schedule(t.Context(), exportops.FileCleanup, "0 2 * * *", noon)
		wantUnavailable(t, err, "DATABASE_URL", "only reads")
	})
	t.Run("a_lock_is_not_to_be_had", func(t *testing.T) {
		s := openStore(t, url)
		w := &world{t, s, s, url}
		s.opened.LockTimeout = 20 * time.Millisecond
		app := w.app()
		w.exec(app, `LOCK TABLE exportops.schedules`)
		_, err := s.Schedule(t.Context(), exportops.FileCleanup, "0 2 * * *", noon)
		wantUnavailable(t, err, "DATABASE_URL", "lock", "20ms")
	})
	t.Run("a_statement_takes_too_long", func(t *testing.T) {
		s := openStore(t, url)
		s.opened.StatementTimeout = 20 * time.Millisecond
		sleep := func(tx pgx.Tx) error { _, err := tx.Exec(t.Context(), `SELECT pg_sleep(0.1)`); return err }
		wantUnavailable(t, s.reading(t.Context(), sleep), "DATABASE_URL", "20ms")
		must(t, s.streaming(t.Context(), sleep))
	})
	t.Run("the_server_ends_the_connection", func(t *testing.T) {
		s := openStore(t, url)
		err := s.reading(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		})
		wantUnavailable(t, err, "DATABASE_URL")
		must(t, s.Ready(t.Context())) // with a new one
	})
	t.Run("who_gave_up_hears_that", func(t *testing.T) {
		s := openStore(t, url)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Ready(ctx); err == nil || exportops.IsKind(err, exportops.KindUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNameHasNoPassword(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://u:p@h:6543/d?sslmode=disable": "postgres://h:6543/d",
		"postgres://u:p@/d?host=/run/x&port=5":    "postgres:///d?host=%2Frun%2Fx",
		"postgres://u:p@[::1]/d":                  "postgres://[::1]:5432/d",
	} {
		cfg, err := Options{URL: given}.withDefaults().config()
		must(t, err)
		if got := nameOf(cfg.ConnConfig); got != want {
			t.Errorf("%s is named %s, want %s", given, got, want)
		}
	}
}
