package s3_test

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

func TestAnAnswerCountsForTheKeysItNames(t *testing.T) {
	for name, x := range map[string]struct {
		answer string
		want   []string
	}{
		"nothing_named":             {"", []string{"failed: does not name it", "failed: does not name it"}},
		"one_missing":               {deleted("a"), []string{"deleted", "failed: does not name it"}},
		"another_key":               {deleted("a") + deleted("B"), []string{"deleted", "failed: does not name it"}},
		"another_order":             {deleted("b") + deleted("a"), []string{"deleted", "deleted"}},
		"a_key_twice":               {deleted("a") + deleted("a"), []string{"deleted", "failed: does not name it"}},
		"trimmed_key":               {deleted("a ") + deleted("b"), []string{"failed: does not name it", "deleted"}},
		"deleted_and_failed":        {deleted("a") + keyError("a", "AccessDenied") + deleted("b"), []string{"failed: AccessDenied", "deleted"}},
		"failed_and_deleted":        {keyError("a", "AccessDenied") + deleted("a") + deleted("b"), []string{"failed: AccessDenied", "deleted"}},
		"not_allowed":               {keyError("a", "AccessDenied") + deleted("b"), []string{"failed: AccessDenied, in words", "deleted"}},
		"not_there":                 {keyError("a", "NoSuchKey") + deleted("b"), []string{"absent", "deleted"}},
		"written_again":             {keyError("a", "PreconditionFailed") + deleted("b"), []string{"changed: written again", "deleted"}},
		"an_error_without_a_key":    {"<Error><Code>AccessDenied</Code></Error>" + deleted("b"), []string{"failed: does not name it", "deleted"}},
		"an_error_without_anything": {keyError("a", "") + deleted("b"), []string{"failed: an error, in words", "deleted"}},
		"the_version_it_deleted":    {"<Deleted><Key>a</Key><VersionId>7</VersionId></Deleted>" + deleted("b"), []string{"deleted", "deleted"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a", "b")
				f.fault = func(request) *http.Response { return bulkAnswer(x.answer) }
				expect(t, deleteKeys(t, f.open(t), "a", "b"), x.want...)
			})
		})
	}
}

func TestOtherAnswersProveNothing(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "no_xml": "deleted", "a_page": "<html><body>It works!</body></html>", "another_document": "<ListBucketResult/>",
		"an_error_with_status_200": "<Error><Code>InternalError</Code></Error>",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a")
				f.fault = func(request) *http.Response { return answer(http.StatusOK, body) }
				results, err := f.open(t).Delete(t.Context(), refs("a"))
				if err == nil && results[0].Removal != exportops.Unproven {
					t.Errorf("Delete = %+v", results)
				}
			})
		})
	}
}

// A request is signed with the checksum that every service knows, and asks for
// an answer about every key.
func TestABulkRequestCarriesASignedMD5(t *testing.T) {
	for _, endpoint := range []string{"http://s3.test", "https://s3.test/storage/v1/s3"} {
		f := newFake()
		s := f.open(t, func(o *s3.Options) { o.Endpoint = endpoint })
		deleteKeys(t, s, "a")
		q := f.asked[0]
		sum := md5.Sum([]byte(q.body))
		if got := q.header.Get("Content-Md5"); got != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("Content-MD5 = %q", got)
		}
		_, signed, _ := strings.Cut(q.header.Get("Authorization"), "SignedHeaders=")
		if signed, _, _ = strings.Cut(signed, ","); !slices.Contains(strings.Split(signed, ";"), "content-md5") {
			t.Errorf("signed are %q", signed)
		}
		for name := range q.header {
			if strings.Contains(strings.ToLower(name), "checksum") {
				t.Errorf("another checksum is sent: %s", name)
			}
		}
		if strings.HasPrefix(q.op, "quiet") {
			t.Error("an answer about failures alone was asked for")
		}
	}
}

// What a key is made of must not make it another key's.
func TestKeysSurviveXML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune("ab<>&'\"]]> ;#x\u2028\u00e9\u0301\U0001F642%+\uFFFD")), 1, 12, -1),
			rapid.StringN(1, 20, 100)), 1, 20, rapid.ID).Draw(t, "keys")
		f := newFake(keys...)
		s, err := s3.Open(t.Context(), s3.Options{Bucket: "exports", Endpoint: "http://s3.test", PathStyle: true, Transport: f})
		if err != nil {
			t.Fatal(err)
		}
		results, err := s.Delete(t.Context(), refs(keys...))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			_, there := f.objects[keys[i]]
			bad := exportops.CheckKey(keys[i]) != nil || strings.ContainsAny(keys[i], "\uFFFE\uFFFF") || strings.HasPrefix(keys[i], ".exportops-")
			if there != bad || (r.Removal == exportops.Removed) == bad {
				t.Errorf("%q: %s, %v, and is there: %v", keys[i], r.Removal, r.Err, there)
			}
		}
	})
}

func TestALowerLimitIsFound(t *testing.T) {
	for name, refuse := range map[string]*http.Response{
		"malformed": refusal(http.StatusBadRequest, "MalformedXML"), "too_large": answer(http.StatusRequestEntityTooLarge, ""),
	} {
		t.Run(name, func(t *testing.T) {
			keys := numbered(1000)
			f := newFake(keys...)
			f.fault = func(q request) *http.Response {
				if len(q.entry) > 100 {
					again := *refuse
					again.Body = http.NoBody
					if name == "malformed" {
						return refusal(refuse.StatusCode, "MalformedXML")
					}
					return &again
				}
				return nil
			}
			s := f.open(t)
			expectAll(t, deleteKeys(t, s, keys...), "deleted")
			before := f.count("DeleteObjects")
			for _, key := range keys {
				f.objects[key] = ""
			}
			expectAll(t, deleteKeys(t, s, keys...), "deleted")
			if n := f.count("DeleteObjects") - before; n > 17 {
				t.Errorf("%d requests for 1000 keys once the limit of 100 was known, %d before", n, before)
			}
		})
	}
}

func TestOnePoisonedKeyDoesNotStopTheOthers(t *testing.T) {
	keys := numbered(1000)
	f := newFake(keys...)
	f.fault = func(q request) *http.Response {
		if strings.Contains(q.body, "<Key>u/0707</Key>") {
			return refusal(http.StatusBadRequest, "MalformedXML")
		}
		return nil
	}
	s := f.open(t)
	results := deleteKeys(t, s, keys...)
	expect(t, results[707:708], "failed: MalformedXML")
	expectAll(t, slices.Delete(results, 707, 708), "deleted")
	if n := f.count("DeleteObjects"); n > 25 || f.left() != "u/0707" {
		t.Errorf("%d requests, left %q", n, f.left())
	}
	// It was no limit: the next batch is one request again.
	before := f.count("DeleteObjects")
	deleteKeys(t, s, keys[:700]...)
	if n := f.count("DeleteObjects") - before; n != 1 {
		t.Errorf("%d requests for the next batch", n)
	}
}
