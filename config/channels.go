package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/exportops/exportops"
)

// channelsKey is the section of the settings file about channels.
const channelsKey = "channels"

// ChannelType is how a channel reaches people.
type ChannelType string

// The types of channels.
const (
	SlackChannel        ChannelType = "slack"
	MailChannel         ChannelType = "mail"
	PagerDutyChannel    ChannelType = "pagerduty"
	WebhookChannel      ChannelType = "webhook"
	AlertmanagerChannel ChannelType = "alertmanager"
)

// Channel is a channel of the settings file.
type Channel struct {
	exportops.Audience // with its name
	Type               ChannelType
	At                 string // where it is written: file:line

	URL                    Secret // of slack, webhook and alertmanager
	Secret, SecretPrevious Secret // of webhook; the second while one is rotated
	RoutingKey             Secret // of pagerduty
	Region                 string // of pagerduty: us or eu
	Mail                   Mail   // of mail
}

// Mail is how a channel sends mail.
type Mail struct {
	Host     string
	Port     int
	TLS      string // starttls, tls or none
	User     string
	Password Secret
	From     string
	To       []string
}

// channelFields are the fields of each type beside those that every channel has; the
// second value says whether one is needed.
var channelFields = map[ChannelType]map[string]bool{
	SlackChannel:        {"url": true},
	MailChannel:         {"host": true, "port": false, "tls": false, "user": false, "password": false, "from": true, "to": true},
	PagerDutyChannel:    {"routing_key": true, "region": false},
	WebhookChannel:      {"url": true, "secret": true, "secret_previous": false},
	AlertmanagerChannel: {"url": true},
}

// channelReader reads the section. It keeps every mistake with its line, and repeats
// no value that may be a secret.
type channelReader struct {
	policyReader
	env   func(string) string
	given map[string]bool // the fields of the channel at hand
}

// readChannels reads the section. Where it says ${NAME}, a variable of the environment
// stands.
func readChannels(path string, section *yaml.Node) ([]Channel, error) {
	r := &channelReader{
		policyReader: policyReader{path: path, lines: map[string]int{}, names: map[string]string{}, bad: map[string]bool{}}, env: os.Getenv,
	}
	if section.Kind != yaml.SequenceNode || len(section.Content) == 0 {
		r.wrong(section, "channels is not a list", "begin each channel with a dash, or leave channels out")
	}
	var all []Channel
	if section.Kind == yaml.SequenceNode {
		for _, item := range section.Content {
			c := r.channel(item)
			if c.Audience.Channel != "" && slices.ContainsFunc(all, func(o Channel) bool { return o.Audience.Channel == c.Audience.Channel }) {
				r.wrong(item, fmt.Sprintf("there are two channels %q", c.Audience.Channel), "give one of them another name")
			}
			all = append(all, c)
		}
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// channel reads one channel, whose type says which fields it has.
func (r *channelReader) channel(item *yaml.Node) Channel {
	c := Channel{At: r.at(item.Line)}
	readers := map[string]func(*yaml.Node, string){
		"name":       func(n *yaml.Node, _ string) { c.Audience.Channel = r.name(n, "name") },
		"type":       func(n *yaml.Node, _ string) { c.Type = r.channelType(n) },
		"severities": func(n *yaml.Node, _ string) { c.Severities = r.severities(n) },
		"rules":      func(n *yaml.Node, _ string) { c.Rules = listOf[string](&r.policyReader, n, "rules") },
		"alerts":     func(n *yaml.Node, _ string) { c.NoAlerts = r.oneOf(n, "alerts", "on", "off") == "off" },
		"summary": func(n *yaml.Node, _ string) {
			if s := r.oneOf(n, "summary", "daily", "weekly", "off"); s != "off" {
				c.Summary = exportops.SummaryEvery(s)
			}
		},
	}
	// The type comes first, wherever it stands: it says what the rest may be.
	kind, known := typeOf(item)
	for field := range channelFields[kind] {
		readers[field] = r.field(&c, field)
	}
	if !known { // what is wrong is the type, not each field that it would have
		for _, fields := range channelFields {
			for field := range fields {
				readers[field] = func(*yaml.Node, string) {}
			}
		}
	}
	r.given = map[string]bool{}
	for name, read := range readers {
		readers[name] = func(n *yaml.Node, at string) { r.given[name] = true; read(n, at) }
	}
	before := len(r.errs)
	r.fields(item, "a channel", "", readers)
	if item.Kind == yaml.MappingNode && len(item.Content) > 0 {
		r.complete(item, &c, known)
	}
	for n, err := range r.errs[before:] {
		r.errs[before+n] = about(c.Audience.Channel, err)
	}
	return c
}

// about says of a mistake which channel it is in.
func about(name string, err error) error {
	var e *exportops.Error
	if name != "" && errors.As(err, &e) {
		e.Message = fmt.Sprintf("channel %q: %s", name, e.Message)
	}
	return err
}

// typeOf looks for the type among the fields of a channel.
func typeOf(item *yaml.Node) (ChannelType, bool) {
	if item.Kind != yaml.MappingNode {
		return "", false
	}
	for i := 0; i+1 < len(item.Content); i += 2 {
		if item.Content[i].Value == "type" {
			kind := ChannelType(item.Content[i+1].Value)
			_, known := channelFields[kind]
			return kind, known
		}
	}
	return "", false
}

// complete looks at what only shows when a whole channel was read.
func (r *channelReader) complete(item *yaml.Node, c *Channel, known bool) {
	needed := []string{"name", "type"}
	for field, must := range channelFields[c.Type] {
		if must {
			needed = append(needed, field)
		}
	}
	slices.Sort(needed)
	for _, field := range needed {
		if !r.given[field] {
			r.wrong(item, field+": missing", "docs/alerts.md says what each type needs")
		}
	}
	if !known {
		return
	}
	incidentsAlone := c.Type == PagerDutyChannel || c.Type == AlertmanagerChannel
	switch {
	case incidentsAlone && c.Summary != exportops.SummaryNever:
		r.wrong(item, fmt.Sprintf("summary: a %s channel is told of incidents alone", c.Type), "leave it out, or add a slack, mail or webhook channel for it")
	case c.NoAlerts && c.Summary == exportops.SummaryNever:
		r.wrong(item, "it is told of nothing: alerts are off, and so is its summary", "turn one of them on, or remove the channel")
	case c.NoAlerts && (len(c.Severities) > 0 || len(c.Rules) > 0):
		r.wrong(item, "severities and rules are of alerts, which are off", "leave them out, or turn alerts on")
	}
	if c.Type == MailChannel {
		r.completeMail(item, &c.Mail)
	}
	if c.Type == PagerDutyChannel && c.Region == "" {
		c.Region = "us"
	}
}

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// name reads the name of a channel.
func (r *channelReader) name(n *yaml.Node, field string) string {
	s := r.text(n, field)
	if s != "" && !plainName.MatchString(s) {
		r.wrong(n, fmt.Sprintf("%s: %q is no plain name", field, s), "use up to 64 of a-z, 0-9, dot, dash and _, beginning with a letter or digit")
		return ""
	}
	return s
}

func (r *channelReader) channelType(n *yaml.Node) ChannelType {
	all := make([]string, 0, len(channelFields))
	for t := range channelFields {
		all = append(all, string(t))
	}
	slices.Sort(all)
	return ChannelType(r.oneOf(n, "type", all...))
}

func (r *channelReader) oneOf(n *yaml.Node, field string, accepted ...string) string {
	s := r.text(n, field)
	if s != "" && !slices.Contains(accepted, s) {
		r.wrong(n, fmt.Sprintf("%s: %q is not accepted", field, s), "use "+strings.Join(accepted, ", "))
		return ""
	}
	return s
}

func (r *channelReader) severities(n *yaml.Node) []exportops.Severity {
	all := listOf[exportops.Severity](&r.policyReader, n, "severities")
	known := []exportops.Severity{exportops.SeverityCritical, exportops.SeverityHigh, exportops.SeverityWarning, exportops.SeverityCapacity}
	for _, s := range all {
		if !slices.Contains(known, s) {
			r.wrong(n, fmt.Sprintf("severities: %q is none", s), "use critical, high, warning or capacity")
		}
	}
	return all
}

var variable = regexp.MustCompile(`\$\{([^}]*)\}`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expanded reads one value, with variables of the environment in their places. It is
// "" after a mistake, which names the variable and never a value.
func (r *channelReader) expanded(n *yaml.Node, field string) string {
	s := r.text(n, field)
	ok := true
	s = variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		if !variableName.MatchString(name) {
			ok = false
			r.wrong(n, field+": what stands between ${ and } is not the name of a variable", "write something like ${SLACK_WEBHOOK_URL}")
			return ""
		}
		value := r.env(name)
		if value == "" {
			ok = false
			r.wrong(n, fmt.Sprintf("%s: the variable %s is not set", field, name), "set it in the environment of exportops")
		}
		return value
	})
	if !ok {
		return ""
	}
	return s
}
