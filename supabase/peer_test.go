package supabase_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/exportops/exportops/filetest"
	"github.com/exportops/exportops/supabase"
)

// peer is a running server, spoken to without the code under test.
type peer struct{ url, key string }

// thePeer is the server that the environment names.
func thePeer(tb testing.TB) peer {
	tb.Helper()
	p := peer{os.Getenv("EXPORTOPS_TEST_SUPABASE"), os.Getenv("EXPORTOPS_TEST_SUPABASE_KEY")}
	if p.url == "" || p.key == "" {
		tb.Skip("EXPORTOPS_TEST_SUPABASE and EXPORTOPS_TEST_SUPABASE_KEY name no server: start one with scripts/servers supabase")
	}
	return p
}

func TestConformance(t *testing.T) {
	p := thePeer(t)
	filetest.Run(t, func(t *testing.T) filetest.Fixture {
		t.Helper()
		f := p.fixture(t)
		// Supabase's lightweight server takes no two points, and keeps these three
		// as they are escaped.
		f.Holds = func(key string) bool { return !strings.ContainsAny(key, "?#%") && !strings.Contains(key, "..") }
		return f
	})
}

// fixture makes a bucket of its own.
func (p peer) fixture(tb testing.TB) filetest.Fixture {
	tb.Helper()
	bucket := p.newBucket(tb)
	put := func(key string, content []byte) error {
		u := url.URL{Path: "/object/" + bucket + "/" + key}
		return p.ask(http.MethodPost, u.EscapedPath(), content, nil)
	}
	return filetest.Fixture{
		Store: p.open(tb, supabase.Options{Bucket: bucket}),
		Put:   put,
		Keys:  func() ([]string, error) { return p.keys(bucket, "") },
		RemoveRoot: func() error {
			if err := p.ask(http.MethodPost, "/bucket/"+bucket+"/empty", []byte("{}"), nil); err != nil {
				return err
			}
			return p.ask(http.MethodDelete, "/bucket/"+bucket, nil, nil)
		},
		Mark: func() error { return put(supabase.MarkerFile, nil) },
	}
}

func (p peer) open(tb testing.TB, o supabase.Options) *supabase.Store {
	tb.Helper()
	o.URL, o.Key = p.url, p.key
	s, err := supabase.Open(tb.Context(), o)
	check(tb, err)
	tb.Cleanup(func() { check(tb, s.Close()) })
	return s
}

func (p peer) newBucket(tb testing.TB) string {
	tb.Helper()
	bucket := fmt.Sprintf("t%x", randomBytes())
	check(tb, p.ask(http.MethodPost, "/bucket", fmt.Appendf(nil, `{"id":%q,"name":%q}`, bucket, bucket), nil))
	tb.Cleanup(func() {
		// A test may have taken it away.
		_ = p.ask(http.MethodPost, "/bucket/"+bucket+"/empty", []byte("{}"), nil)
		_ = p.ask(http.MethodDelete, "/bucket/"+bucket, nil, nil)
	})
	return bucket
}

// keys lists every key below a folder, on servers that answer with whole keys
// and on those that answer by folder.
func (p peer) keys(bucket, folder string) (keys []string, err error) {
	for offset := 0; ; {
		var rows []struct {
			Name string
			ID   *string
		}
		body, err := json.Marshal(map[string]any{"prefix": folder, "limit": 1000, "offset": offset})
		if err == nil {
			err = p.ask(http.MethodPost, "/object/list/"+bucket, body, &rows)
		}
		if err != nil || len(rows) == 0 {
			return keys, err
		}
		offset += len(rows)
		for _, row := range rows {
			key := row.Name
			if !strings.Contains(key, "/") {
				key = folder + key
			}
			if row.ID != nil {
				keys = append(keys, key)
				continue
			}
			below, err := p.keys(bucket, key+"/")
			if err != nil {
				return nil, err
			}
			keys = append(keys, below...)
		}
	}
}

func (p peer) ask(method, path string, body []byte, v any) error {
	req, err := http.NewRequest(method, p.url+"/storage/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Apikey", p.key)
	if strings.HasPrefix(p.key, "eyJ") {
		req.Header.Set("Authorization", "Bearer "+p.key)
	}
	if json.Valid(body) && len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if err == nil && v != nil {
		err = json.Unmarshal(answer, v)
	}
	return err
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func randomBytes() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return b
}
