package postgres

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/exportops/exportops"
)

// wantError fails unless err is of a kind, names a field and holds words.
func wantError(t *testing.T, err error, k exportops.Kind, field string, words ...string) {
	t.Helper()
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != k || e.Field != field || e.Hint == "" && k == exportops.KindUnavailable {
		t.Fatalf("error is %v (%+v), want %s about %s with a hint", err, e, k, field)
	}
	for _, w := range words {
		if !strings.Contains(e.Message+" "+e.Hint, w) {
			t.Errorf("%q and %q do not say %q", e.Message, e.Hint, w)
		}
	}
}

func TestMigratorsAtOnce(t *testing.T) {
	db := emptyDatabase(t)
	s := openStore(t, db)
	if have, want, err := s.SchemaVersion(t.Context()); err != nil || have != 0 || want < 1 {
		t.Fatalf("an empty database has version %d of %d, %v", have, want, err)
	}
	wantError(t, s.Ready(t.Context()), exportops.KindUnavailable, databaseURL, "exportops migrate")
	var all sync.WaitGroup
	for range 4 {
		other := openStore(t, db)
		all.Go(func() {
			if err := other.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := other.CreateExportLogs(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if have, want, err := s.SchemaVersion(t.Context()); err != nil || have != want {
		t.Fatalf("version %d, want %d, %v", have, want, err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("runs_against_the_schema_one_version_ahead", func(t *testing.T) {
		run(t, db, `INSERT INTO exportops.schema_versions (version_id, is_applied) SELECT max(version_id) + 1, true FROM exportops.schema_versions`)
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, db, `INSERT INTO exportops.schema_versions (version_id, is_applied) SELECT max(version_id) + 1, true FROM exportops.schema_versions`)
		wantError(t, s.Ready(t.Context()), exportops.KindUnavailable, databaseURL, "newer version")
	})
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	db := newDatabase(t)
	run(t, db, `CREATE SCHEMA app`,
		`CREATE TABLE app.short AS SELECT id, export_id, user_id, timestamp, format, config, status, created_at, updated_at FROM public.export_logs`,
		`CREATE TABLE app.texts (LIKE public.export_logs)`,
		`ALTER TABLE app.texts ALTER user_id TYPE text, ALTER expires_at TYPE timestamp, ALTER status TYPE varchar(20)`,
		`CREATE VIEW app.joined AS SELECT a.* FROM public.export_logs a JOIN public.export_logs b USING (id)`,
		`CREATE VIEW app.computed AS SELECT id, export_id, user_id, timestamp, format, config, conversation_count, file_size,
			lower(status) AS status, file_url, expires_at, error_message, created_at, updated_at FROM public.export_logs`,
		`CREATE MATERIALIZED VIEW app.frozen AS SELECT * FROM public.export_logs`,
		`CREATE TABLE app."older" (LIKE public.export_logs)`, `ALTER TABLE app.older DROP downloaded_count`,
		`CREATE VIEW app.mapped AS SELECT * FROM app.older`)
	for table, words := range map[string][]string{
		"app.none":     {"no table app.none", "--create-export-logs"},
		"app.short":    {"lacks conversation_count, file_size, file_url, expires_at, error_message"},
		"app.texts":    {"user_id is text, want uuid", "expires_at is timestamp without time zone"},
		"app.joined":   {"not over a single table"},
		"app.computed": {"status cannot be changed"},
		"app.frozen":   {"neither a table nor a view"},
		"app.older":    nil,
		"app.mapped":   nil,
	} {
		t.Run(table, func(t *testing.T) {
			s, err := Open(t.Context(), Options{URL: db, Table: table})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Ready(t.Context())
			if words != nil {
				wantError(t, err, exportops.KindUnavailable, logsTable, words...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := exportops.Export{
				ExportID: exportops.NewID(), UserID: exportops.NewID(), Timestamp: at("2026-01-01T00:00:00Z"), Format: exportops.CSV,
				Config: []byte(`{}`), Status: exportops.Queued,
			}
			if _, err := s.CreateExport(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			done := exportops.Completed
			if _, err := s.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{Status: &done}, e.Timestamp, e.Timestamp); err != nil {
				t.Fatal(err)
			}
			_, err = s.UpdateExport(t.Context(), e.ExportID, exportops.ExportUpdate{DownloadedCount: new(int64)}, e.Timestamp, e.Timestamp)
			if !exportops.IsKind(err, exportops.KindInvalid) {
				t.Fatalf("without a downloaded_count: %v", err)
			}
		})
	}
}

func at(s string) exportops.Time {
	t, err := exportops.ParseTime(s)
	if err != nil {
		panic(err)
	}
	return t
}

// role makes a role for a test and returns its name, and the URL of a database
// with it.
func role(t *testing.T, db, options string) (name, as string) {
	t.Helper()
	name = "exportops_test_" + exportops.NewID()[:8]
	run(t, db, `CREATE ROLE "`+name+`" LOGIN PASSWORD 'secret-of-a-test' `+options)
	return name, asRole(t, db, name)
}

func asRole(t *testing.T, db, name string) string {
	t.Helper()
	t.Cleanup(func() { run(t, db, `DROP OWNED BY "`+name+`" CASCADE`, `DROP ROLE "`+name+`"`) })
	u, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "secret-of-a-test")
	return u.String()
}

func TestARoleThatLacksSomethingIsTold(t *testing.T) {
	db := newDatabase(t)
	name, as := role(t, db, "")
	ready := func() error { return openStore(t, as).Ready(t.Context()) }
	wantError(t, ready(), exportops.KindUnavailable, databaseURL, name, "--print-grants")
	run(t, db, `GRANT USAGE ON SCHEMA exportops TO "`+name+`"`, `GRANT SELECT ON exportops.schema_versions TO "`+name+`"`,
		`GRANT SELECT, UPDATE ON public.export_logs TO "`+name+`"`)
	wantError(t, ready(), exportops.KindUnavailable, logsTable, name+" lacks INSERT, DELETE on public.export_logs", "GRANT INSERT, DELETE")
	run(t, db, `GRANT INSERT, DELETE ON public.export_logs TO "`+name+`"`)
	wantError(t, ready(), exportops.KindUnavailable, databaseURL, "exportops.runs", "exportops.deletions")
	run(t, db, `GRANT ALL ON ALL TABLES IN SCHEMA exportops TO "`+name+`"`)
	if err := ready(); err != nil {
		t.Fatal(err)
	}
	t.Run("row_level_security_never_means_no_rows", func(t *testing.T) {
		run(t, db, `ALTER TABLE public.export_logs ENABLE ROW LEVEL SECURITY`,
			`CREATE POLICY all_rows ON public.export_logs USING (true)`)
		wantError(t, ready(), exportops.KindUnavailable, logsTable, name, "public.export_logs", "BYPASSRLS")
		s := openStore(t, as)
		_, _, err := s.Candidates(t.Context(), exportops.Selection{Mode: exportops.ByExpiry, Now: at("2026-01-01T00:00:00Z")}, "", 10)
		wantError(t, err, exportops.KindUnavailable, logsTable, "BYPASSRLS")
		for _, err := range s.Outcomes(t.Context(), exportops.Span{From: at("2026-01-01T00:00:00Z"), To: at("2026-01-02T00:00:00Z")}) {
			wantError(t, err, exportops.KindUnavailable, logsTable, "BYPASSRLS")
		}
		run(t, db, `ALTER ROLE "`+name+`" BYPASSRLS`)
		if err := ready(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGrantsAreEnoughAndNoMore(t *testing.T) {
	db := emptyDatabase(t)
	id := exportops.NewID()[:8]
	migrator, runner := "exportops_migrate_"+id, "exportops_run_"+id
	asRunner, asMigrator := asRole(t, db, runner), asRole(t, db, migrator)
	owner := openStore(t, db)
	if _, err := owner.CreateExportLogs(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, db, `ALTER TABLE public.export_logs ENABLE ROW LEVEL SECURITY`)
	grants, err := owner.Grants(t.Context(), migrator, runner)
	before, after, ok := strings.Cut(grants, "-- Once the first migration")
	if err != nil || !ok {
		t.Fatalf("the grants are not in two parts: %v", err)
	}
	run(t, db, before, `ALTER ROLE "`+migrator+`" PASSWORD 'secret-of-a-test'; ALTER ROLE "`+runner+`" PASSWORD 'secret-of-a-test'`)
	if err := openStore(t, asMigrator).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, db, "--"+after)
	s := openStore(t, asRunner)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RecordMetrics(t.Context(), []exportops.Metric{metricOf(exportops.NewID(), exportops.Completed, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := begin(t.Context(), s, exportops.FileCleanup); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`ALTER TABLE public.export_logs ADD x text`, `DROP TABLE exportops.runs`, `CREATE TABLE exportops.x (y int)`} {
		var e *pgconn.PgError
		if _, err := s.pool.Exec(t.Context(), statement); !errors.As(err, &e) || e.Code != "42501" {
			t.Errorf("%s: %v, want permission denied", statement, err)
		}
	}
}

func TestCreateExportLogs(t *testing.T) {
	t.Run("with_users_of_supabase", func(t *testing.T) {
		db := emptyDatabase(t)
		user := exportops.NewID()
		run(t, db, `CREATE SCHEMA auth`, `CREATE TABLE auth.users (id uuid PRIMARY KEY)`, `INSERT INTO auth.users VALUES ('`+user+`')`,
			`CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS $$ SELECT nullif(current_setting('test.uid', true), '')::uuid $$`)
		s := openStore(t, db)
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		notes, err := s.CreateExportLogs(t.Context())
		if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "security of public.export_logs is on") {
			t.Fatalf("notes %q, %v", notes, err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		e := exportops.Export{
			ExportID: exportops.NewID(), UserID: user, Timestamp: at("2026-01-01T00:00:00Z"), Format: exportops.CSV,
			Config: []byte(`{}`), Status: exportops.Queued,
		}
		if _, err := s.CreateExport(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		e.ExportID, e.UserID = exportops.NewID(), exportops.NewID()
		_, err = s.CreateExport(t.Context(), e)
		wantError(t, err, exportops.KindInvalid, "user_id")
		name, as := role(t, db, "")
		run(t, db, `GRANT SELECT, UPDATE, DELETE ON public.export_logs TO "`+name+`"`, `GRANT USAGE ON SCHEMA auth TO "`+name+`"`)
		theirs := openStore(t, as)
		for uid, want := range map[string]int64{user: 1, exportops.NewID(): 0} {
			err := pgx.BeginFunc(t.Context(), theirs.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `SELECT set_config('test.uid', $1, true)`, uid); err != nil {
					return err
				}
				tag, err := tx.Exec(t.Context(), `UPDATE public.export_logs SET format = 'json'`)
				if tag.RowsAffected() != want {
					t.Errorf("%d rows changed, want %d", tag.RowsAffected(), want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		if tag, err := theirs.pool.Exec(t.Context(), `DELETE FROM public.export_logs`); err != nil || tag.RowsAffected() != 0 {
			t.Errorf("a user deleted %d rows, %v", tag.RowsAffected(), err)
		}
	})
	t.Run("without_says_that_every_row_can_be_read", func(t *testing.T) {
		db := emptyDatabase(t)
		run(t, db, `CREATE SCHEMA "App"`)
		s, err := Open(t.Context(), Options{URL: db, Table: "App.Exports"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		notes, err := s.CreateExportLogs(t.Context())
		if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "is off") {
			t.Fatalf("notes %q, %v", notes, err)
		}
		again, err := s.CreateExportLogs(t.Context())
		if err != nil || len(again) != 1 || !strings.Contains(again[0], "left as it is") {
			t.Fatalf("notes %q, %v", again, err)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d, err := s.Diagnose(t.Context(), at("2026-01-01T00:00:00Z")); err != nil || len(d.MissingIndexes) != 0 {
			t.Fatalf("missing %q, %v", d.MissingIndexes, err)
		}
		var later bool
		err = s.pool.QueryRow(t.Context(), `WITH row AS (INSERT INTO "App"."Exports" (export_id, user_id, timestamp, format, config,
			conversation_count, updated_at) VALUES (gen_random_uuid(), gen_random_uuid(), now(), 'csv', '{}', 1, '2020-01-01') RETURNING id)
			SELECT true FROM row`).Scan(&later)
		if err == nil {
			err = s.pool.QueryRow(t.Context(), `UPDATE "App"."Exports" SET status = 'failed' RETURNING updated_at > '2021-01-01'`).Scan(&later)
		}
		if err != nil || !later {
			t.Fatalf("updated_at did not follow: %v", err)
		}
	})
}

func TestDiagnose(t *testing.T) {
	db := newDatabase(t)
	s := openStore(t, db)
	run(t, db, `INSERT INTO public.export_logs (export_id, user_id, timestamp, format, config, conversation_count, status, created_at, expires_at)
		SELECT gen_random_uuid(), '00000000-0000-4000-8000-000000000000', '2026-01-01', 'csv', '{}', 1, s, '2026-01-01', x::timestamptz FROM (VALUES
			('completed', NULL), ('completed', 'infinity'), ('completed', '2025-12-31'), ('completed', '2026-01-02'),
			('completed', '2026-01-05'), ('failed', NULL)) v (s, x)`,
		`DROP INDEX public.export_logs_status`, `DROP INDEX public.export_logs_expires_at`,
		`CREATE INDEX partly ON public.export_logs (status) WHERE status = 'completed'`)
	d, err := s.Diagnose(t.Context(), at("2026-01-03T00:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Rows != 6 || d.Unexpiring != 1 || d.Unreadable != 1 || d.Implausible != 1 || d.Overdue != 1 || d.Quarantined != 0 {
		t.Errorf("counted %+v", d)
	}
	if d.Clock.IsZero() || d.Newest == nil || !d.Newest.Equal(at("2026-01-01T00:00:00Z").Time) {
		t.Errorf("clock %s, newest %v", d.Clock, d.Newest)
	}
	if len(d.MissingIndexes) != 2 || !strings.Contains(d.MissingIndexes[0], "(status)") || !strings.Contains(d.MissingIndexes[1], "(expires_at)") {
		t.Errorf("missing %q", d.MissingIndexes)
	}
	for _, ddl := range d.MissingIndexes {
		run(t, db, ddl)
	}
	if d, err = s.Diagnose(t.Context(), at("2026-01-03T00:00:00Z")); err != nil || len(d.MissingIndexes) != 0 {
		t.Errorf("missing %q, %v", d.MissingIndexes, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	db := newDatabase(t)
	open := func(change func(*url.URL)) error {
		u, err := url.Parse(db)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(u.User.Username(), "pa55word")
		change(u)
		s, err := Open(t.Context(), Options{URL: u.String()})
		if err == nil {
			_ = s.Close()
		}
		if err != nil && strings.Contains(err.Error(), "pa55word") {
			t.Errorf("the password is in %v", err)
		}
		return err
	}
	wantError(t, open(func(u *url.URL) { u.Host = "127.0.0.1:1" }), exportops.KindUnavailable, databaseURL, "cannot be reached")
	wantError(t, open(func(u *url.URL) { u.Host = "127.0.0.1:none" }), exportops.KindInvalid, databaseURL)
	name, as := role(t, db, "")
	if err := open(func(u *url.URL) { u.User = url.UserPassword(name, "pa55word") }); err != nil { // a server may trust everybody
		wantError(t, err, exportops.KindUnavailable, databaseURL, "refuses role "+name)
	}
	u, err := url.Parse(as)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/there_is_no_such_database"
	_, err = Open(t.Context(), Options{URL: u.String()})
	wantError(t, err, exportops.KindUnavailable, databaseURL, "no database at")

	t.Run("a_lock_that_is_held", func(t *testing.T) {
		s, err := Open(t.Context(), Options{URL: db, LockTimeout: 1e8, StatementTimeout: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		tx, err := openStore(t, db).pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `LOCK TABLE public.export_logs`); err != nil {
			t.Fatal(err)
		}
		_, err = s.Export(t.Context(), exportops.NewID())
		wantError(t, err, exportops.KindUnavailable, databaseURL, "EXPORTOPS_DB_LOCK_TIMEOUT")
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = s.Export(t.Context(), exportops.NewID())
		wantError(t, err, exportops.KindNotFound, "export_id")
	})
}
