package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

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

// slackMessage is what an incoming webhook takes.
type slackMessage struct {
	Text        string            `json:"text"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Color    string `json:"color"`
	Fallback string `json:"fallback"` // for notifications
	Text     string `json:"text"`
	Footer   string `json:"footer"`
}

// slackText takes from a text what Slack reads as a link, a mention or a name.
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// Send implements exportops.Channel.
func (s *Slack) Send(ctx context.Context, m exportops.Message) error {
	title := slackText.Replace(oneLine(m.Title, mostTitle))
	body, err := json.Marshal(slackMessage{
		Text:        "*" + title + "*",
		Attachments: []slackAttachment{{Color: colour(m), Fallback: title, Text: slackText.Replace(cut(m.Text, mostText)), Footer: m.ID}},
	})
	if err != nil {
		return hopeless("the message cannot be written as JSON")
	}
	return post(ctx, s.client, s.url, body, nil)
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
