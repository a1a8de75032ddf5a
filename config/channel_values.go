package config

import (
	"encoding/base64"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// field returns what reads a field that a type has.
func (r *channelReader) field(c *Channel, name string) func(*yaml.Node, string) {
	return func(n *yaml.Node, _ string) {
		switch name {
		case "url":
			c.URL = r.url(n, name)
		case "secret":
			c.Secret = r.signing(n, name)
		case "secret_previous":
			c.SecretPrevious = r.signing(n, name)
		case "routing_key":
			c.RoutingKey = r.routingKey(n, name)
		case "region":
			c.Region = r.oneOf(n, name, "us", "eu")
		case "host":
			c.Mail.Host = r.expanded(n, name)
		case "port":
			c.Mail.Port = r.port(n, name)
		case "tls":
			c.Mail.TLS = r.oneOf(n, name, "starttls", "tls", "none")
		case "user":
			c.Mail.User = r.expanded(n, name)
		case "password":
			c.Mail.Password = Secret(r.expanded(n, name))
		case "from":
			c.Mail.From = r.address(n, name)
		case "to":
			for _, item := range items(n) {
				c.Mail.To = append(c.Mail.To, r.address(item, name))
			}
		}
	}
}

// targetURL reports whether s is an address to send to: http or https, with a host,
// and perhaps with a user and a query.
func targetURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.Fragment == "" &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

func (r *channelReader) url(n *yaml.Node, field string) Secret {
	s := r.expanded(n, field)
	if s != "" && !targetURL(s) {
		r.wrong(n, field+": it is not an http or https URL", "copy it from where the webhook was made")
	}
	return Secret(s)
}

// signing reads a secret as Standard Webhooks writes it.
func (r *channelReader) signing(n *yaml.Node, field string) Secret {
	s := r.expanded(n, field)
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
	if s != "" && (err != nil || len(key) < 24 || len(key) > 64) {
		r.wrong(n, field+": it is not whsec_ and 24 to 64 bytes in base64", `make one with: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return Secret(s)
}

var routingKey = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)

func (r *channelReader) routingKey(n *yaml.Node, field string) Secret {
	s := r.expanded(n, field)
	if s != "" && !routingKey.MatchString(s) {
		r.wrong(n, field+": it is not 32 letters and digits", "copy the integration key of an Events API v2 integration")
	}
	return Secret(s)
}

func (r *channelReader) port(n *yaml.Node, field string) int {
	s := r.expanded(n, field)
	port, err := strconv.ParseUint(s, 10, 16)
	if s != "" && (err != nil || port == 0) {
		r.wrong(n, field+": it is not a port from 1 to 65535", "use something like 587")
	}
	return int(port)
}

// address reads a mail address, with or without a name.
func (r *channelReader) address(n *yaml.Node, field string) string {
	s := r.expanded(n, field)
	if _, err := mail.ParseAddress(s); s != "" && (err != nil || strings.ContainsFunc(s, unicode.IsControl)) {
		r.wrong(n, field+": it is not a mail address", "use something like ops@example.com")
	}
	return s
}

// completeMail looks at how the parts of a mail channel go together, and fills in
// what was left out.
func (r *channelReader) completeMail(item *yaml.Node, m *Mail) {
	if m.TLS == "" {
		m.TLS = "starttls"
	}
	if m.Port == 0 {
		m.Port = map[string]int{"starttls": 587, "tls": 465, "none": 25}[m.TLS]
	}
	if len(m.To) == 0 && r.given["to"] {
		r.wrong(item, "to: it names nobody", "name a mail address")
	}
	switch {
	case r.given["user"] != r.given["password"]:
		r.wrong(item, "user and password go together", "give both, or none")
	case m.TLS == "none" && r.given["password"]:
		r.wrong(item, "password: it would be sent in clear text", "use tls: starttls or tls: tls, or leave user and password out")
	}
}

// Host is the host that a channel is reached by.
func (c Channel) Host() string {
	switch c.Type {
	case MailChannel:
		return c.Mail.Host
	case PagerDutyChannel:
		if c.Region == "eu" {
			return "events.eu.pagerduty.com"
		}
		return "events.pagerduty.com"
	case SlackChannel, WebhookChannel, AlertmanagerChannel:
	}
	return hostOf(c.URL)
}

// Clear reports whether what a channel sends can be read on the way.
func (c Channel) Clear() bool {
	return strings.HasPrefix(c.URL.Reveal(), "http:") || c.Mail.TLS == "none"
}

// Target says where a channel goes, without its secrets.
func (c Channel) Target() string {
	if c.Type == MailChannel {
		return strings.Join(c.Mail.To, ", ") + " by " + c.Mail.Host + ":" + strconv.Itoa(c.Mail.Port)
	}
	return c.Host()
}

func hostOf(target Secret) string {
	u, err := url.Parse(target.Reveal())
	if err != nil {
		return ""
	}
	return u.Hostname()
}
