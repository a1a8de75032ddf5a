package main

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// findings is what the doctor says at a terminal, with settings of its own.
func (s *site) findings(settings ...string) string {
	s.Helper()
	c := exec.CommandContext(s.Context(), "exportops", "doctor", "--output", "table")
	c.Dir, c.Env = s.dir, append(append([]string{}, s.env...), settings...)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState.ExitCode() != 1 {
		s.Fatalf("doctor: %v\n%s", err, out)
	}
	return string(out)
}

// TestTheDoctorKnowsServers breaks one thing after the other.
func TestTheDoctorKnowsServers(t *testing.T) {
	store := newBucket(t)
	bucket := fmt.Sprintf("EXPORT_STORAGE_URL=s3://%s?endpoint=%s", *store.bucket, store.server)
	s := newSite(t, append(store.settings, "NO_COLOR=1", bucket)...)
	role := "weak_" + strings.ReplaceAll(*store.bucket, "-", "_")
	s.exec(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'weak'`)
	t.Cleanup(func() { // before the database goes
		_, err := s.db.Exec(cleanupContext(), `DROP OWNED BY `+role+`; DROP ROLE `+role)
		if err != nil {
			t.Error(err)
		}
	})
	var base *url.URL
	for _, e := range s.env {
		if v, ok := strings.CutPrefix(e, "DATABASE_URL="); ok {
			base, _ = url.Parse(v)
		}
	}
	db := func(change func(*url.URL)) string {
		u := *base
		change(&u)
		return "DATABASE_URL=" + u.String()
	}
	weak := db(func(u *url.URL) { u.User = url.UserPassword(role, "weak") })
	supabase, key, anon := os.Getenv("EXPORTOPS_TEST_SUPABASE"), os.Getenv("EXPORTOPS_TEST_SUPABASE_KEY"), os.Getenv("EXPORTOPS_TEST_SUPABASE_ANON_KEY")
	onSupabase := []string{"EXPORT_STORAGE_URL=supabase://nowhere", "SUPABASE_URL=" + supabase}
	for _, c := range []struct {
		name     string
		before   string // a statement
		settings []string
		says     []string
	}{
		{"all is well", "", nil, []string{"✓ database:", "✓ clock: it agrees with the database", "✓ storage: a file was written to s3://"}},
		{"unreachable", "", []string{db(func(u *url.URL) { u.Host = "127.0.0.1:1" })}, []string{"✗ database:", "cannot be reached", "→ check that the server runs"}},
		{"wrong password", "", []string{db(func(u *url.URL) { u.User = url.UserPassword("postgres", "hunter2") })}, []string{"✗ database:", "refuses the role", "→ check user and password"}},
		{"no database", "", []string{db(func(u *url.URL) { u.Path = "/nowhere" })}, []string{"✗ database:", "there is no database", "→ create it"}},
		{"no table", "", []string{"EXPORT_LOGS_TABLE=public.nothing"}, []string{"there is no table public.nothing", "migrate --create-export-logs"}},
		{"no grant", "", []string{weak}, []string{"✗ database:", "lacks a privilege", "→ exportops migrate --print-grants"}},
		{
			"a blinded role", `ALTER TABLE export_logs ENABLE ROW LEVEL SECURITY; GRANT USAGE ON SCHEMA exportops TO ` + role + `;
			GRANT ALL ON ALL TABLES IN SCHEMA exportops TO ` + role + `; GRANT ALL ON export_logs TO ` + role,
			[]string{weak},
			[]string{"row level security would hide rows", "BYPASSRLS"},
		},
		{"a missing index", `DROP INDEX export_logs_expires_at`, nil, []string{"an index is missing", `CREATE INDEX CONCURRENTLY "export_logs_expires_at" ON "public"."export_logs" (expires_at);`}},
		{"a missing column", `ALTER TABLE export_logs DROP COLUMN config`, nil, []string{"lacks config"}},
		{"no bucket", "", []string{fmt.Sprintf("EXPORT_STORAGE_URL=s3://nowhere-at-all?endpoint=%s", store.server)}, []string{"✗ storage:", "is missing", "→ create it"}},
		{"a wrong key", "", []string{"AWS_SECRET_ACCESS_KEY=hunter2"}, []string{"✗ storage:", "does not accept the credentials", "→ check AWS_ACCESS_KEY_ID"}},
		{"no service", "", []string{"EXPORT_STORAGE_URL=s3://x?endpoint=http://127.0.0.1:1"}, []string{"✗ storage:", "does not answer", "→ check endpoint"}},
		{"no bucket of a project", "", append(onSupabase, "SUPABASE_SERVICE_ROLE_KEY="+key), []string{"✗ storage:", "is missing", "→ create the bucket"}},
		{"a key of everybody's", "", append(onSupabase, "SUPABASE_SERVICE_ROLE_KEY="+anon), []string{"SUPABASE_SERVICE_ROLE_KEY: this is a publishable key", "service_role key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(strings.Join(c.settings, " "), "supabase://") && supabase == "" {
				t.Skip("EXPORTOPS_TEST_SUPABASE names no server")
			}
			if c.before != "" {
				s.exec(c.before)
			}
			said := s.findings(c.settings...)
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if n := strings.Count(said, "✗ storage:"); n > 1 {
				t.Errorf("it says %d times what is wrong with the storage:\n%s", n, said)
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("it shows a secret:\n%s", said)
			}
		})
	}
}
