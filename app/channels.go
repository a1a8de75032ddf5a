package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/exportops/exportops"
	"github.com/exportops/exportops/config"
	"github.com/exportops/exportops/eventlog"
	"github.com/exportops/exportops/internal/outbound"
	"github.com/exportops/exportops/notify"
)

// guard decides which addresses the program may talk to.
func guard(c config.Config) *outbound.Guard { return &outbound.Guard{Allowed: c.PrivateTargets} }

// channels are those of the settings, by name, with what each wants to hear. The error
// names each that cannot be used, and where it is written.
func channels(c config.Config) (map[string]exportops.Channel, []exportops.Audience, error) {
	all := map[string]exportops.Channel{}
	var audiences []exportops.Audience
	var errs []error
	for _, ch := range c.Channels {
		channel, err := openChannel(guard(c), ch)
		if err = errors.Join(err, checkRules(c, ch)); err != nil {
			errs = append(errs, err)
			continue
		}
		all[ch.Audience.Channel] = channel
		audiences = append(audiences, ch.Audience)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return all, audiences, nil
}

// checkRules reports the rules that a channel asks for and that are not there.
func checkRules(c config.Config, ch config.Channel) error {
	known := map[string]bool{}
	for _, r := range AlertRules(c) {
		known[r.Name] = true
	}
	var errs []error
	for _, rule := range ch.Rules {
		if !known[rule] {
			errs = append(errs, wrongChannel(ch, fmt.Sprintf("there is no rule %q", rule), "list them with: exportops alerts rules"))
		}
	}
	return errors.Join(errs...)
}

func wrongChannel(ch config.Channel, message, hint string) error {
	return &exportops.Error{
		Kind: exportops.KindInvalid, Field: ch.At, Hint: hint, Message: fmt.Sprintf("channel %q: %s", ch.Audience.Channel, message),
	}
}

const allowTarget = "name its network in EXPORTOPS_ALLOW_PRIVATE_TARGETS, if it is yours"

// openChannel makes a channel, unless its address is one that may not be reached.
func openChannel(g *outbound.Guard, ch config.Channel) (exportops.Channel, error) {
	if err := g.CheckHost(ch.Host()); err != nil {
		return nil, wrongChannel(ch, err.Error(), allowTarget)
	}
	client, target := g.Client(), ch.URL.Reveal()
	switch ch.Type {
	case config.SlackChannel:
		return notify.NewSlack(client, target), nil
	case config.MailChannel:
		return notify.NewMail(notify.MailOptions{
			Dial: g.DialContext, Host: ch.Mail.Host, Port: ch.Mail.Port, TLS: notify.MailTLS(ch.Mail.TLS),
			User: ch.Mail.User, Password: ch.Mail.Password.Reveal(), From: ch.Mail.From, To: ch.Mail.To,
		}), nil
	case config.PagerDutyChannel:
		endpoint := notify.PagerDutyUS
		if ch.Region == "eu" {
			endpoint = notify.PagerDutyEU
		}
		return notify.NewPagerDuty(client, endpoint, ch.RoutingKey.Reveal()), nil
	case config.WebhookChannel:
		secrets := []string{ch.Secret.Reveal()}
		if ch.SecretPrevious != "" {
			secrets = append(secrets, ch.SecretPrevious.Reveal())
		}
		w, err := notify.NewWebhook(client, target, secrets...)
		if err != nil {
			return nil, wrongChannel(ch, err.Error(), "")
		}
		return w, nil
	case config.AlertmanagerChannel:
		a, err := notify.NewAlertmanager(client, target)
		if err != nil {
			return nil, wrongChannel(ch, err.Error(), "")
		}
		return a, nil
	}
	return nil, wrongChannel(ch, fmt.Sprintf("there is no type %q", ch.Type), "docs/alerts.md lists the types")
}

// TestChannel sends a test message by a channel now, and returns it. The error says
// why it was not taken; it is KindNotFound where there is no such channel.
func TestChannel(ctx context.Context, c config.Config, name string) (exportops.Message, error) {
	all, _, err := channels(c)
	if err != nil {
		return exportops.Message{}, err
	}
	channel, ok := all[name]
	if !ok {
		return exportops.Message{}, &exportops.Error{
			Kind: exportops.KindNotFound, Message: fmt.Sprintf("there is no channel %q", name), Hint: "list them with: exportops notify channels",
		}
	}
	m := exportops.Message{
		ID: exportops.NewID(), Kind: exportops.MessageTest, At: exportops.At(time.Now()), Title: "Test of exportops",
		Text: "Somebody asked whether this channel works: it does.\nNothing is wrong, and nothing needs to be done.\n",
	}
	return m, channel.Send(ctx, m)
}

// CheckChannel reports what keeps a channel from being used: what it asks for, and
// where its host leads. Nothing is sent.
func CheckChannel(ctx context.Context, c config.Config, ch config.Channel) error {
	_, err := openChannel(guard(c), ch)
	if err = errors.Join(err, checkRules(c, ch)); err != nil {
		return err
	}
	return CheckTarget(ctx, c, ch.Host())
}

// CheckTarget looks a host up that a channel or a heartbeat is sent to, and reports
// what keeps it from being reached. Nothing is sent.
func CheckTarget(ctx context.Context, c config.Config, host string) error {
	err := guard(c).Look(ctx, host)
	if err == nil {
		return nil
	}
	e := &exportops.Error{Kind: exportops.KindUnavailable, Message: err.Error(), Hint: "see whether the name is right, and can be looked up from here"}
	if errors.Is(err, outbound.ErrForbidden) {
		e.Hint = allowTarget
	}
	return e
}

// heartbeats are sent for the jobs that the settings name an address for; nil where
// there is none.
func heartbeats(c config.Config, log *slog.Logger) (*notify.Heartbeats, error) {
	if len(c.Heartbeats) == 0 {
		return nil, nil
	}
	g := guard(c)
	urls := map[exportops.Job]string{}
	var errs []error
	for job, target := range c.Heartbeats {
		if err := g.CheckURL(target.Reveal()); err != nil {
			errs = append(errs, &exportops.Error{
				Kind: exportops.KindInvalid, Field: config.HeartbeatSetting(job), Message: err.Error(), Hint: allowTarget,
			})
		}
		urls[job] = target.Reveal()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return notify.NewHeartbeats(notify.HeartbeatOptions{Client: g.Client(), URLs: urls, Scrub: scrubbed, Log: log}), nil
}

var anyID = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// scrubbed takes out of a text what no third party is to read: secrets, and the ids of
// users and exports.
func scrubbed(s string) string { return eventlog.Scrub(anyID.ReplaceAllLiteralString(s, "[id]")) }
