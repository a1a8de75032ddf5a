package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/s3"
)

// fake is an S3 service in memory, for provoking faults. It knows one bucket,
// "exports".
type fake struct {
	mu       sync.Mutex
	objects  map[string]string
	gone     bool // the bucket is
	asked    []request
	inFlight int
	most     int           // requests in flight
	takes    time.Duration // each request
	// fault answers instead of the service; nil lets the request through.
	fault func(r request) *http.Response
	// spoil changes an answer on its way.
	spoil func(r request, answer *http.Response) (*http.Response, error)
}

// request is one that arrived.
type request struct {
	op     string
	key    string
	entry  []entry // of a bulk request
	header http.Header
	body   string
	query  string
}

type entry struct {
	Key       string
	ETag      string `xml:",omitempty"`
	VersionId string `xml:",omitempty"`
}

func newFake(keys ...string) *fake {
	f := &fake{objects: map[string]string{}}
	for _, key := range keys {
		f.objects[key] = "content of " + key
	}
	return f
}

func (f *fake) open(tb testing.TB, change ...func(*s3.Options)) *s3.Store {
	tb.Helper()
	o := s3.Options{Bucket: "exports", Endpoint: "http://s3.test", PathStyle: true, Transport: f}
	for _, c := range change {
		c(&o)
	}
	s, err := s3.Open(tb.Context(), o)
	check(tb, err)
	return s
}

func verifyFull(o *s3.Options) { o.VerifyFull = true }

// RoundTrip is the service.
func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	q := asRequest(r, body)
	f.mu.Lock()
	f.asked = append(f.asked, q)
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	fault, spoil, takes := f.fault, f.spoil, f.takes
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var answer *http.Response
	if fault != nil {
		answer = fault(q)
	}
	if answer == nil {
		f.mu.Lock()
		answer = f.serve(q)
		f.mu.Unlock()
	}
	answer.Request = r
	if spoil != nil {
		return spoil(q, answer)
	}
	return answer, nil
}

func asRequest(r *http.Request, body []byte) request {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := request{key: key, header: r.Header, body: string(body), query: r.URL.RawQuery}
	has := r.URL.Query().Has
	switch {
	case r.Method == http.MethodPost && has("delete"):
		q.op = "DeleteObjects"
		var d struct {
			Object []entry
			Quiet  string
		}
		must(xml.Unmarshal(body, &d))
		if q.entry = d.Object; d.Quiet == "true" {
			q.op = "quiet DeleteObjects"
		}
	case r.Method == http.MethodHead && key == "":
		q.op = "HeadBucket"
	case has("list-type"):
		q.op = "ListObjectsV2"
		q.key = r.URL.Query().Get("prefix")
	case has("versioning"):
		q.op = "GetBucketVersioning"
	case has("versions"):
		q.op = "ListObjectVersions"
		q.key = r.URL.Query().Get("prefix")
	default:
		q.op = map[string]string{http.MethodHead: "HeadObject", http.MethodGet: "GetObject", http.MethodPut: "PutObject"}[r.Method]
	}
	return q
}

func (f *fake) serve(q request) *http.Response {
	content, there := f.objects[q.key]
	switch {
	case f.gone && strings.HasPrefix(q.op, "Head"):
		return answer(http.StatusNotFound, "")
	case f.gone:
		return refusal(http.StatusNotFound, "NoSuchBucket")
	}
	switch q.op {
	case "HeadBucket":
		return answer(http.StatusOK, "")
	case "PutObject":
		f.objects[q.key] = q.body
		return answer(http.StatusOK, "")
	case "HeadObject", "GetObject":
		if !there {
			return answer(http.StatusNotFound, "")
		}
		a := answer(http.StatusOK, content)
		a.Header.Set("Content-Length", strconv.Itoa(len(content)))
		a.Header.Set("Etag", etag(content))
		a.Header.Set("Last-Modified", written.Format(http.TimeFormat))
		if q.op == "HeadObject" {
			a.Body = http.NoBody
		}
		return a
	case "DeleteObjects":
		var said string
		for _, e := range q.entry {
			now, ok := f.objects[e.Key]
			switch {
			case e.ETag != "" && !ok:
				said += keyError(e.Key, "NoSuchKey")
			case e.ETag != "" && e.ETag != etag(now):
				said += keyError(e.Key, "PreconditionFailed")
			default:
				delete(f.objects, e.Key)
				said += deleted(e.Key)
			}
		}
		return bulkAnswer(said)
	case "ListObjectsV2":
		var said string
		for _, key := range slices.Sorted(maps.Keys(f.objects)) {
			if strings.HasPrefix(key, q.key) {
				said += "<Contents><Key>" + escape(key) + "</Key></Contents>"
			}
		}
		return answer(http.StatusOK, "<ListBucketResult><IsTruncated>false</IsTruncated>"+said+"</ListBucketResult>")
	}
	return refusal(http.StatusNotImplemented, "NotImplemented")
}

// written is when every object of the service was.
var written = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func etag(content string) string {
	sum := md5.Sum([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

func refusal(status int, code string) *http.Response {
	return answer(status, "<Error><Code>"+code+"</Code><Message>in words</Message></Error>")
}

func bulkAnswer(said string) *http.Response {
	return answer(http.StatusOK, `<?xml version="1.0" encoding="UTF-8"?><DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+said+"</DeleteResult>")
}

func deleted(key string) string { return "<Deleted><Key>" + escape(key) + "</Key></Deleted>" }

func keyError(key, code string) string {
	return "<Error><Key>" + escape(key) + "</Key><Code>" + code + "</Code><Message>in words</Message></Error>"
}

func escape(s string) string {
	var b bytes.Buffer
	must(xml.EscapeText(&b, []byte(s)))
	return b.String()
}

// count says how often an operation was asked for.
func (f *fake) count(op string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.asked {
		if q.op == op {
			n++
		}
	}
	return n
}

// left lists the keys that are still there.
func (f *fake) left() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(f.objects)), " ")
}

func refs(keys ...string) []exportops.FileRef {
	r := make([]exportops.FileRef, len(keys))
	for i, key := range keys {
		r[i].Key = key
	}
	return r
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("u/%04d", i)
	}
	return keys
}

func deleteKeys(t *testing.T, s *s3.Store, keys ...string) []exportops.FileResult {
	t.Helper()
	return deleteRefs(t, s, refs(keys...))
}

func deleteRefs(t *testing.T, s *s3.Store, refs []exportops.FileRef) []exportops.FileResult {
	t.Helper()
	results, err := s.Delete(t.Context(), refs)
	if err != nil || len(results) != len(refs) {
		t.Fatalf("Delete = %+v, %v", results, err)
	}
	return results
}

// expect compares outcomes, and fails where a reason does not hold the word.
func expect(t *testing.T, got []exportops.FileResult, want ...string) {
	t.Helper()
	for i, r := range got {
		removal, word, _ := strings.Cut(want[i], ": ")
		if string(r.Removal) != removal || (r.Err == nil) != (word == "") || r.Err != nil && !strings.Contains(r.Err.Error(), word) {
			t.Errorf("file %d: %s, %v, want %s", i, r.Removal, r.Err, want[i])
		}
	}
}

func expectAll(t *testing.T, got []exportops.FileResult, want string) {
	t.Helper()
	expect(t, got, slices.Repeat([]string{want}, len(got))...)
}
