package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/filetest"
	"github.com/exportops/exportops/s3"
)

func TestObjectConformance(t *testing.T) {
	for name, o := range map[string]s3.Options{"bucket": {}, "below_a_prefix": {Prefix: "cold/archive"}} {
		t.Run(name, func(t *testing.T) {
			filetest.RunObjects(t, func(t *testing.T) filetest.ObjectFixture {
				t.Helper()
				b := newBucket(t)
				beside, prefix := "", ""
				if o.Prefix != "" {
					beside, prefix = o.Prefix+"-old/a", o.Prefix+"/"
					check(t, b.put(t.Context(), beside, nil))
				}
				x := o
				x.Bucket, x.Endpoint, x.PathStyle = b.name, b.endpoint, true
				s, err := s3.OpenObjects(t.Context(), x)
				check(t, err)
				t.Cleanup(func() { check(t, s.Close()) })
				return filetest.ObjectFixture{
					Store: s,
					Put:   func(key string, content []byte) error { return b.put(t.Context(), prefix+key, content) },
					Keys: func() (keys []string, err error) {
						all, err := b.current(t.Context())
						for _, key := range all {
							if key != beside {
								keys = append(keys, strings.TrimPrefix(key, prefix))
							}
						}
						return keys, err
					},
					RemoveRoot: func() error { return b.remove(t.Context()) },
				}
			})
		})
	}
}

func (f *fake) objectStore(tb testing.TB, change ...func(*s3.Options)) *s3.Objects {
	tb.Helper()
	o := s3.Options{Bucket: "exports", Endpoint: "http://s3.test", PathStyle: true, Transport: f}
	for _, c := range change {
		c(&o)
	}
	s, err := s3.OpenObjects(tb.Context(), o)
	check(tb, err)
	return s
}

func createObject(t *testing.T, s *s3.Objects, key, content string) error {
	t.Helper()
	return s.Create(t.Context(), key, strings.NewReader(content), int64(len(content)), sha256.Sum256([]byte(content)))
}

// refusing is a fake that heeds If-None-Match.
func refusing() *fake {
	f := newFake()
	f.fault = f.refuse
	return f
}

func (f *fake) refuse(q request) *http.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.objects[q.key]; there && q.op == "PutObject" && q.header.Get("If-None-Match") == "*" {
		return refusal(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	return nil
}

func TestWhatIsCreatedIsConditionalAndChecked(t *testing.T) {
	for _, x := range []s3.Options{{}, {Encryption: "AES256"}, {Encryption: "aws:kms", KMSKey: "alias/exports"}} {
		f := refusing()
		s := f.objectStore(t, func(o *s3.Options) { o.Encryption, o.KMSKey = x.Encryption, x.KMSKey })
		check(t, createObject(t, s, "a", "content"))
		sum := sha256.Sum256([]byte("content"))
		h := f.asked[0].header
		for name, want := range map[string]string{
			"If-None-Match": "*", "X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum[:]),
			"X-Amz-Server-Side-Encryption": x.Encryption, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": x.KMSKey,
		} {
			if h.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, h.Get(name), want)
			}
		}
	}
}

func TestAServiceThatOverwritesIsFoundOut(t *testing.T) {
	f := newFake("kept")
	err := f.objectStore(t).ProbeCreate(t.Context())
	var e *exportops.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "overwritten") || e.Hint == "" {
		t.Errorf("ProbeCreate: %v", err)
	}
	if f.left() != "kept" {
		t.Errorf("left %q", f.left())
	}
	f = refusing()
	check(t, f.objectStore(t).ProbeCreate(t.Context()))
	if f.left() != "" {
		t.Errorf("left %q", f.left())
	}
}

func TestACreationIsTriedAgain(t *testing.T) {
	cut := errors.New("connection reset by peer")
	for name, x := range map[string]struct {
		first func(f *fake, q request) (*http.Response, error) // what the first attempt comes to
		want  string
		kind  exportops.Kind
	}{
		"too_busy":                      {func(*fake, request) (*http.Response, error) { return refusal(503, "SlowDown"), nil }, "mine", ""},
		"a_race":                        {func(*fake, request) (*http.Response, error) { return refusal(409, "ConditionalRequestConflict"), nil }, "mine", ""},
		"cut_before_it_was_carried_out": {func(*fake, request) (*http.Response, error) { return nil, cut }, "mine", ""},
		"cut_after_it_was_carried_out": {func(f *fake, q request) (*http.Response, error) {
			f.objects[q.key] = q.body
			return nil, cut
		}, "mine", ""},
		"cut_and_somebody_else_came_first": {func(f *fake, q request) (*http.Response, error) {
			f.objects[q.key] = "theirs"
			return nil, cut
		}, "theirs", exportops.KindConflict},
		"not_carried_out_and_the_same_is_there": {func(f *fake, q request) (*http.Response, error) {
			f.objects[q.key] = "mine"
			return refusal(503, "SlowDown"), nil
		}, "mine", exportops.KindConflict},
		"forbidden": {func(*fake, request) (*http.Response, error) { return refusal(403, "AccessDenied"), nil }, "", exportops.KindUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				first := true
				var failure error
				f.fault = func(q request) *http.Response {
					if q.op == "PutObject" && first {
						f.mu.Lock()
						defer f.mu.Unlock()
						first = false
						var a *http.Response
						if a, failure = x.first(f, q); a != nil {
							return a
						}
						return answer(200, "") // which spoil keeps from arriving
					}
					return f.refuse(q)
				}
				f.spoil = func(_ request, a *http.Response) (*http.Response, error) {
					if err := failure; err != nil {
						failure = nil
						return nil, err
					}
					return a, nil
				}
				err := createObject(t, f.objectStore(t), "a", "mine")
				if x.kind == "" {
					check(t, err)
				} else if !exportops.IsKind(err, x.kind) {
					t.Errorf("Create: %v, want %s", err, x.kind)
				}
				if f.objects["a"] != x.want {
					t.Errorf("there is %q, want %q", f.objects["a"], x.want)
				}
			})
		})
	}
}

func TestAServiceThatStaysAwayIsAnError(t *testing.T) {
	for name, status := range map[string]int{"busy": 503, "broken": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake("a")
				f.fault = func(request) *http.Response { return refusal(status, "InternalError") }
				s := f.objectStore(t)
				_, openErr := s.Open(t.Context(), "a")
				var listErr error
				for _, err := range s.List(t.Context(), "") {
					listErr = err
				}
				for did, err := range map[string]error{
					"Create": createObject(t, s, "b", "x"), "Open": openErr, "List": listErr, "Delete": s.Delete(t.Context(), "a"), "ProbeCreate": s.ProbeCreate(t.Context()),
				} {
					if !exportops.IsKind(err, exportops.KindUnavailable) {
						t.Errorf("%s: %v, want it to be unavailable", did, err)
					}
				}
			})
		})
	}
}

// breaking is a body whose connection is cut after some bytes.
type breaking struct {
	io.Reader
	err error
}

func (b *breaking) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}

func (*breaking) Close() error { return nil }

func TestABodyThatBreaksOffIsAnError(t *testing.T) {
	for name, end := range map[string]error{"with_an_error": errors.New("connection reset by peer"), "without_one": nil} {
		t.Run(name, func(t *testing.T) {
			f := newFake("a")
			f.spoil = func(q request, a *http.Response) (*http.Response, error) {
				if q.op == "GetObject" {
					a.Body = &breaking{strings.NewReader("conte"), end}
				}
				return a, nil
			}
			body, err := f.objectStore(t).Open(t.Context(), "a")
			check(t, err)
			got, err := io.ReadAll(body)
			if err == nil || string(got) != "conte" {
				t.Errorf("read %q, %v", got, err)
			}
			check(t, body.Close())
		})
	}
}

func TestABodyThatStallsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake("a")
		f.spoil = func(q request, a *http.Response) (*http.Response, error) {
			if q.op == "GetObject" {
				a.Body = &stalled{a.Request.Context()}
			}
			return a, nil
		}
		body, err := f.objectStore(t).Open(t.Context(), "a")
		check(t, err)
		if _, err = io.ReadAll(body); err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "brought nothing") {
			t.Errorf("read: %v", err)
		}
		check(t, body.Close())
	})
}

type stalled struct{ ctx context.Context }

func (s *stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (*stalled) Close() error { return nil }

func TestAnObjectBeyondOneRequestIsTooLarge(t *testing.T) {
	f := newFake()
	err := f.objectStore(t).Create(t.Context(), "a", bytes.NewReader(nil), 5<<30+1, [32]byte{})
	if !exportops.IsKind(err, exportops.KindTooLarge) || len(f.asked) > 0 {
		t.Errorf("Create: %v after %d requests", err, len(f.asked))
	}
}

func TestAListGoesOnWhereAPageEnds(t *testing.T) {
	f := newFake()
	pages := map[string]string{
		"":   `<IsTruncated>true</IsTruncated><NextContinuationToken>t1</NextContinuationToken><Contents><Key>a</Key><Size>3</Size></Contents><Contents><Key>a/</Key></Contents>`,
		"t1": `<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType><Contents><Key>b%2Bc+d</Key></Contents><Contents><Key>.exportops-probe-X</Key></Contents>`,
	}
	f.fault = func(q request) *http.Response {
		token := ""
		if strings.Contains(q.query, "continuation-token=t1") {
			token = "t1"
		}
		return answer(200, "<ListBucketResult>"+pages[token]+"</ListBucketResult>")
	}
	list := func() (keys []string, last error) {
		for x, err := range f.objectStore(t).List(t.Context(), "") {
			keys, last = append(keys, x.Key), err
		}
		return keys, last
	}
	if keys, err := list(); err != nil || strings.Join(keys, "|") != "a|b+c d" {
		t.Errorf("listed %q, %v", keys, err)
	}
	pages[""] = `<IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents>`
	if keys, err := list(); !exportops.IsKind(err, exportops.KindUnavailable) {
		t.Errorf("a list that breaks off: %q, %v", keys, err)
	}
}
