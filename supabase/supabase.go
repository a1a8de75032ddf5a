// Package supabase keeps export files in a bucket of Supabase Storage, by its
// REST API and with the service role key.
//
// Storage answers a bulk removal with the objects it removed, and says nothing
// of the others: whether a key was not there, or was kept, or the whole bucket
// is gone, looks the same. So a file counts as deleted when its name comes
// back; each other one is looked at, and "not there" is believed only while the
// bucket itself can be seen with the same key. Row level security hides rows
// instead of refusing, which is why no key but one of the service role is taken.
//
// Storage has no conditional removal: a file that is written again under the
// same key between the look at it and its removal is removed.
package supabase

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/exportops/exportops"
)

// MarkerFile is the name of an object that an operator may put under the prefix
// where no exports are yet: with it the prefix does not count as empty.
const MarkerFile = reserved + "root"

// reserved begins the names directly under the prefix that are ours and never
// an export.
const reserved = ".exportops-"

// maxBatch is the most objects that Storage removes in one request.
const maxBatch = 1000

// longestKey is the most bytes of a key: what the storage behind it, S3, holds.
const longestKey = 1024

// The settings that errors name.
const (
	urlSetting    = "SUPABASE_URL"
	keySetting    = "SUPABASE_SERVICE_ROLE_KEY"
	bucketSetting = "EXPORT_STORAGE_URL"
)

// Options say which bucket to use, and how.
type Options struct {
	URL    string // of the project, such as https://abcdefgh.supabase.co
	Key    string // a service_role JWT, or a secret key: sb_secret_…
	Bucket string
	Prefix string // of keys, "" for the whole bucket
	// Transport carries the requests; nil for one with the usual settings.
	Transport http.RoundTripper
}

// Store is a bucket of export files. It is safe for concurrent use.
type Store struct {
	api    *client
	bucket string
	prefix string // "" or ending in "/"
	id     string
	limit  atomic.Int64 // of keys in one removal: maxBatch, or less where the server says so
}

var _ exportops.FileStore = (*Store)(nil)

// Open makes a store of a bucket. It checks the settings and asks nothing of
// the server, so that a process can start while that is away: Check does. An
// error is of KindInvalid and names the setting.
func Open(_ context.Context, o Options) (*Store, error) {
	base, err := baseURL(o.URL)
	if err != nil {
		return nil, err
	}
	headers, err := authorization(o.Key)
	if err != nil {
		return nil, err
	}
	if o.Bucket == "" || strings.ContainsAny(o.Bucket, `/\%?#`) || exportops.CheckKey(o.Bucket) != nil {
		return nil, exportops.Invalid(bucketSetting, "%.80q is no name of a bucket; use supabase://bucket/prefix", o.Bucket)
	}
	prefix := strings.TrimSuffix(o.Prefix, "/")
	if prefix != "" {
		if err := exportops.CheckKey(prefix); err != nil {
			return nil, &exportops.Error{
				Kind: exportops.KindInvalid, Field: bucketSetting, Message: "the prefix cannot be used",
				Hint: "use supabase://bucket/prefix", Err: err,
			}
		}
		prefix += "/"
	}
	s := &Store{
		api:    newClient(base, headers, o.Key, o.Transport),
		bucket: o.Bucket, prefix: prefix,
		id: "supabase://" + hostOf(base) + "/" + url.PathEscape(o.Bucket),
	}
	s.limit.Store(maxBatch)
	return s, nil
}

// baseURL reads the project's URL.
func baseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, exportops.Invalid(urlSetting, "the project's URL is missing; use something like https://abcdefgh.supabase.co")
	}
	u, err := url.Parse(raw)
	// What was given may hold a password, so it is not shown.
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, exportops.Invalid(urlSetting,
			"it is not an http or https URL without user and query; use something like https://abcdefgh.supabase.co")
	}
	const api = "/storage/v1"
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), api)
	u.RawPath = ""
	return u, nil
}

// hostOf is the host of a project as the ledger names it.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); (port == "443" && u.Scheme == "https") || (port == "80" && u.Scheme == "http") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return host + u.EscapedPath()
}

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.api.http.CloseIdleConnections()
	return nil
}

// ID names the project and the bucket. The prefix is no part of it: keys hold
// it, and a file stays the same file when the prefix is set otherwise.
func (s *Store) ID() string { return s.id }

// MaxBatch is the most files one Delete or Stat takes.
func (s *Store) MaxBatch() int { return maxBatch }

// checkKey refuses a key that is not a clean path, lies outside the prefix or
// is a name of ours. Which characters a name may hold is the server's to say,
// as that differs between its versions.
func (s *Store) checkKey(key string) error {
	if err := exportops.CheckKey(key); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(key, s.prefix)
	switch {
	case !ok:
		return fmt.Errorf("%w: it is outside the prefix %q", exportops.ErrBadKey, s.prefix)
	case strings.HasPrefix(strings.ToLower(rest), reserved):
		return fmt.Errorf("%w: names that begin with %s are exportops' own", exportops.ErrBadKey, reserved)
	case len(key) > longestKey:
		return fmt.Errorf("%w: it has %d bytes, and storage holds keys of at most %d", exportops.ErrBadKey, len(key), longestKey)
	}
	return nil
}

func checkBatch(n int) error {
	if n <= maxBatch {
		return nil
	}
	return &exportops.Error{Kind: exportops.KindTooLarge, Message: strconv.Itoa(n) + " files are more than one call takes, " + strconv.Itoa(maxBatch)}
}

// The bounds of a request.
const (
	requestTimeout = time.Minute
	longestAnswer  = 16 << 20 // a thousand rows take about one megabyte
	attempts       = 4        // of one request
	firstPause     = 250 * time.Millisecond
	longestPause   = 30 * time.Second // a server that asks for more is given up on
)
