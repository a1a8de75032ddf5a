package supabase_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/filetest"
	"github.com/exportops/exportops/supabase"
)

func TestObjectConformance(t *testing.T) {
	p := thePeer(t)
	filetest.RunObjects(t, func(t *testing.T) filetest.ObjectFixture {
		t.Helper()
		bucket := p.newBucket(t)
		s, err := supabase.OpenObjects(t.Context(), supabase.Options{URL: p.url, Key: p.key, Bucket: bucket})
		check(t, err)
		t.Cleanup(func() { check(t, s.Close()) })
		return filetest.ObjectFixture{
			Store: s,
			Put: func(key string, content []byte) error {
				u := url.URL{Path: "/object/" + bucket + "/" + key}
				return p.ask(http.MethodPost, u.EscapedPath(), content, nil)
			},
			Keys:  func() ([]string, error) { return p.keys(bucket, "") },
			Races: true, // Supabase's lightweight server looks first and then writes
			RemoveRoot: func() error {
				if err := p.ask(http.MethodPost, "/bucket/"+bucket+"/empty", []byte("{}"), nil); err != nil {
					return err
				}
				return p.ask(http.MethodDelete, "/bucket/"+bucket, nil, nil)
			},
		}
	})
}

func TestObjectConformanceToTheHostedServer(t *testing.T) {
	for name, x := range map[string]struct {
		prefix  string
		replace bool
	}{"bucket": {}, "below_a_prefix": {prefix: "cold/archive"}, "one_that_overwrites": {replace: true}} {
		t.Run(name, func(t *testing.T) {
			filetest.RunObjects(t, func(t *testing.T) filetest.ObjectFixture {
				t.Helper()
				s := newStorage()
				s.replaces = x.replace
				prefix := ""
				if x.prefix != "" {
					prefix = x.prefix + "/"
				}
				put := func(key string, content []byte) error {
					w := httptest.NewRecorder()
					s.mu.Lock()
					defer s.mu.Unlock()
					if s.upload(w, prefix+key, content, true); w.Code != http.StatusOK {
						return fmt.Errorf("%s: %s", key, w.Body)
					}
					return nil
				}
				return filetest.ObjectFixture{
					Store: objectsOf(t, s, supabase.Options{Prefix: x.prefix}), Put: put, Overwrites: x.replace,
					Keys: func() (keys []string, err error) {
						for _, key := range s.keys() {
							keys = append(keys, strings.TrimPrefix(key, prefix))
						}
						return keys, nil
					},
					RemoveRoot: func() error { s.mu.Lock(); defer s.mu.Unlock(); s.gone = true; clear(s.objects); return nil },
				}
			})
		})
	}
}

func objectsOf(t *testing.T, s http.Handler, o supabase.Options) *supabase.Objects {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	o.URL, o.Key, o.Bucket = server.URL, secretKey, bucket
	x, err := supabase.OpenObjects(t.Context(), o)
	check(t, err)
	t.Cleanup(func() { check(t, x.Close()) })
	return x
}

// objectsInMemory serves s over pipes, for a clock of the test's own.
func objectsInMemory(t *testing.T, s http.Handler) *supabase.Objects {
	t.Helper()
	var o supabase.Options
	o.Transport = transport(t, s)
	o.URL, o.Key, o.Bucket = "http://project.test", secretKey, bucket
	x, err := supabase.OpenObjects(t.Context(), o)
	check(t, err)
	t.Cleanup(func() { check(t, x.Close()) })
	return x
}

func createObject(t *testing.T, s *supabase.Objects, key, content string) error {
	t.Helper()
	return s.Create(t.Context(), key, strings.NewReader(content), int64(len(content)), sha256.Sum256([]byte(content)))
}

// isUpload reports whether a request is one.
func isUpload(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/storage/v1/object/"+bucket+"/")
}

func TestACreationIsTriedAgain(t *testing.T) {
	for name, x := range map[string]struct {
		first func(s *storage, w http.ResponseWriter, body []byte)
		want  string
		kind  exportops.Kind
	}{
		"busy":                          {func(_ *storage, w http.ResponseWriter, _ []byte) { refuse(w, 429, "too_many", "slow down") }, "mine", ""},
		"cut_before_it_was_carried_out": {func(*storage, http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) }, "mine", ""},
		"cut_after_it_was_carried_out": {func(s *storage, w http.ResponseWriter, body []byte) {
			s.objects["a"] = stored{body, 1, time.Now()}
			panic(http.ErrAbortHandler)
		}, "mine", ""},
		"broken_after_it_was_carried_out": {func(s *storage, w http.ResponseWriter, body []byte) {
			s.objects["a"] = stored{body, 1, time.Now()}
			refuse(w, 503, "down", "away for a moment")
		}, "mine", ""},
		"cut_and_somebody_else_came_first": {func(s *storage, w http.ResponseWriter, _ []byte) {
			s.objects["a"] = stored{[]byte("theirs"), 1, time.Now()}
			panic(http.ErrAbortHandler)
		}, "theirs", exportops.KindConflict},
		"too_long": {func(_ *storage, w http.ResponseWriter, _ []byte) {
			refuse(w, 413, "Payload too large", "The object exceeded the maximum allowed size")
		}, "", exportops.KindTooLarge},
		"forbidden": {func(_ *storage, w http.ResponseWriter, _ []byte) { refuse(w, 403, "Unauthorized", "no") }, "", exportops.KindUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorage()
				first := true
				s.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
					if !isUpload(r) || !first {
						return false
					}
					first = false
					s.mu.Lock()
					defer s.mu.Unlock()
					x.first(s, w, body)
					return true
				}
				err := createObject(t, objectsInMemory(t, s), "a", "mine")
				if x.kind == "" {
					check(t, err)
				} else if !exportops.IsKind(err, x.kind) {
					t.Errorf("Create: %v, want %s", err, x.kind)
				}
				if got := string(s.objects["a"].content); got != x.want {
					t.Errorf("there is %q, want %q", got, x.want)
				}
			})
		})
	}
}

func TestABodyThatBreaksOffIsAnError(t *testing.T) {
	s := newStorage()
	s.put("a")
	s.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/a") {
			return false
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("half"))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	body, err := objectsOf(t, s, supabase.Options{}).Open(t.Context(), "a")
	check(t, err)
	if got, err := io.ReadAll(body); err == nil || string(got) != "half" {
		t.Errorf("read %q, %v", got, err)
	}
	check(t, body.Close())
}

// A long body is neither held in memory nor cut.
func TestALongObject(t *testing.T) {
	s := newStorage()
	o := objectsOf(t, s, supabase.Options{})
	content := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	check(t, o.Create(t.Context(), "long", bytes.NewReader(content), int64(len(content)), sha256.Sum256(content)))
	body, err := o.Open(t.Context(), "long")
	check(t, err)
	got, err := io.ReadAll(body)
	check(t, errors.Join(err, body.Close()))
	if !bytes.Equal(got, content) {
		t.Errorf("read %d of %d bytes", len(got), len(content))
	}
}
