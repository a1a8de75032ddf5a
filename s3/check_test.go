package s3_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

func withPrefix(prefix string) func(*s3.Options) { return func(o *s3.Options) { o.Prefix = prefix } }

func expectEmpty(t *testing.T, s *s3.Store, want bool) {
	t.Helper()
	if empty, err := s.Check(t.Context()); empty != want || err != nil {
		t.Errorf("Check = %v, %v, want %v", empty, err, want)
	}
}

func TestCheckKeepsToThePrefix(t *testing.T) {
	f := newFake("exports-old/a", "exports", "other/exports/a")
	for _, prefix := range []string{"exports", "exports/"} {
		s := f.open(t, withPrefix(prefix))
		expectEmpty(t, s, true)
		f.objects["exports/.exportops-probe-ABC"] = ""
		expectEmpty(t, s, true)
		f.objects["exports/.exportops-root"] = ""
		expectEmpty(t, s, false)
		delete(f.objects, "exports/.exportops-root")
	}
	expectEmpty(t, f.open(t), false)
}

func TestAListThatFailsIsNotEmpty(t *testing.T) {
	for name, a := range map[string]*http.Response{
		"forbidden": refusal(http.StatusForbidden, "AccessDenied"),
		"not_found": refusal(http.StatusNotFound, "NoSuchBucket"),
		"odd":       refusal(http.StatusTeapot, "Teapot"),
	} {
		f := newFake()
		f.fault = func(request) *http.Response { return a }
		if empty, err := f.open(t).Check(t.Context()); empty || !exportops.IsKind(err, exportops.KindUnavailable) {
			t.Errorf("%s: Check = %v, %v", name, empty, err)
		}
	}
	f := newFake()
	f.fault = func(request) *http.Response {
		return answer(http.StatusOK, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>")
	}
	if empty, err := f.open(t).Check(t.Context()); empty || err != nil {
		t.Errorf("a list cut short: Check = %v, %v", empty, err)
	}
}

func TestKeysOutsideThePrefixAreRefused(t *testing.T) {
	f := newFake("exports-old/a", "a", "exports/a")
	s := f.open(t, withPrefix("exports"))
	keys := []string{"exports-old/a", "a", "exports", "exports/.exportops-root", "exports/.exportops-x/a", "exports/" + strings.Repeat("n", 1017), "exports/\uFFFE", "exports/\uFFFF"}
	for i, r := range deleteKeys(t, s, keys...) {
		if r.Removal != exportops.Unproven || !strings.Contains(r.Err.Error(), exportops.ErrBadKey.Error()) {
			t.Errorf("Delete(%.40q) = %s, %v, want ErrBadKey", keys[i], r.Removal, r.Err)
		}
	}
	infos, err := s.Stat(t.Context(), keys)
	check(t, err)
	for i, info := range infos {
		if !info.Exists || info.Err == nil {
			t.Errorf("Stat(%.40q) = %+v", keys[i], info)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("requests: %+v", f.asked)
	}
	expectAll(t, deleteKeys(t, s, "exports/a", "exports/u/.exportops-root", "exports/"+strings.Repeat("n", 1016)), "deleted")
	if f.left() != "a exports-old/a" {
		t.Errorf("left %q", f.left())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for field, options := range map[string][]s3.Options{
		"bucket":         {{}, {Bucket: "a/b"}, {Bucket: ".."}, {Bucket: "a b"}, {Bucket: "a?b"}},
		"prefix":         {{Prefix: "/"}, {Prefix: "/a"}, {Prefix: "a//b"}, {Prefix: "../a"}, {Prefix: "a//"}, {Prefix: "a\x00"}, {Prefix: strings.Repeat("n", 600)}},
		"endpoint":       {{Endpoint: "s3.test"}, {Endpoint: "ftp://s3.test"}, {Endpoint: "http://u:p@s3.test"}, {Endpoint: "http://s3.test?x=1"}, {Endpoint: "http://"}},
		"region":         {{Region: "us east"}, {Region: "evil.test/"}},
		"sse":            {{Encryption: "aes256"}},
		"sse_kms_key_id": {{KMSKey: "k"}, {KMSKey: "k", Encryption: "AES256"}},
	} {
		for _, o := range options {
			if field != "bucket" {
				o.Bucket = "exports"
			}
			_, err := s3.Open(t.Context(), o)
			if e, ok := err.(*exportops.Error); !ok || e.Kind != exportops.KindInvalid || e.Field != field { //nolint:errorlint // the error itself
				t.Errorf("Open(%+v): %v, want %s to be invalid", o, err, field)
			}
		}
	}
}

func TestIDNamesServiceAndBucket(t *testing.T) {
	open := func(o s3.Options) string {
		o.Bucket = "exports"
		s, err := s3.Open(t.Context(), o)
		check(t, err)
		check(t, s.Close())
		return s.ID()
	}
	for _, x := range []struct {
		options s3.Options
		want    string
	}{
		{s3.Options{}, "s3://s3.amazonaws.com/exports"},
		{s3.Options{Region: "eu-west-1", Prefix: "a/b", VerifyFull: true}, "s3://s3.amazonaws.com/exports"},
		{s3.Options{Endpoint: "http://LOCALHOST:9000/"}, "s3://localhost:9000/exports"},
		{s3.Options{Endpoint: "https://abc.supabase.co/storage/v1/s3", PathStyle: true}, "s3://abc.supabase.co/storage/v1/s3/exports"},
	} {
		if got := open(x.options); got != x.want {
			t.Errorf("ID = %q, want %q", got, x.want)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://minio.test:9000")
	if got, want := open(s3.Options{}), "s3://minio.test:9000/exports"; got != want {
		t.Errorf("ID with an endpoint from the environment = %q, want %q", got, want)
	}
}
