package eventlog_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/exportops/exportops/eventlog"
)

func TestScrub(t *testing.T) {
	const id = "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b"
	for _, tc := range []struct{ name, in, want string }{
		{"keeps_plain_text", "TimeoutError: gave up after 3000 ms", "TimeoutError: gave up after 3000 ms"},
		{"keeps_empty_text", "", ""},
		{"keeps_uuid", "export " + id + " failed", "export " + id + " failed"},
		{"keeps_uuid_that_ends_in_digits", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000001"},
		{"keeps_path", "open /srv/exports/" + id + "/a.jsonl: no such file", "open /srv/exports/" + id + "/a.jsonl: no such file"},
		{"mail", "no mailbox jane.doe+x@mail.example.com here", "no mailbox [email] here"},
		{"mail_in_brackets", "<jane@example.com>,bob@example.org", "<[email]>,[email]"},
		{"mail_without_dot", "root@localhost", "[email]"},
		{"mail_beyond_ascii", "jürgen@müller.example", "[email]"},
		{"mail_with_quoted_name", `"jane doe"@example.com`, `[email]`},
		{"mail_percent_encoded", "jane%40example.com", "[email]"},
		{"bearer_token", "Authorization: Bearer abc.def-123", "Authorization: [secret] [token]"},
		{"basic_credentials", "sent basic dXNlcjpwYXNz", "sent basic [token]"},
		{"jwt", "bad jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln!", "bad jwt [token]!"},
		{"known_prefix", "used sk_live_abcdefghijklmnop and ghp_abcdefghijklmnop", "used [secret] and [secret]"},
		{"aws_key_id", "AKIAIOSFODNN7EXAMPLE", "[secret]"},
		{"aws_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKE2", "[secret]"},
		{"long_hex", "sha 0123456789abcdef0123456789abcdef", "sha [secret]"},
		{"long_base64", "k c2VjcmV0IHNlY3JldCBzZWNyZXQ5 k", "k [secret] k"},
		{"password_pair", "login password=hunter2 failed", "login password=[secret] failed"},
		{"secret_in_json", `{"api_key": "a b c", "n":1}`, `{"api_key": [secret], "n":1}`},
		{"secret_in_escaped_json", `{\"password\":\"x\"}`, `{\"password\":[secret]}`},
		{"secret_never_closed", `token="abc def`, `token=[secret]`},
		{"url_query", "GET https://h.example/a/b?token=x&y=1 failed", "GET https://h.example/a/b?[query] failed"},
		{"url_fragment", "https://h.example/a#access_token=x", "https://h.example/a?[query]"},
		{"url_user", "dial postgres://app:p@ss/w@db:5432/x", "dial postgres://[user]@db:5432/x"},
		{"relative_url_query", "PUT /object/sign/b/k?token=abc", "PUT /object/sign/b/k?[query]"},
		{"card_number", "card 4111 1111 1111 1111 declined", "card [number] declined"},
		{"phone_number", "call +49 (170) 123-4567 now", "call [number] now"},
		{"nine_digits", "account 123456789", "account [number]"},
		{"keeps_eight_digits", "took 12345678 ns", "took 12345678 ns"},
		{"digits_of_other_scripts", "١٢٣٤٥٦٧٨٩", "[number]"},
		{"invalid_utf8", "a\xffb", "a\uFFFDb"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := eventlog.Scrub(tc.in); got != tc.want {
				t.Errorf("Scrub(%q)\n got %q\nwant %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestScrubCutsOnARuneBoundary(t *testing.T) {
	got := eventlog.Scrub(strings.Repeat("é ", 400))
	if n := utf8.RuneCountInString(got); n != eventlog.MaxScrubbed || !utf8.ValidString(got) {
		t.Errorf("got %d runes, valid %v; want %d valid ones", n, utf8.ValidString(got), eventlog.MaxScrubbed)
	}
}

func TestScrubTakesOutAMailAddressThatTheCutWouldHalve(t *testing.T) {
	got := eventlog.Scrub(strings.Repeat("x ", 245) + "jane.doe@example.com")
	if strings.Contains(got, "jane") {
		t.Errorf("part of the address is left: %q", got[len(got)-40:])
	}
	got = eventlog.Scrub(strings.Repeat(" ", 16<<10-4) + "jane.doe@example.com")
	if strings.Contains(got, "jane") {
		t.Errorf("part of the address is left: %q", strings.TrimSpace(got))
	}
}

var mail = regexp.MustCompile(`[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+`)

func FuzzScrub(f *testing.F) {
	for _, s := range []string{
		"", "jane@example.com", "a@b@c.d", "Bearer x@y.z", "https://u:p@h/p?q=1#f", "password='x' token=\"y", "\xff\xfe",
		"eyJhbGciOiJIUzI1NiJ9.e30.x", "12345678901", "a=b\nc=d", strings.Repeat("a@b.c ", 300), "%40@%40", "[user]@[email]",
		"key-aaaaaaaaaaaa@a.bc", "+49 170 1234567@x.org", "7f3c2a10-9b1e-4c55-8a54-0c1d2e3f4a5b", "sig=sig=sig=x@y.z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := eventlog.Scrub(s)
		if !utf8.ValidString(got) {
			t.Errorf("Scrub(%q) = %q is not valid UTF-8", s, got)
		}
		if n := utf8.RuneCountInString(got); n > eventlog.MaxScrubbed {
			t.Errorf("Scrub(%q) has %d runes", s, n)
		}
		if m := mail.FindString(got); m != "" {
			t.Errorf("Scrub(%q) = %q leaves %q", s, got, m)
		}
		if again := eventlog.Scrub(got); again != got {
			t.Errorf("Scrub(%q) = %q, and again %q", s, got, again)
		}
	})
}
