package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/recorder"
)

// problem is an RFC 9457 problem with a hint, as far as it is of use here.
type problem struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// problem turns an answer other than success into an error. A body that is no
// problem, such as the page of a proxy, is left out.
func (c *Client) problem(resp *http.Response) error {
	kind := kindOf(resp.StatusCode)
	e := &exportops.Error{Kind: kind, Hint: hintFor(resp.StatusCode), Message: fmt.Sprintf(
		"the server answered %d %s", resp.StatusCode, strings.ToLower(http.StatusText(resp.StatusCode)))}
	var p problem
	if body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem)); err != nil || json.Unmarshal(body, &p) != nil {
		p = problem{}
	}
	if said := c.clean(p.Detail); said != "" {
		e.Message = said
	} else if said := c.clean(p.Title); said != "" {
		e.Message = said
	}
	if said := c.clean(p.Hint); said != "" {
		e.Hint = said
	}
	c.addCauses(e, p)
	if after := retryAfter(resp.Header, time.Now()); after > 0 && kind == exportops.KindUnavailable {
		if e.Err == nil {
			e.Err = fmt.Errorf("it asks to wait %v", after)
		}
		e.Err = &recorder.RetryAfterError{After: after, Err: e.Err}
	}
	return e
}

// addCauses puts what p says of single fields into e: a single one in e
// itself, several below it.
func (c *Client) addCauses(e *exportops.Error, p problem) {
	if len(p.Errors) == 1 {
		e.Field, e.Message = c.field(p.Errors[0].Location), c.clean(p.Errors[0].Message)
		return
	}
	var causes []error
	for _, cause := range p.Errors[:min(len(p.Errors), 10)] {
		causes = append(causes, &exportops.Error{
			Kind: e.Kind, Field: c.field(cause.Location), Message: c.clean(cause.Message),
		})
	}
	e.Err = errors.Join(causes...)
}

func kindOf(status int) exportops.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status >= 300 && status < 400:
		return exportops.KindRefused
	case status == http.StatusNotFound:
		return exportops.KindNotFound
	case status == http.StatusConflict:
		return exportops.KindConflict
	case status == http.StatusRequestEntityTooLarge:
		return exportops.KindTooLarge
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return exportops.KindUnavailable
	case status >= 400 && status < 500:
		return exportops.KindInvalid
	default:
		return exportops.KindUnavailable
	}
}

func hintFor(status int) string {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "check the token, and that it has the scope of this call"
	case status >= 300 && status < 400:
		return "give the address that the server redirects to as the base URL"
	default:
		return ""
	}
}

// field returns the name of a field without where it was found.
func (c *Client) field(location string) string {
	for _, place := range []string{"body.", "query.", "path."} {
		if name, found := strings.CutPrefix(location, place); found {
			return c.clean(name)
		}
	}
	return c.clean(location)
}

// clean makes text of a server fit for a log: one line, not long, and without
// the token, should the server repeat it.
func (c *Client) clean(s string) string {
	const most = 500
	if c.token != "" {
		s = strings.ReplaceAll(s, c.token, "(token)")
	}
	if len(s) > most {
		s = s[:most] + "…"
	}
	s = strings.ToValidUTF8(s, "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
