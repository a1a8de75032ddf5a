package s3_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

const bytesRemain = "failed: its bytes remain (4 in 1 versions); set versions=delete"

func deleteVersions(o *s3.Options) { o.DeleteVersions = true }

func (b bucket) expectStored(t *testing.T, want ...string) {
	t.Helper()
	got, err := b.stored(t.Context())
	check(t, err)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("stored are %q, want %q", got, want)
	}
}

// A delete marker frees nothing, so the file is not deleted, whoever put it there
// and whatever looks at the file.
func TestABucketThatKeepsVersionsConfirmsNothing(t *testing.T) {
	b := newBucket(t)
	b.keepVersions(t)
	check(t, b.put(t.Context(), "a", []byte("four")))
	s, full := b.open(t, s3.Options{}), b.open(t, s3.Options{VerifyFull: true})
	expect(t, deleteKeys(t, s, "a"), bytesRemain)
	expect(t, deleteKeys(t, s, "a"), bytesRemain)
	expect(t, deleteKeys(t, full, "a"), bytesRemain)
	expect(t, deleteRefs(t, s, guarded(exportops.FileGuard{Size: size(4)}, "a")), bytesRemain)
	b.expectStored(t, "a")

	// Its versions are gone, by a lifecycle rule for example.
	objects, _, err := b.versions(t.Context())
	check(t, err)
	_, err = b.client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &b.name, Key: objects[0].Key, VersionId: objects[0].VersionId})
	check(t, err)
	expect(t, deleteKeys(t, full, "a"), "absent")
	expect(t, deleteKeys(t, s, "a"), "deleted")
}

func TestFullVerificationSeesVersions(t *testing.T) {
	b := newBucket(t)
	b.keepVersions(t)
	check(t, b.put(t.Context(), "a", []byte("four")))
	results := deleteKeys(t, b.open(t, s3.Options{VerifyFull: true}), "a", "gone")
	expect(t, results, bytesRemain, "absent")
	if results[0].Bytes != 0 {
		t.Errorf("%d bytes freed, and they remain", results[0].Bytes)
	}
}

func TestEveryVersionIsDeletedWhereThatIsAskedFor(t *testing.T) {
	b := newBucket(t)
	b.keepVersions(t)
	for _, content := range []string{"four", "fives", "sixsix"} {
		check(t, b.put(t.Context(), "a", []byte(content)))
		check(t, b.put(t.Context(), "ab", nil))
	}
	deleteKeys(t, b.open(t, s3.Options{}), "a") // a marker on top
	s := b.open(t, s3.Options{DeleteVersions: true})
	results := deleteRefs(t, s, append(guarded(exportops.FileGuard{Size: size(4)}, "a"), refs("b")...))
	expect(t, results, "changed: 6 bytes", "absent")
	b.expectStored(t, "a", "a", "a", "ab", "ab", "ab")

	results = deleteRefs(t, s, append(guarded(exportops.FileGuard{Size: size(6)}, "a"), refs("b")...))
	expect(t, results, "deleted", "absent")
	if results[0].Bytes != 15 {
		t.Errorf("%d bytes freed, want those of all three versions", results[0].Bytes)
	}
	b.expectStored(t, "ab", "ab", "ab")
	if _, markers, err := b.versions(t.Context()); err != nil || len(markers) != 0 {
		t.Errorf("markers left: %v, %v", markers, err)
	}
}

func TestAProbeTellsOfVersions(t *testing.T) {
	b := newBucket(t)
	b.keepVersions(t)
	err := b.open(t, s3.Options{}).Probe(t.Context())
	if e := asError(t, err); !strings.Contains(e.Message, "keeps versions") || !strings.Contains(e.Hint, "versions=delete") {
		t.Errorf("Probe: %v, hint %q", err, e.Hint)
	}
	check(t, b.open(t, s3.Options{DeleteVersions: true}).Probe(t.Context()))
	b.expectStored(t)
	if _, markers, err := b.versions(t.Context()); err != nil || len(markers) != 0 {
		t.Errorf("markers left: %v, %v", markers, err)
	}
}

// versioned answers for a bucket whose versions of "a" are those given.
func versioned(f *fake, refusedVersion string, ids ...string) {
	f.fault = func(q request) *http.Response {
		switch q.op {
		case "ListObjectVersions":
			return answer(http.StatusOK, listed(q.key, ids))
		case "DeleteObjects":
			var said strings.Builder
			for _, e := range q.entry {
				said.WriteString(versionAnswer(e, refusedVersion))
			}
			return bulkAnswer(said.String())
		}
		return nil
	}
}

func listed(key string, ids []string) string {
	var said strings.Builder
	for i, id := range ids {
		tag, size := "Version", "<Size>4</Size>"
		if strings.HasPrefix(id, "marker") {
			tag, size = "DeleteMarker", ""
		}
		said.WriteString("<" + tag + "><Key>" + key + "</Key><VersionId>" + id + "</VersionId>" + size +
			"<LastModified>2026-01-02T03:04:0" + strconv.Itoa(9-i) + "Z</LastModified></" + tag + ">")
	}
	return "<ListVersionsResult>" + said.String() + "</ListVersionsResult>"
}

func versionAnswer(e entry, refused string) string {
	named := "<Key>" + e.Key + "</Key><VersionId>" + e.VersionId + "</VersionId>"
	switch e.VersionId {
	case "":
		return "<Deleted><Key>" + e.Key + "</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted>"
	case refused:
		return "<Error>" + named + "<Code>AccessDenied</Code><Message>locked</Message></Error>"
	case "null": // as some services leave it out
		return deleted(e.Key)
	}
	return "<Deleted>" + named + "</Deleted>"
}

func TestVersionsThatCannotBeDeletedShow(t *testing.T) {
	f := newFake("a")
	versioned(f, "2", "marker", "2", "1", "null")
	results := deleteKeys(t, f.open(t, deleteVersions), "a")
	expect(t, results, `failed: version "2": storage answered AccessDenied, locked`)
	// The marker goes after the versions or not at all: the file would come back.
	for _, q := range f.asked {
		for _, e := range q.entry {
			if e.VersionId == "marker" || e.VersionId == "" {
				t.Errorf("deleted as well: %+v", e)
			}
		}
	}
	versioned(f, "", "marker", "2", "1", "null")
	results = deleteKeys(t, f.open(t, deleteVersions), "a")
	expect(t, results, "deleted")
	if results[0].Bytes != 12 {
		t.Errorf("%d bytes freed, want 12", results[0].Bytes)
	}
	if last := f.asked[len(f.asked)-1]; len(last.entry) != 1 || last.entry[0].VersionId != "marker" {
		t.Errorf("the last request was %+v", last.entry)
	}
}

func TestVersionsThatCannotBeSeenProveNothing(t *testing.T) {
	f := newFake("a")
	f.fault = func(q request) *http.Response {
		if q.op == "ListObjectVersions" {
			return refusal(http.StatusForbidden, "AccessDenied")
		}
		return bulkAnswer(versionAnswer(q.entry[0], ""))
	}
	expect(t, deleteKeys(t, f.open(t), "a"), "failed: whether its bytes are gone is not known")
	f.fault = whole(http.StatusForbidden, "AccessDenied")
	if _, err := f.open(t, deleteVersions).Delete(t.Context(), refs("a")); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("Delete: %v, want the store to be unavailable", err)
	}
}

// Not every service says that a delete marker is what there is.
func TestWhatSeemsAbsentMayBeHidden(t *testing.T) {
	ask := func(t *testing.T, markedHeader bool, versioning *http.Response, ids ...string) ([]exportops.FileResult, error) {
		t.Helper()
		f := newFake()
		f.fault = func(q request) *http.Response {
			switch q.op {
			case "HeadObject":
				a := answer(http.StatusNotFound, "")
				if markedHeader {
					a.Header.Set("X-Amz-Delete-Marker", "true")
				}
				return a
			case "GetBucketVersioning":
				return versioning
			case "ListObjectVersions":
				return answer(http.StatusOK, listed(q.key, ids))
			case "DeleteObjects":
				t.Errorf("another marker was put on %+v", q.entry)
			}
			return nil
		}
		return f.open(t).Delete(t.Context(), guarded(exportops.FileGuard{}, "a"))
	}
	enabled := func(status string) *http.Response {
		return answer(http.StatusOK, "<VersioningConfiguration>"+status+"</VersioningConfiguration>")
	}
	for name, x := range map[string]struct {
		header     bool
		versioning *http.Response
		ids        []string
		want       string
	}{
		"enabled":            {false, enabled("<Status>Enabled</Status>"), []string{"marker", "1"}, bytesRemain},
		"suspended":          {false, enabled("<Status>Suspended</Status>"), []string{"marker", "1"}, bytesRemain},
		"only_a_marker":      {false, enabled("<Status>Enabled</Status>"), []string{"marker"}, "absent"},
		"never":              {false, enabled(""), nil, "absent"},
		"not_implemented":    {false, refusal(http.StatusNotImplemented, "NotImplemented"), nil, "absent"},
		"may_not_be_asked":   {false, refusal(http.StatusForbidden, "AccessDenied"), nil, "absent"},
		"but_the_look_tells": {true, refusal(http.StatusForbidden, "AccessDenied"), []string{"marker", "1"}, bytesRemain},
	} {
		t.Run(name, func(t *testing.T) {
			results, err := ask(t, x.header, x.versioning, x.ids...)
			check(t, err)
			expect(t, results, x.want)
		})
	}
	t.Run("service_is_too_busy_to_tell", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			results, err := ask(t, false, refusal(http.StatusServiceUnavailable, "SlowDown"))
			if results != nil || !exportops.IsKind(err, exportops.KindUnavailable) {
				t.Errorf("Delete = %+v, %v", results, err)
			}
		})
	})
}

// Versions come in pages, and longer keys after them.
func TestVersionsArePaged(t *testing.T) {
	f := newFake("a")
	f.fault = func(q request) *http.Response {
		if q.op == "DeleteObjects" {
			return bulkAnswer(versionAnswer(q.entry[0], "") + versionAnswer(q.entry[1], ""))
		}
		more := "<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>2</NextVersionIdMarker>"
		page := listed("a", []string{"2"})
		if strings.Contains(q.query, "version-id-marker=2") {
			more = "<IsTruncated>true</IsTruncated><NextKeyMarker>ab</NextKeyMarker><NextVersionIdMarker>9</NextVersionIdMarker>"
			page = strings.Replace(listed("a", []string{"1"}), "</List", "<Version><Key>ab</Key><VersionId>9</VersionId></Version></List", 1)
		}
		return answer(http.StatusOK, strings.Replace(page, "</List", more+"</List", 1))
	}
	results := deleteKeys(t, f.open(t, deleteVersions), "a")
	expect(t, results, "deleted")
	if n := f.count("ListObjectVersions"); n != 2 || results[0].Bytes != 8 {
		t.Errorf("%d lists, %d bytes", n, results[0].Bytes)
	}
}

func asError(t *testing.T, err error) *exportops.Error {
	t.Helper()
	e, ok := err.(*exportops.Error) //nolint:errorlint // the error itself
	if !ok || e.Kind != exportops.KindUnavailable || e.Hint == "" {
		t.Fatalf("%v is not a store that is unavailable, with a hint", err)
	}
	return e
}
