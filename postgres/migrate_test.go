package postgres

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/internal/schema"
)

func TestMigrate(t *testing.T) {
	t.Run("from_nothing_and_again", func(t *testing.T) {
		s := openStore(t, emptyDatabase(t))
		have, want, err := s.SchemaVersion(t.Context())
		if err != nil || have != 0 || want < 1 {
			t.Fatalf("versions %d and %d: %v", have, want, err)
		}
		for range 2 {
			must(t, s.Migrate(t.Context()))
		}
		if have, _, err := s.SchemaVersion(t.Context()); err != nil || have != want {
			t.Fatalf("version %d, want %d: %v", have, want, err)
		}
		wantUnavailable(t, s.Ready(t.Context()), "EXPORT_LOGS_TABLE", "public.export_logs") // it is the application's
	})
	t.Run("a_version_ahead_is_left_alone", func(t *testing.T) {
		url := newDatabase(t)
		s := openStore(t, url)
		_, ours, err := s.SchemaVersion(t.Context())
		must(t, err)
		run(t, url, fmt.Sprintf(`INSERT INTO exportops.schema_version (version_id, is_applied) VALUES (%d, true)`, ours+1))
		must(t, s.Migrate(t.Context()))
		if have, _, err := s.SchemaVersion(t.Context()); err != nil || have != ours+1 {
			t.Fatalf("version %d: %v", have, err)
		}
	})
	t.Run("what_fails_leaves_nothing", func(t *testing.T) {
		url := emptyDatabase(t)
		run(t, url, `CREATE SCHEMA exportops`, `CREATE TABLE exportops.schedules (taken text)`)
		s := openStore(t, url)
		if err := s.Migrate(t.Context()); err == nil {
			t.Fatal("it took a table of another's")
		}
		if n := value[int](t, url, `SELECT count(*) FROM pg_class WHERE relnamespace = 'exportops'::regnamespace AND relkind = 'r'`); n != 1 {
			t.Fatalf("%d tables are left of it", n)
		}
	})
}

func TestMigrateAtOnce(t *testing.T) {
	databases := map[string]string{"directly": emptyDatabase(t)}
	if bouncer := os.Getenv("EXPORTOPS_TEST_PGBOUNCER"); bouncer != "" {
		u := emptyDatabase(t)
		databases["through_a_pooler"] = withDatabase(t, bouncer, u[strings.LastIndex(u, "/")+1:])
	}
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			const n = 4
			var all sync.WaitGroup
			errs := make([]error, n)
			for i := range n {
				s := openStore(t, url)
				all.Go(func() {
					if errs[i] = s.Migrate(t.Context()); errs[i] == nil {
						_, errs[i] = s.CreateExportLogs(t.Context())
					}
				})
			}
			all.Wait()
			for _, err := range errs {
				must(t, err)
			}
			s := openStore(t, url)
			must(t, s.Ready(t.Context()))
			var applied int
			must(t, s.reading(t.Context(), func(tx pgx.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM exportops.schema_version`).Scan(&applied)
			}))
			if steps, err := schema.Read(migrations, "migrations"); err != nil || applied != len(steps) {
				t.Fatalf("%d migrations were applied, there are %d: %v", applied, len(steps), err)
			}
		})
	}
}

func TestCreateExportLogs(t *testing.T) {
	t.Run("where_there_are_no_users", func(t *testing.T) {
		url := emptyDatabase(t)
		run(t, url, `CREATE SCHEMA "App"`)
		s, err := Open(t.Context(), Options{URL: url, Table: "App.exports"})
		must(t, err)
		defer s.Close()
		must(t, s.Migrate(t.Context()))
		notes, err := s.CreateExportLogs(t.Context())
		must(t, err)
		if len(notes) != 1 || !strings.Contains(notes[0], "row level security is off") {
			t.Fatalf("notes %q", notes)
		}
		must(t, s.Ready(t.Context()))
		run(t, url, `INSERT INTO "App".exports (export_id, user_id, timestamp, format, config, conversation_count, updated_at)
			VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'csv', '{}', 1, '2020-01-01Z')`,
			`UPDATE "App".exports SET conversation_count = 2`)
		if !value[bool](t, url, `SELECT updated_at > '2021-01-01Z' FROM "App".exports`) {
			t.Error("an update leaves updated_at as it was")
		}
		run(t, url, `UPDATE "App".exports SET updated_at = '2022-01-01Z'`)
		if !value[bool](t, url, `SELECT updated_at = '2022-01-01Z' FROM "App".exports`) {
			t.Error("an update that sets updated_at is overruled")
		}
		d, err := s.Diagnose(t.Context(), noon)
		if err != nil || len(d.MissingIndexes) != 0 {
			t.Errorf("indexes are missing: %q %v", d.MissingIndexes, err)
		}
	})
	t.Run("never_touches_one_that_is_there", func(t *testing.T) {
		url := emptyDatabase(t)
		run(t, url, `CREATE TABLE export_logs (theirs text)`)
		s := openStore(t, url)
		must(t, s.Migrate(t.Context()))
		notes, err := s.CreateExportLogs(t.Context())
		must(t, err)
		if n := value[int](t, url, `SELECT count(*) FROM pg_attribute WHERE attrelid = 'export_logs'::regclass AND attnum > 0`); n != 1 {
			t.Fatalf("it has %d columns now; notes %q", n, notes)
		}
	})
	t.Run("where_users_are_supabases", func(t *testing.T) {
		app := newRole(t, "")
		url := emptyDatabase(t)
		run(t, url, `CREATE SCHEMA auth`, `CREATE TABLE auth.users (id uuid PRIMARY KEY)`,
			`CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('app.uid', true), '')::uuid $$`,
			`GRANT USAGE ON SCHEMA auth TO `+app)
		s := openStore(t, url)
		must(t, s.Migrate(t.Context()))
		notes, err := s.CreateExportLogs(t.Context())
		must(t, err)
		if len(notes) != 1 || !strings.Contains(notes[0], "row level security is on") {
			t.Fatalf("notes %q", notes)
		}
		must(t, s.Ready(t.Context())) // as a superuser
		const a, b = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
		insert := func(user string) string {
			return `INSERT INTO export_logs (export_id, user_id, timestamp, format, config, conversation_count)
				VALUES (gen_random_uuid(), '` + user + `', now(), 'csv', '{}', 1)`
		}
		run(t, url, `GRANT ALL ON export_logs TO `+app, `INSERT INTO auth.users VALUES ('`+a+`'), ('`+b+`')`, insert(a), insert(b))
		conn, err := pgx.Connect(t.Context(), as(t, url, app))
		must(t, err)
		defer func() { _ = conn.Close(t.Context()) }()
		affected := func(query string) int64 {
			t.Helper()
			tag, err := conn.Exec(t.Context(), query)
			must(t, err)
			return tag.RowsAffected()
		}
		affected(`SET app.uid = '` + a + `'`)
		if n := affected(`SELECT 1 FROM export_logs`); n != 1 {
			t.Errorf("a user sees %d rows", n)
		}
		if n := affected(`UPDATE export_logs SET status = 'failed'`); n != 1 {
			t.Errorf("a user updates %d rows", n)
		}
		if n := affected(`DELETE FROM export_logs`); n != 0 {
			t.Errorf("a user deletes %d rows", n)
		}
		for _, query := range []string{insert(b), `UPDATE export_logs SET user_id = '` + b + `'`} {
			var e *pgconn.PgError
			if _, err := conn.Exec(t.Context(), query); !errors.As(err, &e) || e.Code != "42501" {
				t.Errorf("a user may %s: %v", query, err)
			}
		}
		affected(insert(a))
		run(t, url, `DELETE FROM auth.users WHERE id = '`+a+`'`)
		if n := value[int](t, url, `SELECT count(*) FROM export_logs`); n != 1 {
			t.Errorf("%d rows are left of two users, one of whom is gone", n)
		}
	})
}

func TestGrants(t *testing.T) {
	migrator, runner := newRoleName(t), newRoleName(t)
	url := emptyDatabase(t)
	admin := openStore(t, url)
	_, err := admin.CreateExportLogs(t.Context())
	must(t, err)
	for _, secured := range []bool{false, true} {
		if secured {
			run(t, url, `ALTER TABLE export_logs ENABLE ROW LEVEL SECURITY`)
		}
		grants, err := admin.Grants(t.Context(), migrator, runner)
		must(t, err)
		if got := strings.Contains(grants, "BYPASSRLS"); got != secured {
			t.Fatalf("with row level security %v:\n%s", secured, grants)
		}
		if secured {
			run(t, url, grants, `ALTER ROLE `+migrator+` PASSWORD 'p4ss-word'`, `ALTER ROLE `+runner+` PASSWORD 'p4ss-word'`)
		}
	}
	must(t, openStore(t, as(t, url, migrator)).Migrate(t.Context()))
	s := openStore(t, as(t, url, runner))
	must(t, s.Ready(t.Context()))
	w := &world{t, s, s, as(t, url, runner)}
	w.begin(s, "file-cleanup", noon)
	for _, query := range []string{
		`CREATE TABLE exportops.mine (x int)`, `ALTER TABLE exportops.runs ADD COLUMN x int`,
		`ALTER TABLE export_logs ADD COLUMN x int`, `TRUNCATE export_logs`, `DROP TABLE exportops.runs`,
	} {
		if _, err := s.pool.Exec(t.Context(), query); err == nil {
			t.Errorf("who runs may %s", query)
		}
	}
	besideByTheRunner(t, url, s, runner)
	for _, query := range []string{`SELECT 1 FROM export_logs`, `CREATE SCHEMA mine`} {
		if _, err := openStore(t, as(t, url, migrator)).pool.Exec(t.Context(), query); err == nil {
			t.Errorf("who migrates may %s", query)
		}
	}
}

// besideByTheRunner makes tables beside the export logs: not without the grant that is
// printed for it, and for no other role to read.
func besideByTheRunner(t *testing.T, admin string, s *Store, runner string) {
	t.Helper()
	run(t, admin, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`) // older servers grant it
	_, err := s.RestoreBeside(t.Context(), "old_rows", nil, 0, planNow)
	var told *exportops.Error
	if !exportops.IsKind(err, exportops.KindUnavailable) || !errors.As(err, &told) {
		t.Fatalf("without the grant: %v", err)
	}
	_, grant, ok := strings.Cut(told.Hint, "run: ")
	if !ok {
		t.Fatalf("the hint %q has no statement", told.Hint)
	}
	run(t, admin, grant)
	_, err = s.RestoreBeside(t.Context(), "old_rows", nil, 0, planNow)
	must(t, err)
	reader := newRole(t, "")
	run(t, admin, `GRANT ALL ON old_rows TO `+reader, `INSERT INTO old_rows (id) VALUES (gen_random_uuid())`)
	if n := value[int](t, as(t, admin, reader), `SELECT count(*) FROM old_rows`); n != 0 {
		t.Errorf("another role reads %d rows", n)
	}
	if n := value[int](t, as(t, admin, runner), `SELECT count(*) FROM old_rows`); n != 1 {
		t.Errorf("who runs reads %d rows, want 1", n)
	}
	run(t, admin, `REVOKE ALL ON old_rows FROM `+reader)
	must(t, s.DropBeside(t.Context(), "old_rows"))

	other := openStore(t, admin)
	_, err = other.RestoreBeside(t.Context(), "old_rows", nil, 0, planNow)
	must(t, err)
	if _, _, err := s.Traces(t.Context(), exportops.NewID(), nil, "", 10); !exportops.IsKind(err, exportops.KindConflict) || !strings.Contains(err.Error(), "belongs to the role") {
		t.Errorf("an erasure where the table is another role's: %v", err)
	}
	must(t, other.DropBeside(t.Context(), "old_rows"))
}
