package notify

import (
	"context"
	"net/http"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"

	"github.com/exportops/exportops"
)

// What is more than this is cut; Slack would cut it elsewhere.
const (
	mostTitle = 300
	mostText  = 3000
)

// Slack posts messages by an incoming webhook of Slack, or of what understands its
// form, such as Mattermost. Slack shows a message that it got twice twice: both end
// in the same id.
type Slack struct {
	client *http.Client
	url    string
}

var _ exportops.Channel = (*Slack)(nil)

// NewSlack returns a channel that posts to the webhook's URL by a client of a guard.
func NewSlack(client *http.Client, url string) *Slack { return &Slack{client, url} }

// Send implements exportops.Channel.
func (s *Slack) Send(ctx context.Context, m exportops.Message) error {
	return attempted(slack.PostWebhookCustomHTTPContext(ctx, s.url, s.client, &slack.WebhookMessage{
		Text: "*" + slackutilsx.EscapeMessage(oneLine(m.Title, mostTitle)) + "*",
		Attachments: []slack.Attachment{{
			Color: colour(m), Fallback: oneLine(m.Title, mostTitle),
			Text: slackutilsx.EscapeMessage(cut(m.Text, mostText)), Footer: m.ID,
		}},
	}))
}

// colour is that of the bar beside a message.
func colour(m exportops.Message) string {
	switch {
	case m.Incident == nil:
		return "#6b7280"
	case m.Kind == exportops.MessageResolved:
		return "good"
	case m.Incident.Severity == exportops.SeverityCritical, m.Incident.Severity == exportops.SeverityHigh:
		return "danger"
	}
	return "warning"
}
