package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/exportops/exportops"
)

// wantUnavailable fails unless err is one that an operator can mend, about a
// setting, and says each of the words.
func wantUnavailable(t testing.TB, err error, field string, words ...string) {
	t.Helper()
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || e.Field != field || e.Hint == "" {
		t.Fatalf("error is %v, want one about %s with a hint", err, field)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			t.Errorf("%q does not say %q", e.Message, w)
		}
	}
}

func TestReady(t *testing.T) {
	url := newDatabase(t)
	type readyCase struct {
		sql   string   // what was done to a table, in a schema of its own
		table string   // "" means export_logs there
		words []string // that the message says; none when it still is ready
	}
	i := 0
	for name, c := range map[string]readyCase{
		"as_it_was_created":        {},
		"without_downloaded_count": {sql: `ALTER TABLE export_logs DROP COLUMN downloaded_count`},
		"json_and_varchar_serve": {
			sql: `ALTER TABLE export_logs ALTER config TYPE json, ALTER format TYPE varchar(20), ALTER conversation_count TYPE bigint`,
		},
		"a_domain_serves":     {sql: `CREATE DOMAIN short AS text; ALTER TABLE export_logs ALTER error_message TYPE short`},
		"no_table":            {sql: `DROP TABLE export_logs`, words: []string{"no table", "export_logs"}},
		"columns_are_missing": {sql: `ALTER TABLE export_logs DROP COLUMN file_url, DROP COLUMN updated_at`, words: []string{"lacks file_url, updated_at"}},
		"columns_have_other_types": {
			sql:   `ALTER TABLE export_logs ALTER timestamp TYPE timestamp, ALTER user_id TYPE text, ALTER downloaded_count TYPE text`,
			words: []string{"timestamp is timestamp instead of timestamptz", "user_id is text instead of uuid", "downloaded_count is text"},
		},
		"a_view_over_a_table": {table: "Exports", sql: `CREATE VIEW "Exports" AS SELECT * FROM export_logs WHERE format <> 'x'`},
		"a_view_that_passes_nothing_on": {
			table: "v", sql: `CREATE VIEW v AS SELECT DISTINCT * FROM export_logs`, words: []string{".v", "no changes"},
		},
		"a_view_over_two_tables": {
			table: "v", sql: `CREATE VIEW v AS SELECT a.* FROM export_logs a JOIN public.export_logs b USING (id)`, words: []string{"no changes"},
		},
		"a_view_with_a_made_up_status": {
			table: "v", sql: `CREATE VIEW v AS SELECT id, export_id, user_id, timestamp, format, config, conversation_count,
				file_size, lower(status) AS status, file_url, expires_at, error_message, created_at, updated_at FROM export_logs`,
			words: []string{"no changes"},
		},
		"a_materialized_view": {
			table: "v", sql: `CREATE MATERIALIZED VIEW v AS SELECT * FROM export_logs`, words: []string{"materialized"},
		},
		"a_partitioned_table": {table: "p", sql: `CREATE TABLE p (LIKE export_logs) PARTITION BY RANGE (timestamp)`},
	} {
		i++
		schema := fmt.Sprintf("Case%d", i)
		t.Run(name, func(t *testing.T) {
			run(t, url, `CREATE SCHEMA "`+schema+`"; SET search_path = "`+schema+`";
				CREATE TABLE export_logs (LIKE public.export_logs INCLUDING ALL); `+c.sql)
			if c.table == "" {
				c.table = "export_logs"
			}
			s, err := Open(t.Context(), Options{URL: url, Table: schema + "." + c.table})
			must(t, err)
			defer s.Close()
			err = s.Ready(t.Context())
			if c.words == nil {
				must(t, err)
				return
			}
			wantUnavailable(t, err, "EXPORT_LOGS_TABLE", append(c.words, schema)...)
		})
	}
	s := openStore(t, url)
	_, ours, err := s.SchemaVersion(t.Context())
	must(t, err)
	for ahead, words := range [][]string{nil, nil, {fmt.Sprintf("version %d", ours+2), fmt.Sprintf("up to %d", ours+1)}} {
		t.Run(fmt.Sprintf("a_schema_%d_versions_ahead", ahead), func(t *testing.T) {
			run(t, url, fmt.Sprintf(`INSERT INTO exportops.schema_version (version_id, is_applied) VALUES (%d, true)`, ours+int64(ahead)))
			err := s.Ready(t.Context())
			if words == nil {
				must(t, err)
				return
			}
			wantUnavailable(t, err, "DATABASE_URL", words...)
		})
	}
	t.Run("never_migrated", func(t *testing.T) {
		run(t, url, `DROP SCHEMA exportops CASCADE`)
		wantUnavailable(t, s.Ready(t.Context()), "DATABASE_URL", "version 0", fmt.Sprintf("needs %d", ours))
	})
	t.Run("a_name_that_is_none", func(t *testing.T) {
		for _, table := range []string{"export_logs", ".x", "a.", "a.b.c", "exportops.runs"} {
			_, err := Open(t.Context(), Options{URL: "postgres://nowhere/x", Table: table})
			if !exportops.IsKind(err, exportops.KindInvalid) {
				t.Errorf("%q: %v, want it invalid", table, err)
			}
		}
	})
}

func TestReadyForARole(t *testing.T) {
	const all = `GRANT SELECT, INSERT, UPDATE, DELETE ON `
	cases := map[string]struct {
		options string
		sql     string // ROLE stands for the role
		field   string
		words   []string
	}{
		"of_nothing": {
			field: "DATABASE_URL", words: []string{"ROLE"},
		},
		"that_may_not_delete": {
			sql: `GRANT USAGE ON SCHEMA exportops TO ROLE; ` + all + `ALL TABLES IN SCHEMA exportops TO ROLE; ` +
				`GRANT SELECT, INSERT, UPDATE ON export_logs TO ROLE`,
			field: "DATABASE_URL", words: []string{"ROLE", "DELETE on public.export_logs"},
		},
		"that_lacks_one_of_our_tables": {
			sql: `GRANT USAGE ON SCHEMA exportops TO ROLE; ` + all + `ALL TABLES IN SCHEMA exportops TO ROLE; ` +
				`REVOKE INSERT, DELETE ON exportops.runs FROM ROLE; ` + all + `export_logs TO ROLE`,
			field: "DATABASE_URL", words: []string{"INSERT, DELETE on exportops.runs"},
		},
		"with_some_columns": {
			sql: `GRANT USAGE ON SCHEMA exportops TO ROLE; ` + all + `ALL TABLES IN SCHEMA exportops TO ROLE; ` +
				`GRANT SELECT, DELETE, INSERT, UPDATE (status, updated_at) ON export_logs TO ROLE`,
		},
		"that_row_security_blinds": {
			sql: `GRANT USAGE ON SCHEMA exportops TO ROLE; ` + all + `ALL TABLES IN SCHEMA exportops TO ROLE; ` +
				all + `export_logs TO ROLE; ALTER TABLE export_logs ENABLE ROW LEVEL SECURITY; ` +
				`CREATE POLICY own ON export_logs USING (user_id IS NULL)`,
			field: "EXPORT_LOGS_TABLE", words: []string{"ROLE", "public.export_logs", "row level security"},
		},
		"that_bypasses_row_security": {
			options: "BYPASSRLS",
			sql: `GRANT USAGE ON SCHEMA exportops TO ROLE; ` + all + `ALL TABLES IN SCHEMA exportops TO ROLE; ` +
				all + `export_logs TO ROLE; ALTER TABLE export_logs ENABLE ROW LEVEL SECURITY; ` +
				`CREATE POLICY own ON export_logs USING (user_id IS NULL)`,
		},
	}
	roles := map[string]string{}
	for name, c := range cases {
		roles[name] = newRole(t, c.options)
	}
	blinded := newRole(t, "")
	url := newDatabase(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			role := roles[name]
			run(t, url, `CREATE TABLE `+name+` (LIKE export_logs INCLUDING ALL)`)
			named := strings.NewReplacer("ROLE", role, "export_logs", name)
			for i, w := range c.words {
				c.words[i] = named.Replace(w)
			}
			if c.sql != "" {
				run(t, url, named.Replace(c.sql))
			}
			s, err := Open(t.Context(), Options{URL: as(t, url, role), Table: "public." + name})
			must(t, err)
			defer s.Close()
			err = s.Ready(t.Context())
			if c.field == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantUnavailable(t, err, c.field, c.words...)
		})
	}
	t.Run("blinded_by_row_security_reads_an_error_not_nothing", func(t *testing.T) {
		role := blinded
		run(t, url, `GRANT USAGE ON SCHEMA exportops TO `+role, all+`ALL TABLES IN SCHEMA exportops TO `+role, all+`export_logs TO `+role)
		s := openStore(t, as(t, url, role))
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, url, `ALTER TABLE export_logs ENABLE ROW LEVEL SECURITY`)
		n, err := s.CountCandidates(t.Context(), exportops.Selection{Mode: exportops.ByExpiry, Now: noon}, "")
		if err == nil {
			t.Fatalf("it counted %d rows", n)
		}
		wantUnavailable(t, err, "EXPORT_LOGS_TABLE", role, "public.export_logs")
	})
}
