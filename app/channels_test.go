package app_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/app"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/jobs"
)

// listener is a server that keeps the first lines and the bodies of what it is sent.
type listener struct {
	*httptest.Server
	mu  sync.Mutex
	all []string
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, r.Method+" "+r.URL.Path+" "+string(body))
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.all...)
}

// withChannels are settings with channels as the file has them.
func withChannels(t *testing.T, yaml string, change func(*config.Settings)) config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exportops.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := settings(t, change)
	c.Channels = file.Channels
	return c
}

func TestChannelsThatCannotBeUsed(t *testing.T) {
	c := withChannels(t, `channels:
  - {name: inside, type: slack, url: "http://169.254.169.254/s3cret"}
  - {name: mailer, type: mail, host: localhost, from: a@b.c, to: a@b.c}
  - {name: odd, type: slack, url: "https://0x7f.1/s3cret"}
  - {name: rules, type: slack, url: "https://hooks.example.com/s3cret", rules: [no-such-rule]}
  - {name: fine, type: slack, url: "https://hooks.example.com/s3cret", rules: [failure-rate]}
`, func(s *config.Settings) { s.HeartbeatFiles = "http://10.0.0.1/s3cret" })
	_, err := app.New(t.Context(), c, app.Options{Events: io.Discard, Create: true})
	if !exportops.IsKind(err, exportops.KindInvalid) {
		t.Fatalf("got %v", err)
	}
	said := err.Error()
	for _, part := range []string{
		`exportops.yaml:2: channel "inside": 169.254.169.254 is no public address`, `exportops.yaml:3: channel "mailer": 127.0.0.1 is no public address`,
		`exportops.yaml:4: channel "odd": 0x7f.1 is an address in an unusual form`, `exportops.yaml:5: channel "rules": there is no rule "no-such-rule"`,
	} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q: %s", part, said)
		}
	}
	if strings.Contains(said, "s3cret") || strings.Contains(said, `"fine"`) {
		t.Errorf("said %s", said)
	}
	c.Channels = nil
	if _, err := app.New(t.Context(), c, app.Options{Events: io.Discard, Create: true}); err == nil ||
		!strings.HasPrefix(err.Error(), "EXPORTOPS_HEARTBEAT_FILES: 10.0.0.1 is no public address") {
		t.Errorf("of a heartbeat it says %v", err)
	}
}

func TestEveryTypeOfChannelOpens(t *testing.T) {
	secret := "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	c := withChannels(t, fmt.Sprintf(`channels:
  - {name: a, type: slack, url: "http://10.1.2.3/x"}
  - {name: b, type: mail, host: 10.1.2.3, from: a@b.c, to: a@b.c, tls: none}
  - {name: c, type: pagerduty, routing_key: %q}
  - {name: d, type: webhook, url: "http://10.1.2.3/x", secret: %[2]q, secret_previous: %[2]q}
  - {name: e, type: alertmanager, url: "http://10.1.2.3/x"}
`, strings.Repeat("k", 32), secret), func(s *config.Settings) { s.AllowPrivateTargets = "10.1.0.0/16" })
	a, err := app.New(t.Context(), c, app.Options{Events: io.Discard, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestATestMessage(t *testing.T) {
	l := listen(t)
	c := withChannels(t, "channels:\n  - {name: team, type: slack, url: "+l.URL+"/hook}\n", func(s *config.Settings) { s.AllowPrivateTargets = "127.0.0.0/8" })
	m, err := app.TestChannel(t.Context(), c, "team")
	if err != nil || m.Kind != exportops.MessageTest {
		t.Fatalf("%+v, %v", m, err)
	}
	if all := l.heard(); len(all) != 1 || !strings.HasPrefix(all[0], "POST /hook ") || !strings.Contains(all[0], m.ID) {
		t.Errorf("sent %q", all)
	}
	if _, err := app.TestChannel(t.Context(), c, "nobody"); !exportops.IsKind(err, exportops.KindNotFound) {
		t.Errorf("of another: %v", err)
	}
	l.Close()
	var failed *exportops.DeliveryError
	if _, err := app.TestChannel(t.Context(), c, "team"); !errors.As(err, &failed) {
		t.Errorf("of one that is away: %v", err)
	}
}

func TestHeartbeatsOfTheProgram(t *testing.T) {
	l := listen(t)
	c := settings(t, func(s *config.Settings) {
		s.HeartbeatFiles, s.AllowPrivateTargets = config.Secret(l.URL+"/files"), "127.0.0.0/8"
	})
	s := open(t, c)
	s.expired(c.Storage.Root, 2)
	a, err := s.Jobs.Run(t.Context(), jobs.Request{Job: exportops.FileCleanup, Trigger: exportops.ByCommand})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Jobs.Run(t.Context(), jobs.Request{Job: exportops.MetricsAggregate, Trigger: exportops.ByCommand}); err != nil {
		t.Fatal(err)
	}
	s.close() // waits for what is on its way
	want := []string{
		"POST /files/start ",
		"POST /files run " + a.Run.ID + " of file-cleanup: done\n2 files found, 2 deleted, 0 already absent, 0 failed, 2 bytes freed",
	}
	if got := l.heard(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("it heard %q, want %q", got, want)
	}
}
