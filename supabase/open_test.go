package supabase_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/supabase"
)

// jwt is a signed key with the given claims. Nobody checks the signature.
func jwt(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

func TestOpenTakesTheServiceRoleAlone(t *testing.T) {
	for name, c := range map[string]struct {
		key  string
		says string // "" when it is taken
	}{
		"service_role":   {jwt(`{"iss":"supabase","role":"service_role"}`), ""},
		"secret":         {"sb_secret_abc", ""},
		"none":           {"", "missing"},
		"anon":           {jwt(`{"iss":"supabase","role":"anon"}`), "anonymous key"},
		"publishable":    {"sb_publishable_abc", "publishable key"},
		"a_users":        {jwt(`{"role":"authenticated"}`), "not of the role service_role"},
		"without_a_role": {jwt(`{}`), "not of the role service_role"},
		"no_claims":      {"a.b.c", "neither"},
		"no_key_at_all":  {"hunter2hunter2", "neither"},
		"a_line_break":   {"sb_secret_abc\n", "line break"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := supabase.Open(t.Context(), supabase.Options{URL: "https://x.supabase.co", Key: c.key, Bucket: "exports"})
			if c.says == "" {
				check(t, err)
				return
			}
			var e *exportops.Error
			if !errors.As(err, &e) || e.Kind != exportops.KindInvalid || e.Field != "SUPABASE_SERVICE_ROLE_KEY" || e.Hint == "" {
				t.Fatalf("Open: %v, want it to be invalid, with a hint", err)
			}
			if !strings.Contains(err.Error(), c.says) || (c.key != "" && strings.Contains(err.Error(), strings.TrimSpace(c.key))) {
				t.Errorf("Open: %v, want it to say %q, and never the key", err, c.says)
			}
		})
	}
}

func TestOpenNamesTheSettingAtFault(t *testing.T) {
	good := supabase.Options{URL: "https://x.supabase.co", Key: "sb_secret_abc", Bucket: "exports"}
	for name, c := range map[string]struct {
		change func(*supabase.Options)
		field  string
	}{
		"no_url":         {func(o *supabase.Options) { o.URL = "" }, "SUPABASE_URL"},
		"no_scheme":      {func(o *supabase.Options) { o.URL = "x.supabase.co" }, "SUPABASE_URL"},
		"another_scheme": {func(o *supabase.Options) { o.URL = "ftp://x" }, "SUPABASE_URL"},
		"a_password":     {func(o *supabase.Options) { o.URL = "https://u:hunter2@x" }, "SUPABASE_URL"},
		"a_query":        {func(o *supabase.Options) { o.URL = "https://x?hunter2" }, "SUPABASE_URL"},
		"no_host":        {func(o *supabase.Options) { o.URL = "https://:443" }, "SUPABASE_URL"},
		"no_bucket":      {func(o *supabase.Options) { o.Bucket = "" }, "EXPORT_STORAGE_URL"},
		"two_buckets":    {func(o *supabase.Options) { o.Bucket = "a/b" }, "EXPORT_STORAGE_URL"},
		"a_parent":       {func(o *supabase.Options) { o.Bucket = ".." }, "EXPORT_STORAGE_URL"},
		"a_bad_prefix":   {func(o *supabase.Options) { o.Prefix = "a/../b" }, "EXPORT_STORAGE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			_, err := supabase.Open(t.Context(), o)
			var e *exportops.Error
			if !errors.As(err, &e) || e.Kind != exportops.KindInvalid || e.Field != c.field || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Open: %v, want %s to be invalid", err, c.field)
			}
		})
	}
}

func TestIDNamesProjectAndBucketAlone(t *testing.T) {
	for _, c := range []struct{ url, bucket, prefix, want string }{
		{"https://X.supabase.co", "exports", "", "supabase://x.supabase.co/exports"},
		{"https://x.supabase.co:443/", "exports", "a/b/", "supabase://x.supabase.co/exports"},
		{"http://127.0.0.1:8000", "exports", "a", "supabase://127.0.0.1:8000/exports"},
		{"https://host/base/", "my exports", "", "supabase://host/base/my%20exports"},
		{"https://x.supabase.co/storage/v1", "exports", "", "supabase://x.supabase.co/exports"},
	} {
		s, err := supabase.Open(t.Context(), supabase.Options{URL: c.url, Key: "sb_secret_abc", Bucket: c.bucket, Prefix: c.prefix})
		check(t, err)
		if s.ID() != c.want {
			t.Errorf("ID of %s = %q, want %q", c.url, s.ID(), c.want)
		}
	}
}

func TestKeysTravelAsTheServerWantsThem(t *testing.T) {
	signed := jwt(`{"role":"service_role"}`)
	for key, bearer := range map[string]string{"sb_secret_abc": "", signed: "Bearer " + signed} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Apikey") != key || r.Header.Get("Authorization") != bearer {
				t.Errorf("apikey %q, authorization %q", r.Header.Get("Apikey"), r.Header.Get("Authorization"))
			}
			if strings.Contains(r.URL.Path, "/list/") {
				reply(w, []any{})
				return
			}
			reply(w, map[string]any{"id": "exports"})
		}))
		s, err := supabase.Open(t.Context(), supabase.Options{URL: server.URL, Key: key, Bucket: "exports"})
		check(t, err)
		_, err = s.Check(t.Context())
		check(t, err)
		server.Close()
	}
}

func TestNoErrorHoldsAKey(t *testing.T) {
	signed := jwt(`{"role":"anon"}`)
	said := fmt.Sprintf("key %s, bearer %s, \x1b[31m%s", secretKey, signed, strings.Repeat("long ", 1000))
	bubble(t, "of_an_echo", func(t *testing.T, s *storage, store *supabase.Store) {
		for _, status := range []int{400, 401, 403, 500} {
			s.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool { refuse(w, status, "x", said); return true }
			message := expectUnavailable(t, store, "a")
			if strings.Contains(message, secretKey) || strings.Contains(message, signed) || strings.Contains(message, "\x1b") || len(message) > 1000 {
				t.Errorf("HTTP %d: %s", status, message)
			}
			if !strings.Contains(message, fmt.Sprint(status)) {
				t.Errorf("%s, want it to name the status %d", message, status)
			}
		}
	})
	bubble(t, "of_a_server_that_hangs_up", func(t *testing.T, s *storage, store *supabase.Store) {
		s.fault = func(http.ResponseWriter, *http.Request, []byte) bool { panic(http.ErrAbortHandler) }
		_, err := store.Check(t.Context())
		if !exportops.IsKind(err, exportops.KindUnavailable) || strings.Contains(err.Error(), secretKey) {
			t.Errorf("Check: %v", err)
		}
	})
}

func TestAKeyIsNotTakenToAnotherHost(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s arrived, with apikey %q", r.Method, r.URL, r.Header.Get("Apikey"))
	}))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	if message := expectUnavailable(t, open(t, supabase.Options{URL: server.URL}), "a"); !strings.Contains(message, "HTTP 307") {
		t.Errorf("Delete: %s", message)
	}
}

func TestADeniedKeyIsTheKeysFault(t *testing.T) {
	for _, answer := range []struct {
		status int
		kind   string
	}{{401, "Unauthorized"}, {403, "Unauthorized"}, {400, "InvalidJWT"}} {
		bubble(t, fmt.Sprint(answer.status, answer.kind), func(t *testing.T, s *storage, store *supabase.Store) {
			s.fault = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				refuse(w, answer.status, answer.kind, "jwt expired")
				return true
			}
			if message := expectUnavailable(t, store, "a", "b"); s.removals() != 1 || !strings.Contains(message, "SUPABASE_SERVICE_ROLE_KEY") {
				t.Errorf("after %d removals: %s", s.removals(), message)
			}
		})
	}
}
