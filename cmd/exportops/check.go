package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/exportops/exportops"
)

type checkCmd struct {
	BaseURL string `arg:"" name:"base-url" help:"of the server, such as http://localhost:8080"`
	Secret  string `arg:"" optional:"" name:"secret" help:"of the cron endpoints (CRON_SECRET)"`
	DryRun  *bool  `name:"dry-run" negatable:"" help:"delete nothing: the default unless the server is on this machine"`
}

// checks are the cron endpoints, each with a field that only its answer has.
var checks = []struct{ name, path, field, deletes string }{
	{"Export metrics aggregation", "/api/cron/export-metrics-aggregate", "metrics", ""},
	{"Export file cleanup", "/api/cron/export-file-cleanup", "result", "the files of expired exports"},
	{"Export log cleanup", "/api/cron/export-log-cleanup", "result", "old export logs"},
}

// Run calls each cron endpoint, and then calls one with credentials that must
// not work.
func (c *checkCmd) Run(e *env) error {
	base, err := c.base()
	if err != nil {
		return &usageError{err}
	}
	secret := c.Secret
	if secret == "" {
		secret = e.settings.CronSecret.Reveal()
	}
	if secret == "" {
		return &usageError{exportops.Invalid("secret", "missing: give it as the second argument or in CRON_SECRET")}
	}
	dry := !onThisMachine(base.Hostname())
	if c.DryRun != nil {
		dry = *c.DryRun
	}
	if base.Scheme == "http" && !onThisMachine(base.Hostname()) {
		e.stderr.printf("warning: the secret is sent unencrypted; use https\n")
	}
	k := checker{base: base, secret: secret, client: &http.Client{
		Timeout: 90 * time.Second, // the server's own budget is shorter
		// A redirect would carry the secret elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t := &tally{out: e.stdout}
	for _, x := range checks {
		path := x.path
		if dry {
			path += "?dry_run=true"
		} else if x.deletes != "" {
			e.stderr.printf("%s: this is a real run, it deletes %s (--dry-run does not)\n", x.name, x.deletes)
		}
		if err := k.succeeds(e.ctx, path, x.field); err != nil {
			if e.ctx.Err() != nil {
				return e.ctx.Err()
			}
			t.fail(x.name, k.hide(err.Error()))
			continue
		}
		t.pass(x.name, "HTTP 200")
	}
	const name = "Security check"
	if err := k.refuses(e.ctx, checks[0].path+"?dry_run=true"); err != nil {
		t.fail(name, k.hide(err.Error()))
	} else {
		t.pass(name, "HTTP 401")
	}
	return t.total()
}

func (c *checkCmd) base() (*url.URL, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, &exportops.Error{
			Kind: exportops.KindInvalid, Field: "base-url",
			Message: "it is not the address of a server", Hint: "use something like https://exports.example.com",
		}
	}
	return u, nil
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

type checker struct {
	base   *url.URL
	secret string
	client *http.Client
}

// succeeds calls a job and wants success, and the answer of that job: any web
// page answers 200.
func (k checker) succeeds(ctx context.Context, path, field string) error {
	status, body, err := k.call(ctx, path, "Bearer "+k.secret)
	if err != nil {
		return err
	}
	var answer struct {
		Success bool   `json:"success"`
		Error   string `json:"error"`
		Detail  string `json:"detail"` // of a problem (RFC 9457)
	}
	var fields map[string]json.RawMessage
	readable := json.Unmarshal(body, &answer) == nil && json.Unmarshal(body, &fields) == nil
	switch {
	case status == http.StatusUnauthorized:
		return errors.New("HTTP 401: the server has another CRON_SECRET")
	case status == http.StatusAccepted:
		return errors.New("HTTP 202: a run is still going on; try again later")
	case status != http.StatusOK:
		return fmt.Errorf("HTTP %d%s", status, detail(answer.Error+answer.Detail))
	case !readable:
		return errors.New("HTTP 200, but the answer is not JSON: is this exportops?")
	case !answer.Success:
		return fmt.Errorf("HTTP 200, but not success%s", detail(answer.Error))
	case fields[field] == nil || string(fields[field]) == "null":
		return fmt.Errorf("HTTP 200, but the answer has no %s: is this exportops?", field)
	}
	return nil
}

// refuses wants every call without the right secret to be turned away.
func (k checker) refuses(ctx context.Context, path string) error {
	for with, header := range map[string]string{
		"no credentials": "", "a wrong secret": "Bearer " + exportops.NewID(), "an empty secret": "Bearer ",
	} {
		status, _, err := k.call(ctx, path, header)
		if err != nil {
			return err
		}
		if status != http.StatusUnauthorized {
			return fmt.Errorf("HTTP %d with %s, want 401", status, with)
		}
	}
	return nil
}

func (k checker) call(ctx context.Context, path, authorization string) (status int, body []byte, err error) {
	target := strings.TrimSuffix(k.base.String(), "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("call %s: %w", path, err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	req.Header.Set("User-Agent", "exportops-check/"+programVersion())
	res, err := k.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return res.StatusCode, body, nil
}

// hide takes the secret out of what a server, or an error, repeats; also where
// it was encoded on the way.
func (k checker) hide(s string) string {
	for _, form := range []string{k.secret, url.QueryEscape(k.secret), url.PathEscape(k.secret), strings.Trim(strconv.Quote(k.secret), `"`)} {
		s = strings.ReplaceAll(s, form, "(hidden)")
	}
	return shorten(s, 300)
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
