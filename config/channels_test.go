package config_test

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
)

const signing = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// inEnvironment sets what the channels of the tests and of the documents refer to.
func inEnvironment(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"PAGERDUTY_ROUTING_KEY": strings.Repeat("k", 32), "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/hunter2",
		"SMTP_PASSWORD": "hunter2", "WEBHOOK_SECRET": signing, "WEBHOOK_SECRET_OLD": signing, "ALERTMANAGER_PASSWORD": "hunter2",
		"NOT_SET": "",
	} {
		t.Setenv(name, value)
	}
}

func TestChannelsOfTheExampleAndTheDocuments(t *testing.T) {
	inEnvironment(t)
	example, err := os.ReadFile("../exportops.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)^#   (channels:\n(?:#     .*\n)+)`).FindStringSubmatch(string(example))
	if block == nil {
		t.Fatal("the example has no channels")
	}
	read, err := config.ReadFile(write(t, regexp.MustCompile(`(?m)^#   `).ReplaceAllString(block[1], "")))
	if err != nil {
		t.Fatal(err)
	}
	url := config.Secret("https://hooks.slack.com/services/hunter2")
	want := []config.Channel{
		{
			Type: config.PagerDutyChannel, RoutingKey: config.Secret(strings.Repeat("k", 32)), Region: "us",
			Audience: exportops.Audience{Channel: "on-call", Severities: []exportops.Severity{exportops.SeverityCritical, exportops.SeverityHigh}},
		},
		{
			Type: config.SlackChannel, URL: url,
			Audience: exportops.Audience{Channel: "team", Rules: []string{"failure-rate", "overdue-files"}, Summary: exportops.SummaryWeekly},
		},
		{
			Type: config.MailChannel, Audience: exportops.Audience{Channel: "ops-mail", NoAlerts: true, Summary: exportops.SummaryDaily},
			Mail: config.Mail{
				Host: "smtp.example.com", Port: 587, TLS: "starttls", User: "exportops", Password: "hunter2",
				From: "exportops@example.com", To: []string{"ops@example.com"},
			},
		},
		{
			Type: config.WebhookChannel, URL: "https://hooks.example.com/exportops", Secret: signing, SecretPrevious: signing,
			Audience: exportops.Audience{Channel: "our-program"},
		},
		{
			Type: config.AlertmanagerChannel, URL: "https://user:hunter2@alertmanager.example.com", Audience: exportops.Audience{Channel: "alertmanager"},
		},
	}
	if d := cmp.Diff(want, read.Channels, cmpopts.IgnoreFields(config.Channel{}, "At")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if shown := fmt.Sprintf("%v %+v %#v", read.Channels, read.Channels, read.Channels); strings.Contains(shown, "hunter2") {
		t.Errorf("a secret shows in %s", shown)
	}
	for n, target := range []string{"events.pagerduty.com", "hooks.slack.com", "ops@example.com by smtp.example.com:587", "hooks.example.com", "alertmanager.example.com"} {
		if got := read.Channels[n].Target(); got != target {
			t.Errorf("it goes to %s, want %s", got, target)
		}
	}

	doc, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(channels:.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(blocks) == 0 {
		t.Fatal("docs/alerts.md has no channels")
	}
	for _, b := range blocks {
		if _, err := config.ReadFile(write(t, b[1])); err != nil {
			t.Errorf("docs/alerts.md: %v", err)
		}
	}
}

func TestMistakesInChannelsHaveTheirLines(t *testing.T) {
	inEnvironment(t)
	const mail = "channels:\n  - name: m\n    type: mail\n    host: h\n    from: a@b.c\n    to: a@b.c\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":        {"channels:\n", []string{"1: channels is not a list"}},
		"a mapping":    {"channels:\n  name: a\n", []string{"2: channels is not a list"}},
		"twice":        {"channels:\n  - {name: a, type: slack, url: 'http://a.b'}\nchannels:\n  - {name: a, type: slack, url: 'http://a.b'}\n", []string{"3: channels is set twice"}},
		"a name twice": {"channels:\n  - {name: a, type: slack, url: 'http://a.b'}\n  - {name: a, type: slack, url: 'http://a.b'}\n", []string{`3: there are two channels "a"`}},
		"no channel":   {"channels:\n  - slack\n", []string{"2: a channel is not a list of keys and values"}},
		"nothing said": {"channels:\n  - summary: daily\n", []string{"2: name: missing", "2: type: missing"}},
		"no plain name": {
			"channels:\n  - name: My Team\n    type: slack\n    url: https://a.b\n", []string{`2: name: "My Team" is no plain name`},
		},
		"an unknown type": {
			"channels:\n  - name: a\n    type: sms\n    url: hunter2\n    port: 7\n", []string{`3: channel "a": type: "sms" is not accepted`},
		},
		"fields of another type": {
			"channels:\n  - name: a\n    type: slack\n    url: https://a.b\n    host: h\n", []string{`5: channel "a": there is no setting "host"`},
		},
		"nothing that the type needs": {
			"channels:\n  - name: a\n    type: mail\n  - name: b\n    type: webhook\n",
			[]string{
				`2: channel "a": from: missing`, `2: channel "a": host: missing`, `2: channel "a": to: missing`,
				`4: channel "b": secret: missing`, `4: channel "b": url: missing`,
			},
		},
		"a variable that is not set": {
			"channels:\n  - name: a\n    type: webhook\n    url: https://a.b/${NOT_SET}\n    secret: ${NOT_SET}\n",
			[]string{`4: channel "a": url: the variable NOT_SET is not set`, `5: channel "a": secret: the variable NOT_SET is not set`},
		},
		"no variable": {
			"channels:\n  - name: a\n    type: slack\n    url: ${hunter2 hunter2}\n", []string{`4: channel "a": url: what stands between ${ and } is not the name of a variable`},
		},
		"secrets that are none": {
			"channels:\n  - name: a\n    type: webhook\n    url: ftp://hunter2\n    secret: ${SMTP_PASSWORD}\n  - name: b\n    type: pagerduty\n    routing_key: ${SMTP_PASSWORD}\n",
			[]string{
				`4: channel "a": url: it is not an http or https URL`, `5: channel "a": secret: it is not whsec_ and 24 to 64 bytes in base64`,
				`8: channel "b": routing_key: it is not 32 letters and digits`,
			},
		},
		"what it is told": {
			"channels:\n  - name: a\n    type: slack\n    url: https://a.b\n    severities: [critical, bad]\n    rules: []\n    alerts: maybe\n    summary: hourly\n",
			[]string{
				`5: channel "a": severities: "bad" is none`, `6: channel "a": rules names no value`,
				`7: channel "a": alerts: "maybe" is not accepted`, `8: channel "a": summary: "hourly" is not accepted`,
			},
		},
		"told of nothing":         {"channels:\n  - name: a\n    type: slack\n    url: https://a.b\n    alerts: off\n", []string{`2: channel "a": it is told of nothing: alerts are off, and so is its summary`}},
		"severities without any":  {"channels:\n  - name: a\n    type: slack\n    url: https://a.b\n    alerts: off\n    summary: daily\n    severities: high\n", []string{`2: channel "a": severities and rules are of alerts, which are off`}},
		"a summary for PagerDuty": {"channels:\n  - name: a\n    type: pagerduty\n    routing_key: ${PAGERDUTY_ROUTING_KEY}\n    summary: daily\n", []string{`2: channel "a": summary: a pagerduty channel is told of incidents alone`}},
		"mail in clear text":      {mail + "    tls: none\n    user: u\n    password: ${SMTP_PASSWORD}\n", []string{`2: channel "m": password: it would be sent in clear text`}},
		"half a login":            {mail + "    user: u\n", []string{`2: channel "m": user and password go together`}},
		"no addresses": {
			"channels:\n  - name: m\n    type: mail\n    host: h\n    port: 99999\n    tls: ssl\n    from: me\n    to: [a@b.c, you]\n",
			[]string{
				`5: channel "m": port: it is not a port from 1 to 65535`, `6: channel "m": tls: "ssl" is not accepted`,
				`7: channel "m": from: it is not a mail address`, `8: channel "m": to: it is not a mail address`,
			},
		},
		"nobody": {"channels:\n  - name: m\n    type: mail\n    host: h\n    from: a@b.c\n    to: []\n", []string{`2: channel "m": to: it names nobody`}},
	} {
		t.Run(name, func(t *testing.T) {
			read, err := config.ReadFile(write(t, c.text))
			if d := cmp.Diff(c.want, mistakes(err)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("a secret is in %v", err)
			}
			if len(read.Channels) > 0 && name != "twice" {
				t.Error("channels are returned all the same")
			}
		})
	}
}

func TestPrivateTargets(t *testing.T) {
	c, err := config.Settings{AllowPrivateTargets: " 10.1.2.3/16,127.0.0.1 , ::1"}.Parse()
	want := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}
	if err != nil || !cmp.Equal(want, c.PrivateTargets, cmpopts.EquateComparable(netip.Prefix{})) {
		t.Errorf("%v, %v", c.PrivateTargets, err)
	}
	for _, s := range []string{"on", "10.1.0.0/33", "localhost", "fe80::1%eth0", "10.1.0.0/16;::1"} {
		if _, err := (config.Settings{AllowPrivateTargets: s}).Parse(); err == nil || !strings.Contains(err.Error(), "EXPORTOPS_ALLOW_PRIVATE_TARGETS") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestHeartbeatSettings(t *testing.T) {
	c, err := config.Settings{HeartbeatFiles: "https://hc.example/abc?create=1", HeartbeatReconcile: "http://10.0.0.1:8000/ping/x"}.Parse()
	if err != nil || len(c.Heartbeats) != 2 || c.HeartbeatHost(exportops.FileCleanup) != "hc.example" || c.HeartbeatHost(exportops.LogCleanup) != "" {
		t.Errorf("%v, %v", c.Heartbeats, err)
	}
	_, err = config.Settings{HeartbeatMetrics: "hunter2", HeartbeatLogs: "ftp://hunter2/"}.Parse()
	for _, name := range []string{"EXPORTOPS_HEARTBEAT_METRICS", "EXPORTOPS_HEARTBEAT_LOGS"} {
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
