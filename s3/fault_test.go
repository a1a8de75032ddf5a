package s3_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

// everyCall uses the store in every way, with one request that fails.
func everyCall(t *testing.T, s *s3.Store) map[string]error {
	t.Helper()
	_, deleteErr := s.Delete(t.Context(), refs("a", "b"))
	_, statErr := s.Stat(t.Context(), []string{"a"})
	_, checkErr := s.Check(t.Context())
	return map[string]error{"Delete": deleteErr, "Stat": statErr, "Check": checkErr, "Probe": s.Probe(t.Context())}
}

func expectRootMissing(t *testing.T, s *s3.Store) {
	t.Helper()
	if _, err := s.Delete(t.Context(), refs("a", "b")); !errors.Is(err, exportops.ErrRootMissing) {
		t.Errorf("Delete: %v, want ErrRootMissing", err)
	}
}

// What is wrong with the store as a whole is no file's fault, and each error says
// what to do about it.
func TestTroubleOfTheWholeStore(t *testing.T) {
	for name, x := range map[string]struct {
		fault   func(request) *http.Response
		message string
		hint    string
		missing bool
	}{
		"bucket_missing": {
			func(q request) *http.Response {
				if strings.HasPrefix(q.op, "Head") {
					return answer(http.StatusNotFound, "")
				}
				return refusal(http.StatusNotFound, "NoSuchBucket")
			}, `the bucket "exports" is missing`, "create it", true,
		},
		"access_denied":  {whole(http.StatusForbidden, "AccessDenied"), "with these credentials", "allow s3:", false},
		"wrong_key":      {whole(http.StatusForbidden, "InvalidAccessKeyId"), "credentials", "AWS_ACCESS_KEY_ID|check the access key", false},
		"wrong_secret":   {whole(http.StatusForbidden, "SignatureDoesNotMatch"), "credentials", "AWS_SECRET_ACCESS_KEY|check the access key", false},
		"expired_token":  {whole(http.StatusBadRequest, "ExpiredToken"), "", "", false},
		"wrong_region":   {whole(http.StatusMovedPermanently, "PermanentRedirect"), "another region", "region=", false},
		"region_in_auth": {whole(http.StatusBadRequest, "AuthorizationHeaderMalformed"), "", "", false},
		"wrong_clock":    {whole(http.StatusForbidden, "RequestTimeTooSkewed"), "", "clock|check the access key", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a")
				f.fault = x.fault
				for call, err := range everyCall(t, f.open(t)) {
					var e *exportops.Error
					if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || e.Hint == "" {
						t.Errorf("%s: %v, want the store to be unavailable, with a hint", call, err)
						continue
					}
					if errors.Is(err, exportops.ErrRootMissing) != x.missing || !strings.Contains(e.Message, x.message) || !holdsOne(e.Hint, x.hint) {
						t.Errorf("%s: %v, hint %q", call, err, e.Hint)
					}
				}
				if f.left() != "a" {
					t.Errorf("left %q", f.left())
				}
			})
		})
	}
}

func whole(status int, code string) func(request) *http.Response {
	return func(q request) *http.Response {
		if strings.HasPrefix(q.op, "Head") { // without a body, so without a code
			return answer(status, "")
		}
		return refusal(status, code)
	}
}

func holdsOne(s, words string) bool {
	for one := range strings.SplitSeq(words, "|") {
		if strings.Contains(s, one) {
			return true
		}
	}
	return false
}

func TestAnUnreachableEndpoint(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	endpoint := "http://" + l.Addr().String()
	check(t, l.Close())
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "exports", Endpoint: endpoint, PathStyle: true})
	check(t, err)
	defer s.Close()
	_, err = s.Check(t.Context())
	var e *exportops.Error
	if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || !strings.Contains(e.Hint, "endpoint=") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Check: %v", err)
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	f := newFake("a")
	for call, err := range everyCall(t, f.open(t)) {
		var e *exportops.Error
		if !errors.As(err, &e) || e.Kind != exportops.KindUnavailable || !strings.Contains(e.Hint, "set AWS_ACCESS_KEY_ID") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("%d requests without a signature", len(f.asked))
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret-indeed")
	t.Setenv("AWS_SESSION_TOKEN", "token-secret-indeed")
	f := newFake("a")
	f.fault = whole(http.StatusForbidden, "SignatureDoesNotMatch")
	for call, err := range everyCall(t, f.open(t)) {
		if err == nil || strings.Contains(err.Error(), "secret-indeed") {
			t.Errorf("%s: %v", call, err)
		}
	}
}
