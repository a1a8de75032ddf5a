package supabase_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/exportops/exportops/filetest"
	"github.com/exportops/exportops/supabase"
)

const (
	secretKey = "sb_secret_0123456789abcdef"
	bucket    = "exports"
)

// storage answers as the hosted Storage does where that differs from the
// lightweight one: names are restricted, lists go by folder and take prefixes
// for patterns, a missing bucket removes nothing without a word, and errors
// come as 400 with the status in the body.
type storage struct {
	mu       sync.Mutex
	objects  map[string]stored
	gone     bool // the bucket
	replaces bool // x-upsert or not
	most     int  // of keys in one removal
	calls    []string
	// fault answers in place of the server where it returns true.
	fault func(w http.ResponseWriter, r *http.Request, body []byte) bool
}

type stored struct {
	content []byte
	version int
	written time.Time
}

func newStorage() *storage { return &storage{objects: map[string]stored{}, most: 1000} }

// fits is the hosted server's rule for names.
var fits = regexp.MustCompile(`^[\w/!\-.*'() &$@=;:+,?]+$`).MatchString

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r, body) {
		return
	}
	s.answer(w, r, body)
}

func (s *storage) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Header.Get("Apikey") != secretKey {
		refuse(w, 403, "Unauthorized", "new row violates row-level security policy")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := strings.TrimPrefix(r.URL.Path, "/storage/v1/")
	object := strings.TrimPrefix(rest, "object/"+bucket+"/")
	switch {
	case rest == "bucket/"+bucket && s.gone:
		refuse(w, 404, "Bucket not found", "Bucket not found")
	case rest == "bucket/"+bucket:
		reply(w, map[string]any{"id": bucket, "name": bucket, "allowed_mime_types": nil})
	case r.Method == http.MethodDelete && rest == "object/"+bucket:
		s.remove(w, body)
	case rest == "object/list/"+bucket:
		s.list(w, body)
	case strings.HasPrefix(rest, "object/info/"+bucket+"/"):
		s.info(w, strings.TrimPrefix(rest, "object/info/"+bucket+"/"))
	case r.Method == http.MethodPost && object != rest:
		s.upload(w, object, body, s.replaces || r.Header.Get("X-Upsert") == "true")
	case r.Method == http.MethodGet && s.objects[object].version > 0:
		_, _ = w.Write(s.objects[object].content)
	default:
		refuse(w, 404, "not_found", "Object not found")
	}
}

func (s *storage) upload(w http.ResponseWriter, key string, content []byte, replace bool) {
	switch old, there := s.objects[key]; {
	case !fits(key):
		refuse(w, 400, "InvalidKey", "Invalid key: "+key)
	case s.gone:
		refuse(w, 404, "Bucket not found", "Bucket not found")
	case there && !replace:
		refuse(w, 409, "Duplicate", "The resource already exists")
	default:
		s.objects[key] = stored{content, old.version + 1, time.Now()}
		reply(w, map[string]any{"Key": bucket + "/" + key})
	}
}

func (s *storage) remove(w http.ResponseWriter, body []byte) {
	keys := prefixes(body)
	if len(keys) > s.most {
		refuse(w, 400, "InvalidRequest", fmt.Sprintf("Bulk object requests are limited to %d objects per request.", s.most))
		return
	}
	rows := []map[string]any{}
	for _, key := range keys {
		if o, ok := s.objects[key]; ok {
			rows = append(rows, o.row(key))
			delete(s.objects, key)
		}
	}
	reply(w, rows)
}

func (s *storage) info(w http.ResponseWriter, key string) {
	o, ok := s.objects[key]
	switch {
	case !fits(key):
		refuse(w, 400, "InvalidKey", "Invalid key: "+key)
	case !ok:
		refuse(w, 404, "not_found", "Object not found")
	default:
		reply(w, map[string]any{
			"id": "1", "name": key, "bucket_id": bucket, "version": fmt.Sprint(o.version), "size": len(o.content),
			"etag": `"e"`, "metadata": map[string]any{"size": "of the application"}, "last_modified": o.written.UTC().Format(time.RFC3339Nano),
		})
	}
}

func (o stored) row(key string) map[string]any {
	at := o.written.UTC().Format(time.RFC3339Nano)
	return map[string]any{
		"id": "1", "name": key, "bucket_id": bucket, "version": fmt.Sprint(o.version), "updated_at": at,
		"metadata": map[string]any{"size": len(o.content), "eTag": `"e"`, "lastModified": o.written.UTC().Truncate(time.Second).Format(time.RFC3339)},
	}
}

// list answers by folder, with the prefix and the search as patterns in which _
// stands for anything and capitals for small letters.
func (s *storage) list(w http.ResponseWriter, body []byte) {
	var q struct {
		Prefix, Search string
		Limit, Offset  int
	}
	_ = json.Unmarshal(body, &q)
	if q.Prefix != "" && !strings.HasSuffix(q.Prefix, "/") {
		q.Prefix += "/"
	}
	pattern := regexp.MustCompile("(?i)^" + strings.NewReplacer("_", ".", "%", ".*").Replace(regexp.QuoteMeta(q.Prefix+q.Search)))
	entries := map[string]map[string]any{}
	for key, o := range s.objects {
		if !pattern.MatchString(key) {
			continue
		}
		rest := strings.Join(strings.Split(key, "/")[strings.Count(q.Prefix, "/"):], "/")
		name, _, folder := strings.Cut(rest, "/")
		if entries[name] = o.row(name); folder {
			entries[name] = map[string]any{"name": name, "id": nil, "metadata": nil}
		}
	}
	names := []string{}
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := []map[string]any{}
	for i, name := range names {
		if i >= q.Offset && len(rows) < q.Limit {
			rows = append(rows, entries[name])
		}
	}
	reply(w, rows)
}

// put writes an object behind the server's back.
func (s *storage) put(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.objects[key] = stored{[]byte("content of " + key), 1, time.Now()}
	}
}

func (s *storage) keys() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// behave ends the faults, and forgets the calls so far.
func (s *storage) behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.calls = nil, nil
}

// forget forgets the calls so far.
func (s *storage) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// removals returns how many removals were asked for.
func (s *storage) removals() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.calls {
		if strings.HasPrefix(call, http.MethodDelete) {
			n++
		}
	}
	return n
}

func prefixes(body []byte) []string {
	var q struct{ Prefixes []string }
	_ = json.Unmarshal(body, &q)
	return q.Prefixes
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with an error as the hosted server does.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	code := 400
	if status >= 500 {
		code = status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"statusCode": fmt.Sprint(status), "error": kind, "message": message})
}

func TestConformanceToTheHostedServer(t *testing.T) {
	filetest.Run(t, func(t *testing.T) filetest.Fixture {
		t.Helper()
		s := newStorage()
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		put := func(key string, content []byte) error {
			w := httptest.NewRecorder()
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.upload(w, key, content, true); w.Code != http.StatusOK {
				return fmt.Errorf("%s: %s", key, w.Body)
			}
			return nil
		}
		return filetest.Fixture{
			Store:      open(t, supabase.Options{URL: server.URL}),
			Put:        put,
			Keys:       func() ([]string, error) { return s.keys(), nil },
			RemoveRoot: func() error { s.mu.Lock(); defer s.mu.Unlock(); s.gone = true; clear(s.objects); return nil },
			Mark:       func() error { return put(supabase.MarkerFile, nil) },
			Holds:      fits,
		}
	})
}

// open opens a store with the usual options where there are no others.
func open(tb testing.TB, o supabase.Options) *supabase.Store {
	tb.Helper()
	if o.URL == "" {
		o.URL = "http://project.test"
	}
	if o.Bucket == "" {
		o.Bucket = bucket
	}
	o.Key = secretKey
	s, err := supabase.Open(tb.Context(), o)
	check(tb, err)
	tb.Cleanup(func() { check(tb, s.Close()) })
	return s
}

// inMemory serves s over pipes, so that a test can run on a clock of its own.
func inMemory(t *testing.T, s http.Handler, o supabase.Options) *supabase.Store {
	t.Helper()
	o.Transport = transport(t, s)
	return open(t, o)
}

func transport(t *testing.T, s http.Handler) http.RoundTripper {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := httptest.NewUnstartedServer(s)
	check(t, server.Listener.Close())
	server.Listener = p
	server.Start()
	t.Cleanup(server.Close)
	return &http.Transport{DialContext: p.dial, MaxIdleConnsPerHost: 20}
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
