package notify_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/notify"
)

const (
	newSecret = "whsec_bmV3LXMzY3JldC1uZXctczNjcmV0LW5ldy1zM2NyZXQ="
	oldSecret = "whsec_b2xkLXMzY3JldC1vbGQtczNjcmV0LW9sZC1zM2NyZXQ="
)

// channels are those that speak HTTP, each with a secret in its address.
func channels(t *testing.T, base string) map[string]exportops.Channel {
	t.Helper()
	client := here().Client()
	base = strings.Replace(base, "http://", "http://user:s3cret@", 1) + "/s3cret"
	w, err := notify.NewWebhook(client, base+"?token=s3cret", newSecret)
	if err != nil {
		t.Fatal(err)
	}
	a, err := notify.NewAlertmanager(client, base)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]exportops.Channel{
		"slack": notify.NewSlack(client, base), "webhook": w, "alertmanager": a, "pagerduty": notify.NewPagerDuty(client, base, "s3cret"),
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for code, final := range map[int]bool{
		400: true, 401: true, 403: true, 404: true, 405: true, 410: true, 413: true, 422: true, 301: true, 308: true,
		302: false, 307: false, 408: false, 409: false, 425: false, 429: false, 500: false, 502: false, 503: false, 504: false,
	} {
		r := receive(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"error": "no %s"}`, req.RequestURI)
		})
		for name, c := range channels(t, r.URL) {
			t.Run(fmt.Sprint(name, code), func(t *testing.T) {
				if d := wantFailure(t, c, firing(), final, fmt.Sprint("answered ", code)); d != 90*time.Second {
					t.Errorf("retry after %s", d)
				}
			})
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	gone := receive(t, nil)
	gone.Close()
	hanging := receive(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, c := range channels(t, gone.URL) {
		t.Run(name, func(t *testing.T) { wantFailure(t, c, firing(), false, "connection refused") })
	}
	for name, c := range channels(t, hanging.URL) {
		t.Run(name+" in time", func(t *testing.T) {
			began := time.Now()
			err := c.Send(soon(t), firing())
			var e *exportops.DeliveryError
			if !errors.As(err, &e) || e.Final || !strings.Contains(e.Error(), "no answer in time") || time.Since(began) > 5*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	}
}

func TestAnAnswerThatCannotBeReadIsAnAnswer(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<p>thank you")) })
	for name, c := range channels(t, r.URL) {
		t.Run(name, func(t *testing.T) { send(t, c, firing()) })
	}
}

func TestSlack(t *testing.T) {
	r := receive(t, nil)
	send(t, notify.NewSlack(here().Client(), r.URL+"/services/T/B/X"), firing(), resolved(), plain(exportops.MessageSummary))
	all := r.took(t, 3)
	want(t, "path", all[0].URL.Path, "/services/T/B/X")
	first, second := all[0].object(t), all[1].object(t)
	want(t, "text", first["text"], any("*HIGH: 2 runs &lt;!channel&gt; &amp; more failed*"))
	attachment := first["attachments"].([]any)[0].(map[string]any)
	want(t, "colour", attachment["color"], any("danger"))
	want(t, "footer", attachment["footer"], any("m-1"))
	want(t, "colour of the end", second["attachments"].([]any)[0].(map[string]any)["color"], any("good"))
}

func TestWebhook(t *testing.T) {
	verifies := func(t *testing.T, g got, secret string) bool {
		t.Helper()
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		return key.Verify(g.body, g.Header) == nil
	}
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another key of thirty-two bytes!"))
	t.Run("is_signed", func(t *testing.T) {
		r := receive(t, nil)
		c, err := notify.NewWebhook(here().Client(), r.URL, newSecret)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, firing(), resolved())
		all := r.took(t, 2)
		for n, id := range []string{"m-1", "m-2"} {
			want(t, "id", all[n].Header.Get("webhook-id"), id)
			if !verifies(t, all[n], newSecret) || verifies(t, all[n], oldSecret) || verifies(t, all[n], other) {
				t.Errorf("it is signed as %q", all[n].Header.Get("webhook-signature"))
			}
		}
		o := all[1].object(t)
		want(t, "type", o["type"], any("alert.resolved"))
		want(t, "timestamp", o["timestamp"], any("2026-03-01T13:00:00.000Z"))
		want(t, "rule", o["incident"].(map[string]any)["rule"], any("failed-runs"))
	})
	t.Run("is_signed_with_both_while_one_is_rotated", func(t *testing.T) {
		r := receive(t, nil)
		c, err := notify.NewWebhook(here().Client(), r.URL, newSecret, oldSecret)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, firing())
		g := r.took(t, 1)[0]
		if !verifies(t, g, newSecret) || !verifies(t, g, oldSecret) || verifies(t, g, other) {
			t.Errorf("it is signed as %q", g.Header.Get("webhook-signature"))
		}
	})
	t.Run("that_was_taken_without_an_answer_comes_again_with_the_same_id", func(t *testing.T) {
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		var again atomic.Bool
		r := receive(t, func(_ http.ResponseWriter, req *http.Request) {
			if !again.Swap(true) {
				giveUp()
				<-req.Context().Done()
			}
		})
		c, err := notify.NewWebhook(here().Client(), r.URL, newSecret)
		if err != nil {
			t.Fatal(err)
		}
		var e *exportops.DeliveryError
		if err := c.Send(ctx, firing()); !errors.As(err, &e) || e.Final {
			t.Fatalf("the first attempt: %v", err)
		}
		send(t, c, firing())
		all := r.took(t, 2)
		want(t, "id", all[1].Header.Get("webhook-id"), all[0].Header.Get("webhook-id"))
		want(t, "body", string(all[1].body), string(all[0].body))
		if !verifies(t, all[0], newSecret) || !verifies(t, all[1], newSecret) {
			t.Error("one of them is not signed")
		}
	})
	t.Run("needs_a_secret_and_repeats_none", func(t *testing.T) {
		for _, secrets := range [][]string{nil, {"whsec_s3cret!"}} {
			if c, err := notify.NewWebhook(here().Client(), "https://example.com", secrets...); err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v, %v", c, err)
			}
		}
	})
}

func TestPagerDuty(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	c := notify.NewPagerDuty(here().Client(), r.URL, "key")
	again := firing()
	again.Kind = exportops.MessageReminder
	send(t, c, firing(), again, resolved())
	all := r.took(t, 3)
	for n, action := range []string{"trigger", "trigger", "resolve"} {
		o := all[n].object(t)
		want(t, "path", all[n].URL.Path, "/v2/enqueue")
		want(t, "action", o["event_action"], any(action))
		want(t, "key", o["routing_key"], any("key"))
		want(t, "alert", o["dedup_key"], any(incident().ID))
		want(t, "severity", o["payload"].(map[string]any)["severity"], any("error"))
	}
	for severity, theirs := range map[exportops.Severity]string{"critical": "critical", "high": "error", "warning": "warning", "capacity": "info"} {
		r := receive(t, nil)
		m := firing()
		m.Incident.Severity = severity
		m.Title = strings.Repeat("long ", 500)
		send(t, notify.NewPagerDuty(here().Client(), r.URL, "key"), m)
		payload := r.took(t, 1)[0].object(t)["payload"].(map[string]any)
		want(t, "severity", payload["severity"], any(theirs))
		if n := len([]rune(payload["summary"].(string))); n > 1024 {
			t.Errorf("a summary of %d characters", n)
		}
	}
	t.Run("a_test_ends_by_itself", func(t *testing.T) {
		r := receive(t, nil)
		send(t, notify.NewPagerDuty(here().Client(), r.URL, "key"), plain(exportops.MessageTest))
		all := r.took(t, 2)
		want(t, "actions", []any{all[0].object(t)["event_action"], all[1].object(t)["event_action"]}, []any{"trigger", "resolve"})
		want(t, "alert", all[1].object(t)["dedup_key"], all[0].object(t)["dedup_key"])
	})
	t.Run("no_summaries", func(t *testing.T) { wantFailure(t, c, plain(exportops.MessageSummary), true, "incidents alone") })
}
