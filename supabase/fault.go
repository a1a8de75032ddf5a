package supabase

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
)

// fault is why a request was not answered as it should be.
type fault struct {
	status     int    // of HTTP; 0 when there was no answer
	meant      int    // the status that the body names: "not found" comes as 400
	code       string // such as NoSuchKey
	kind       string // an older name for the code, such as not_found
	message    string // scrubbed
	retryAfter time.Duration
	unsent     bool // the request did not reach the server
	late       bool // there was no whole answer in time
}

// Error names the status and what the server said.
func (f *fault) Error() string {
	if f.status == 0 {
		return f.message
	}
	s := "HTTP " + strconv.Itoa(f.status)
	if f.meant != f.status {
		s += " (" + strconv.Itoa(f.meant) + ")"
	}
	return s + ": " + f.message
}

// refusal reads an answer that is no success.
func (c *client) refusal(resp *http.Response, body []byte) *fault {
	f := &fault{status: resp.StatusCode, meant: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	var said struct {
		StatusCode any    `json:"statusCode"`
		Code       string `json:"code"`
		Error      string `json:"error"`
		Message    string `json:"message"`
	}
	// Gateways answer in HTML or in words, which are of no use to anyone.
	if err := json.Unmarshal(body, &said); err != nil || (said.Message == "" && said.Error == "" && said.Code == "") {
		f.message = strings.TrimSpace(http.StatusText(resp.StatusCode) + " (not an answer of Storage itself)")
		return f
	}
	switch n := said.StatusCode.(type) {
	case float64:
		f.meant = int(n)
	case string:
		if n, err := strconv.Atoi(n); err == nil {
			f.meant = n
		}
	}
	if f.meant < 400 || f.meant > 599 {
		f.meant = f.status
	}
	f.code, f.kind = said.Code, said.Error
	f.message = c.scrub(said.Message)
	if f.message == "" {
		f.message = c.scrub(said.Error + said.Code)
	}
	return f
}

// retryAfter reads seconds or a date. A date in the past is zero.
func retryAfter(value string) time.Duration {
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return time.Duration(min(n, 1<<20)) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// secrets are keys and signed tokens, whosever they are.
var secrets = regexp.MustCompile(`eyJ[\w-]*(\.[\w-]*){1,2}|sb_(secret|publishable)_[\w-]+|(?i:bearer)\s+\S+`)

// scrub makes a foreign message fit to be shown.
func (c *client) scrub(s string) string {
	const most = 300
	s = strings.ReplaceAll(s, c.secret, "[secret]")
	s = secrets.ReplaceAllString(s, "[secret]")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.TrimSpace(s)
}

// transient reports whether the same request may be answered later.
func transient(err error) bool {
	var f *fault
	if !errors.As(err, &f) {
		return false
	}
	switch f.status {
	case 0, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return f.status >= 500 || f.meant >= 500 || f.meant == http.StatusLocked || f.meant == http.StatusTooManyRequests
}

// answering reports whether Storage itself answered, be it with an error, and
// will go on doing so.
func answering(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.code+f.kind != "" && f.meant != http.StatusTooManyRequests && f.retryAfter <= longestPause
}

// notFound reports whether Storage says that the object is not there. A "not
// found" of a gateway or of a wrong URL says nothing of the object.
func notFound(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.meant == http.StatusNotFound &&
		(f.code == "NoSuchKey" || f.kind == "not_found" || f.message == "Object not found") && !bucketMissing(err)
}

func bucketMissing(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.meant == http.StatusNotFound &&
		(f.code == "NoSuchBucket" || f.kind == "Bucket not found" || f.message == "Bucket not found")
}

// unfitName reports whether the server refuses to look for such a name.
func unfitName(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.meant == http.StatusBadRequest &&
		(f.code == "InvalidKey" || f.kind == "InvalidKey" || strings.HasPrefix(f.message, "Invalid key"))
}

func denied(err error) bool {
	var f *fault
	if !errors.As(err, &f) {
		return false
	}
	for _, name := range []string{f.code, f.kind} {
		if name == "InvalidJWT" || name == "AccessDenied" || name == "Unauthorized" {
			return true
		}
	}
	return f.meant == http.StatusUnauthorized || f.meant == http.StatusForbidden
}

// whole reports whether err says something of the bucket or the key, and so of
// every file.
func whole(err error) bool { return bucketMissing(err) || denied(err) }

// unusable is the error of a store that did not do what was asked of it.
func (s *Store) unusable(did string, err error) error {
	var e *exportops.Error
	var f *fault
	if err == nil || errors.As(err, &e) || !errors.As(err, &f) {
		return err // it says what to do already, or is that of a context
	}
	e = &exportops.Error{Kind: exportops.KindUnavailable, Message: s.id + " cannot be used: " + did, Err: err}
	switch {
	case bucketMissing(err):
		e.Message, e.Err = "the bucket of "+s.id+" is missing", errors.Join(exportops.ErrRootMissing, err)
		e.Field, e.Hint = bucketSetting, "create the bucket, or correct its name or "+urlSetting
	case denied(err):
		e.Field, e.Hint = keySetting, "make sure that the key is of this project, still valid, and of the service role"
	case transient(err):
		e.Hint = "try again later; look at the project's status if it stays"
	default:
		e.Field, e.Hint = urlSetting, "make sure that the URL is the project's, and that Storage is on"
	}
	return e
}
