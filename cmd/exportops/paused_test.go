package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/exportops/exportops"
)

// objects is a bucket on the test server.
type objects struct {
	client   *s3.Client
	bucket   *string
	server   *url.URL
	settings []string // of a process that may use it
}

func newBucket(t *testing.T) objects {
	t.Helper()
	server := os.Getenv("EXPORTOPS_TEST_S3")
	if server == "" {
		t.Skip("EXPORTOPS_TEST_S3 names no server")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	access := u.User.Username()
	u.User = nil
	o := objects{
		server: u, bucket: aws.String("exportops-" + exportops.NewID()),
		settings: []string{"AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret},
	}
	o.client = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(u.String()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	if _, err := o.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: o.bucket}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o objects) put(t *testing.T, key string) {
	t.Helper()
	_, err := o.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: o.bucket, Key: &key, Body: strings.NewReader("x")})
	if err != nil {
		t.Fatal(err)
	}
}

func (o objects) count(t *testing.T) int {
	t.Helper()
	page, err := o.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: o.bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Contents)
}

// gate stands in front of the server and keeps the first bulk delete waiting.
type gate struct {
	*httptest.Server
	mu      sync.Mutex
	deletes int           // bulk deletes so far
	there   chan struct{} // closed when the first has come
	goOn    chan struct{} // lets it through
}

func newGate(t *testing.T, server *url.URL) *gate {
	t.Helper()
	g := &gate{there: make(chan struct{}), goOn: make(chan struct{})}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.Host = r.In.Host // it is signed
	}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("delete") {
			g.mu.Lock()
			g.deletes++
			first := g.deletes == 1
			g.mu.Unlock()
			if first {
				close(g.there)
				<-g.goOn
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deletes
}

// TestAPausedReplicaCommitsNothing stops a process in the middle of its batch
// until another has finished its run, and lets it go on.
func TestAPausedReplicaCommitsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a lease takes 20 seconds to run out")
	}
	store := newBucket(t)
	g := newGate(t, store.server)
	s := newSite(t, append(store.settings, fmt.Sprintf("EXPORT_STORAGE_URL=s3://%s?endpoint=%s", *store.bucket, g.URL))...)
	// Two pages: one is claimed while storage is at work on the other.
	const files = 600
	s.expired(files, "f")
	for i := range files {
		store.put(t, fmt.Sprint("f", i+1))
	}
	// S3 tells when an object was written to the second: one of the second of its
	// claim may have been written after it, and would be left alone.
	written := time.Now()
	paused := s.serve()
	time.Sleep(time.Until(written.Truncate(time.Second).Add(1100 * time.Millisecond)))
	type answer struct {
		called
		err error
	}
	late := make(chan answer, 1)
	go func() {
		c, err := paused.call("file-cleanup", "")
		late <- answer{c, err}
	}()
	select {
	case <-g.there:
	case a := <-late:
		t.Fatalf("it ended before it deleted anything: %+v %v", a.called, a.err)
	}
	s.until(30*time.Second, files, `SELECT count(*) FROM exportops.deletions WHERE state = 'claimed'`)
	if err := paused.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.serve()
	s.until(45*time.Second, 1, `SELECT count(*) FROM exportops.runs WHERE state = 'done' AND takeovers = 1`)
	t.Logf("it was replaced, and its run finished, within %s", time.Since(began).Round(time.Second))
	if n := store.count(t); n != 0 {
		t.Errorf("%d objects are left", n)
	}
	before, deletes := s.records(), g.count()
	// The one batch that it had sent reaches storage, and nothing else does.
	close(g.goOn)
	if err := paused.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a := <-late
	if a.err != nil || a.status == http.StatusOK {
		t.Errorf("the process that was paused says %+v, %v", a.called, a.err)
	}
	if d := cmp.Diff(before, s.records()); d != "" {
		t.Errorf("the process that was paused changed the records (-before +after):\n%s", d)
	}
	if n := g.count(); n != deletes {
		t.Errorf("it sent %d more bulk deletes", n-deletes)
	}
	if n := s.count(`SELECT (result ->> 'deleted_count')::int FROM exportops.runs WHERE job = 'file-cleanup'`); n != files {
		t.Errorf("the run deleted %d of %d files", n, files)
	}
}

// records are the run, the ledger and the rows.
func (s *site) records() (all []string) {
	s.Helper()
	for _, query := range []string{
		`SELECT (r.*)::text FROM exportops.runs r ORDER BY id`,
		`SELECT (d.*)::text FROM exportops.deletions d ORDER BY id`,
		`SELECT (e.*)::text FROM export_logs e ORDER BY id`,
	} {
		rows, err := s.db.Query(context.Background(), query)
		if err != nil {
			s.Fatal(err)
		}
		for rows.Next() {
			var r string
			if err := rows.Scan(&r); err != nil {
				s.Fatal(err)
			}
			all = append(all, r)
		}
		if err := rows.Err(); err != nil {
			s.Fatal(err)
		}
	}
	return all
}
